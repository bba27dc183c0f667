"""Columns of all moments in sight, held in memory, so that limits on them cost no reading.

LanceDB evaluates a limit anew for each list and count, which at a million rows takes most of a search. Names
are held as numbers of a dictionary: docs/search.md says what a moment takes. A row of one id never changes,
so the columns of a new version are made from those of the last one, by reading only rows that are new.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tubelet.index.tables import ROW_ID, explain_failure, scan_rows

MAX_HELD_ROWS = 4_000_000
"""Columns of more moments than this are not held; limits are then left to LanceDB."""

SCAN_BATCH_ROWS = 65_536
TAKE_ROWS = 8192
MAX_NEW_SHARE = 0.25
"""Where more rows than this are new, everything is read anew, which is quicker."""

_NAMES = (
    *("object_id", "video_id", "uri", "generation"),
    *("label", "size", "turn", "heading", "entry_side", "exit_side"),
)
_NUMBERS = (
    *("start_s", "end_s", "heading_deg", "speed", "stopped", "approaching", "leaving", "score"),
    *("box_mean", "frame_width", "frame_height", "video_duration_s", "colour_shares"),
    *("category_score", "turn_deg", "likely_colour_scores", "likely_way_scores"),
)
_LISTS = ("colours", "likely_colours", "likely_ways")
HELD = (*_NAMES, *_NUMBERS, *_LISTS)

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


class HeldColumns:
    """Some columns of the moments in sight, by row id. Never changes; threads may share it."""

    def __init__(self, row_ids: NDArray[np.uint64], table: pa.Table) -> None:
        self.row_ids = row_ids
        self.table = table
        self._numbers: dict[str, NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self.row_ids)

    @staticmethod
    def has(column: str) -> bool:
        """Whether a column is held."""
        return column in HELD

    @property
    def nbytes(self) -> int:
        """Memory that the columns take."""
        return int(self.table.nbytes + self.row_ids.nbytes)

    @classmethod
    def load(cls, moments: Any, generations: Mapping[str, str], last: HeldColumns | None) -> HeldColumns:
        """Those of a table of moments, of rows whose video has their generation in force.

        `last` are those of another version of the same index, or of one that lay at the same place.
        """
        if last is not None and (updated := last._update(moments, generations)) is not None:
            return updated
        schema = moments.schema
        empty = pa.RecordBatch.from_pylist([], pa.schema([schema.field(name) for name in HELD]))
        empty = empty.append_column(ROW_ID, pa.array([], pa.uint64()))
        batches = scan_rows(moments, None, [*HELD, ROW_ID], SCAN_BATCH_ROWS)
        return cls._join([_encode(empty)], batches, generations)

    def find(self, row_ids: Sequence[int] | NDArray[np.uint64]) -> Rows:
        """Places of rows, -1 for those that are not in sight."""
        wanted = np.asarray(row_ids, dtype=np.uint64)
        if len(self.row_ids) == 0:
            return np.full(len(wanted), -1, dtype=np.int64)
        places = np.searchsorted(self.row_ids, wanted)
        places[places == len(self.row_ids)] = 0
        found: Rows = np.where(self.row_ids[places] == wanted, places, -1)
        return found

    def take(self, places: Rows) -> HeldColumns:
        """Some of the rows, in any order, to which limits can be put; `find` finds none of them."""
        return HeldColumns(self.row_ids[places], self.table.take(pa.array(places)).combine_chunks())

    def is_among(self, column: str, names: Sequence[str]) -> Mask:
        """Which rows hold one of these names in a column of names."""
        held = _get_only_chunk(self.table[column])
        wanted = _list_which(held.dictionary, names)
        codes = held.indices
        if codes.null_count:
            wanted, codes = np.append(wanted, False), pc.fill_null(codes, len(wanted))
        among: Mask = wanted[codes.to_numpy()]
        return among

    def codes(self, column: str) -> NDArray[np.int32]:
        """The names of a column, none of which is null, as numbers."""
        held = _get_only_chunk(self.table[column])
        codes: NDArray[np.int32] = held.indices.to_numpy() if len(self) else np.empty(0, dtype=np.int32)
        return codes

    def find_same(self, column: str, places: Rows) -> Mask:
        """Which rows hold a name that one of the rows at these places holds."""
        codes = self.codes(column)
        wanted = np.zeros(int(codes.max(initial=-1)) + 1, dtype=bool)
        wanted[codes[places]] = True
        same: Mask = wanted[codes]
        return same

    def list_of_video(self, video_id: str) -> Rows:
        """Places of the rows of a video."""
        names = _get_only_chunk(self.table["video_id"])
        code = pc.index_in(pa.scalar(video_id), value_set=names.dictionary).as_py() if len(self) else None
        if code is None:
            return np.empty(0, dtype=np.int64)
        order, edges = self._by_video
        return order[edges[code] : edges[code + 1]]

    @cached_property
    def _by_video(self) -> tuple[Rows, Rows]:
        """Places of all rows, by video, and where each video's begin."""
        codes = self.codes("video_id")
        order = np.argsort(codes, kind="stable")
        return order, np.searchsorted(codes[order], np.arange(int(codes.max(initial=-1)) + 2))

    def lists_any(self, column: str, names: Sequence[str]) -> Mask:
        """Which rows hold any of these names in a column of lists."""
        held = _get_only_chunk(self.table[column])
        offsets = held.offsets.to_numpy()
        values = held.values
        met = _list_which(values.dictionary, names)[values.indices.to_numpy()]
        before = np.concatenate([[0], np.cumsum(met, dtype=np.int32)])
        met_inside: Mask = before[offsets[1:]] > before[offsets[:-1]]
        return met_inside

    def numbers(self, column: str) -> NDArray[Any]:
        """A column of numbers or truths, none of which is null; `box_mean.x0` is a part of a column."""
        known = self._numbers.get(column)
        if known is None:
            name, _, part = column.partition(".")
            held = _get_only_chunk(self.table[name])
            known = (held.field(part) if part else held).to_numpy(zero_copy_only=False)
            self._numbers[column] = known
        return known

    def _update(self, moments: Any, generations: Mapping[str, str]) -> HeldColumns | None:
        """The columns at another version; None where too much is new."""
        row_ids = _read_row_ids(moments)
        places = self.find(row_ids)
        known = places >= 0
        known[known] = _find_visible(self.table, generations)[places[known]]
        new = row_ids[~known].tolist()
        if len(new) > MAX_NEW_SHARE * len(row_ids) or len(new) == len(row_ids):
            return None
        kept = self.table.take(pa.array(places[known])).append_column(ROW_ID, pa.array(row_ids[known]))
        return self._join([kept], _take_batches(moments, new), generations)

    @classmethod
    def _join(
        cls, tables: list[pa.Table], batches: Iterable[pa.RecordBatch], generations: Mapping[str, str]
    ) -> HeldColumns:
        """What is known already and rows that were read, in the order of their ids, those in sight."""
        tables = [*tables, *(_encode(batch) for batch in batches)]
        table = pa.concat_tables(tables).unify_dictionaries()
        table = table.filter(pa.array(_find_visible(table, generations)))
        row_ids = table[ROW_ID].to_numpy()
        if (row_ids[1:] < row_ids[:-1]).any():
            order = np.argsort(row_ids)
            row_ids, table = row_ids[order], table.take(pa.array(order))
        return cls(row_ids, table.drop_columns([ROW_ID]).combine_chunks())


def _read_row_ids(moments: Any) -> NDArray[np.uint64]:
    batches = scan_rows(moments, None, [ROW_ID], SCAN_BATCH_ROWS)
    parts = [batch.column(ROW_ID).to_numpy() for batch in batches]
    return np.sort(np.concatenate(parts)) if parts else np.empty(0, dtype=np.uint64)


def _take_batches(moments: Any, row_ids: Sequence[int]) -> Iterable[pa.RecordBatch]:
    for first in range(0, len(row_ids), TAKE_ROWS):
        with explain_failure(moments, "read"):
            request = moments.take_row_ids(row_ids[first : first + TAKE_ROWS]).select([*HELD, ROW_ID])
            yield from request.to_arrow().to_batches()


def _encode(batch: pa.RecordBatch) -> pa.Table:
    """Rows as they are held."""
    columns: dict[str, Any] = {name: batch.column(name) for name in (*_NUMBERS, ROW_ID)}
    for name in _NAMES:
        columns[name] = batch.column(name).dictionary_encode()
    for name in _LISTS:
        lists = batch.column(name)
        lengths = pc.fill_null(pc.list_value_length(lists), 0)
        offsets = np.concatenate([[0], np.cumsum(lengths.to_numpy())])
        columns[name] = pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), lists.flatten().dictionary_encode()
        )
    return pa.table(columns).select([*HELD, ROW_ID])


def _find_visible(table: pa.Table, generations: Mapping[str, str]) -> Mask:
    """Which rows have the generation that is in force of their video."""
    videos, names = (table[column].combine_chunks() for column in ("video_id", "generation"))
    number_of = {name: number for number, name in enumerate(names.dictionary.to_pylist())}
    in_force = [number_of.get(generations.get(video, ""), -1) for video in videos.dictionary.to_pylist()]
    visible: Mask = np.array(in_force, dtype=np.int64)[videos.indices.to_numpy()] == names.indices.to_numpy()
    return visible


def _list_which(dictionary: pa.Array, names: Sequence[str]) -> Mask:
    which: Mask = pc.is_in(dictionary, value_set=pa.array(names, pa.string())).to_numpy(zero_copy_only=False)
    return which


def _get_only_chunk(column: pa.ChunkedArray) -> Any:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.array([], column.type)
