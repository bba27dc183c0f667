"""One consistent view of the index for the length of a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tubelet.errors import QueryError
from tubelet.index.store import IndexStore
from tubelet.index.tables import explain_failure, read_rows
from tubelet.records import Video

SCAN_BATCH_ROWS = 8192


class View:
    """What a search reads: the moments of whole videos, as they were when the search began."""

    def __init__(self, store: IndexStore) -> None:
        snapshot = getattr(store, "snapshot", None)
        self._store: Any = store if snapshot is None else snapshot()

    @classmethod
    def at_version(cls, store: IndexStore, version: str) -> View:
        """The index as it was at a version. Raises QueryError when that is no longer kept."""
        at_version = getattr(store, "at_version", None)
        if at_version is not None:
            return cls._over(at_version(version))
        view = cls(store)
        if view.version != version:
            raise QueryError(
                "The index has changed since the first page",
                expected="the index as it was then",
                do="search again from the first page",
            )
        return view

    @classmethod
    def _over(cls, snapshot: Any) -> View:
        view = cls.__new__(cls)
        view._store = snapshot
        return view

    @property
    def moments(self) -> Any:
        """The LanceDB table of moments."""
        return self._store.moments

    @property
    def version(self) -> str:
        """Changes with every commit."""
        known = getattr(self._store, "version", None)
        return str(self._store.moments.version) if known is None else str(known)

    @property
    def text_dimensions(self) -> int:
        return int(self._store.text_dimensions)

    @property
    def object_dimensions(self) -> int:
        return int(self._store.object_dimensions)

    @cached_property
    def columns(self) -> frozenset[str]:
        """Names of the columns that moments have."""
        return frozenset(self.moments.schema.names)

    @cached_property
    def videos(self) -> list[Video]:
        """Every video, for limits by date."""
        videos: list[Video] = self._store.list_videos()
        return videos

    def name_columns(self, *wanted: str) -> list[str]:
        """Columns to read: those that are wanted and there, and what `keep_visible` needs."""
        return [name for name in dict.fromkeys((*wanted, "video_id", "generation")) if name in self.columns]

    def keep_visible(self, found: pa.Table) -> pa.Table:
        """Without the moments of videos that are being written."""
        keep = getattr(self._store, "keep_visible", None)
        if keep is not None:
            visible: pa.Table = keep(found)
            return visible
        complete = self._store.find_complete(found["video_id"].unique().to_pylist())
        return found.filter(pc.is_in(found["video_id"], pa.array(sorted(complete), pa.string())))

    def count(self, where: str | None) -> int:
        """How many moments a filter lets through."""
        with explain_failure(self.moments.uri, "read"):
            return int(self.moments.count_rows(where))

    def list_nearest(
        self, column: str, vector: Any, where: str | None, limit: int, *, refine_factor: int
    ) -> list[int]:
        """Ids of the rows nearest to a vector by cosine, through the column's index where it has one."""
        request = self.moments.search(vector, vector_column_name=column).distance_type("cosine")
        request = self._limit(request, where).refine_factor(refine_factor)
        rows = read_rows(self.moments, request.select([]).with_row_id(True).limit(limit))
        ids: list[int] = rows["_rowid"].to_pylist()
        return ids

    def list_by_words(self, tokens: Sequence[str], where: str | None, limit: int) -> list[int]:
        """Ids of the rows that full text ranks highest for any of the tokens."""
        request = self.moments.search(" ".join(tokens), query_type="fts", fts_columns="words")
        request = self._limit(request, where).select([]).with_row_id(True).limit(limit)
        ids: list[int] = read_rows(self.moments, request)["_rowid"].to_pylist()
        return ids

    def measure_distances(
        self, column: str, vector: Any, where: str | None, limit: int, columns: Sequence[str]
    ) -> pa.Table:
        """Every row that passes a filter and has a vector, with its cosine distance, by an exact scan."""
        request = self.moments.search(vector, vector_column_name=column).distance_type("cosine")
        request = self._limit(request, where).bypass_vector_index()
        wanted = [name for name in columns if name != "_rowid" and not name.endswith("_vector")]
        return read_rows(
            self.moments, request.select([*wanted, "_distance"]).with_row_id(True).limit(max(1, limit))
        )

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """The rows with these ids, in their order."""
        with explain_failure(self.moments.uri, "read"):
            found: pa.Table = self.moments.take_row_ids(list(rows)).select(list(columns)).to_arrow()
            return found

    def scan(self, where: str | None, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Every row that passes a filter, a few thousand at a time."""
        wanted = [name for name in columns if name != "_rowid"]
        request = self._limit(self.moments.search(), where).select(wanted).with_row_id(True)
        with explain_failure(self.moments.uri, "read"):
            for batch in request.limit(None).to_batches(SCAN_BATCH_ROWS):
                yield pa.Table.from_batches([batch])

    @staticmethod
    def _limit(request: Any, where: str | None) -> Any:
        return request if where is None else request.where(where)

    def read(self, where: str | None, columns: Sequence[str], limit: int | None = None) -> pa.Table:
        """Moments in any order."""
        request = self._limit(self.moments.search(), where)
        return read_rows(self.moments, request.select(list(columns)).limit(limit))
