"""One consistent view of the index for the length of a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tubelet.errors import QueryError, StoreError
from tubelet.index.held_columns import HeldColumns
from tubelet.index.snapshot import Snapshot
from tubelet.index.sql import join_all
from tubelet.index.store import IndexStore
from tubelet.index.tables import ROW_ID, explain_failure, read_rows
from tubelet.records import Video

SCAN_BATCH_ROWS = 8192
DISTANCE = "_distance"


class View:
    """What a search reads: the moments in sight, as they were when the search began.

    Rows of a write that is under way, or that was broken off, are filtered out in the store, before anything
    is ranked or counted. Mostly there are none, and then there is no such filter.
    """

    def __init__(self, store: IndexStore | Snapshot) -> None:
        self._snapshot = store.snapshot() if isinstance(store, IndexStore) else store

    @classmethod
    def at_version(cls, store: IndexStore, version: str) -> View:
        """The index as it was at a version. Raises QueryError when that is no longer kept."""
        try:
            return cls(store.at_version(version))
        except StoreError as error:
            raise QueryError(
                f"The index as it was at the first page is no longer kept: {error.found}",
                expected="a cursor of the last hour or so",
                do="search again from the first page",
            ) from error

    @property
    def moments(self) -> Any:
        """The LanceDB table of moments."""
        return self._snapshot.moments

    @property
    def version(self) -> str:
        """Changes with every commit."""
        return self._snapshot.version

    @property
    def text_dimensions(self) -> int:
        return self._snapshot.text_dimensions

    @property
    def object_dimensions(self) -> int:
        return self._snapshot.object_dimensions

    @property
    def columns(self) -> frozenset[str]:
        """Names of the columns that moments have."""
        return self._snapshot.moment_columns

    @cached_property
    def videos(self) -> list[Video]:
        """Every video, for limits by date."""
        return self._snapshot.list_videos()

    def name_columns(self, *wanted: str) -> list[str]:
        """Columns to read: those that are wanted and there."""
        return [name for name in dict.fromkeys(wanted) if name in self.columns]

    @cached_property
    def held(self) -> HeldColumns | None:
        """Columns of all moments in sight, in memory; None where there are too many."""
        return self._snapshot.hold_columns()

    @property
    def num_moments(self) -> int:
        """How many moments are in sight."""
        return self._snapshot.count_rows().moments

    def count(self, where: str | None) -> int:
        """How many moments a filter lets through."""
        with explain_failure(self.moments, "read"):
            return int(self.moments.count_rows(self._narrow(where)))

    def list_nearest(self, column: str, vector: Any, where: str | None, limit: int) -> list[int]:
        """Ids of the rows nearest to a vector by cosine, through the column's index where it has one.

        An index knows vectors to 8 bits a number; whoever ranks the rows measures them anew.
        """
        request = self.moments.search(vector, vector_column_name=column).distance_type("cosine")
        return self._list_ids(self._limit(request, where), DISTANCE, limit)

    def list_by_words(self, tokens: Sequence[str], where: str | None, limit: int) -> list[int]:
        """Ids of the rows that full text ranks highest for any of the tokens."""
        request = self.moments.search(" ".join(tokens), query_type="fts", fts_columns="words")
        return self._list_ids(self._limit(request, where), "_score", limit)

    def _list_ids(self, request: Any, ranked_by: str, limit: int) -> list[int]:
        """Row ids in order. An empty list of columns would mean all of them, pictures too."""
        request = request.select([ROW_ID, ranked_by]).with_row_id(True).limit(limit)
        ids: list[int] = read_rows(self.moments, request)[ROW_ID].to_pylist()
        return ids

    def measure_distances(
        self, column: str, vector: Any, where: str | None, limit: int, columns: Sequence[str]
    ) -> pa.Table:
        """Every row that passes a filter and has a vector, with its cosine distance, by an exact scan."""
        request = self.moments.search(vector, vector_column_name=column).distance_type("cosine")
        request = self._limit(request, where).bypass_vector_index()
        wanted = [name for name in columns if name != ROW_ID and not name.endswith("_vector")]
        return read_rows(
            self.moments, request.select([*wanted, DISTANCE]).with_row_id(True).limit(max(1, limit))
        )

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """The rows with these ids, in their order, with their ids. Columns in memory are not read."""
        wanted = [name for name in self.list_unheld(columns) if name != ROW_ID]
        row_ids = pa.array(rows, pa.uint64())
        if not wanted:
            return self.add_held(pa.table({ROW_ID: row_ids}), columns)
        with explain_failure(self.moments, "read"):
            found: pa.Table = self.moments.take_row_ids(list(rows)).select([*wanted, ROW_ID]).to_arrow()
        order = pc.index_in(row_ids, value_set=found[ROW_ID].combine_chunks())
        assert order.null_count == 0, "rows of the same version are there"
        return self.add_held(found.take(order), columns)

    def list_unheld(self, columns: Sequence[str]) -> list[str]:
        """Those of some columns that must be read."""
        return [name for name in columns if self.held is None or not self.held.has(name)]

    def add_held(self, found: pa.Table, columns: Sequence[str]) -> pa.Table:
        """Rows that were read, with those of the columns that are in memory."""
        if self.held is None:
            return found
        rows = pa.array(self.held.find(found[ROW_ID].to_numpy()))
        known = self.held.table.select([name for name in columns if self.held.has(name)]).take(rows)
        for name in known.column_names:
            found = found.append_column(name, known[name])
        return found

    def scan(self, where: str | None, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Every row that passes a filter, a few thousand at a time."""
        wanted = [name for name in columns if name != ROW_ID]
        request = self._limit(self.moments.search(), where).select(wanted).with_row_id(True)
        with explain_failure(self.moments, "read"):
            for batch in request.limit(None).to_batches(SCAN_BATCH_ROWS):
                yield pa.Table.from_batches([batch])

    def _narrow(self, where: str | None) -> str | None:
        return join_all([where, self._snapshot.visible])

    def _limit(self, request: Any, where: str | None) -> Any:
        narrowed = self._narrow(where)
        return request if narrowed is None else request.where(narrowed)

    def read(self, where: str | None, columns: Sequence[str], limit: int | None = None) -> pa.Table:
        """Moments in any order, with their row ids. Columns in memory are not read."""
        wanted = self.list_unheld(columns) or [ROW_ID]  # no column at all would mean every one
        request = self._limit(self.moments.search(), where).select(wanted).with_row_id(True)
        return self.add_held(read_rows(self.moments, request.limit(limit)), columns)
