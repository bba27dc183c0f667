"""What is around some moments: the other objects of their videos at the same time.

A chosen moment is looked at with two seconds on either side, so that a relation is seen that a cut between
moments runs through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tubelet.index.held_columns import HeldColumns, Mask, Rows
from tubelet.index.searching.candidates import KEY_COLUMNS
from tubelet.index.searching.judging import SCORED_COLUMNS, Values, measure_fit, to_numpy
from tubelet.index.searching.pairs import Tracks, list_ranges
from tubelet.index.searching.paths import Paths
from tubelet.index.searching.view import View
from tubelet.index.sql import join_all, join_any, make_name_filter
from tubelet.index.structured_query import Query
from tubelet.index.tables import ROW_ID

MARGIN_S = 2.0
"""A moment's surroundings begin so long before it and end so long after it."""

ORDER_MARGIN_S = 20.0
ORDERED = ("after", "before")
"""The same for what comes before or after: these relations."""

VIDEOS_A_READ = 64

LEAST_FIT = 0.05
"""An object that fits what is asked of another one less than this is not meant."""

Spans = dict[str, list[tuple[float, float]]]
"""Stretches of time, by video."""


@dataclass(frozen=True, slots=True)
class Window:
    """A moment of an object, as surroundings are looked up for it."""

    object_id: str
    video_id: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Others:
    """Other objects near windows: number p is near the window at place `windows[p]` and has there the rows
    from `edges[p]` to `edges[p + 1]`, of which the one that fits best fits `fits[p]`."""

    windows: Rows
    fits: Values
    rows: Rows
    edges: Rows

    def keep_best(self, most: int) -> Others:
        """At most so many of each window, those that fit best."""
        kept = np.arange(len(self.windows)) - np.searchsorted(self.windows, self.windows) < most
        counts = np.diff(self.edges)[kept]
        rows = self.rows[list_ranges(self.edges[:-1][kept], counts)]
        return Others(self.windows[kept], self.fits[kept], rows, np.concatenate([[0], np.cumsum(counts)]))


class Surroundings:
    """Moments around some windows, with their paths."""

    def __init__(self, moments: pa.Table) -> None:
        self.moments = moments
        self._videos = _number(moments["video_id"])
        self._objects = _number(moments["object_id"])
        self._starts, self._ends = to_numpy(moments["start_s"]), to_numpy(moments["end_s"])
        order = np.argsort(self._videos.numbers, kind="stable")
        edges = np.searchsorted(self._videos.numbers[order], np.arange(len(self._videos.names) + 1))
        self._rows_of_video = [order[first:last] for first, last in pairwise(edges)]
        self._paths = Paths(moments)
        self._extents, self._lengths = self._paths.measure_extents()

    @classmethod
    def load(cls, view: View, query: Query, windows: Sequence[Window]) -> Surroundings:
        """Read what is in the windows' videos at their times, and a while before and after.

        Of the other objects only those are there that a relation or the count can mean.
        """
        asked = [relation.conditions for relation in query.relations]
        asked += [query.conditions] if query.count else []
        words = ["words"] if any(each.kind == "word" for some in asked for each in some) else []
        columns = [*KEY_COLUMNS, *SCORED_COLUMNS, *words]
        ordered = any(relation.kind in ORDERED for relation in query.relations)
        spans = _merge_spans(windows, ORDER_MARGIN_S if ordered else MARGIN_S)
        if view.held is None:
            return cls(_read_spans(view, spans, [*columns, "path"]))
        around = view.take(_list_span_rows(view.held, spans), columns)
        fits = [measure_fit(conditions, around) >= LEAST_FIT for conditions in asked]
        objects = _number(around["object_id"])
        own = [objects.names[window.object_id] for window in windows]
        counts = np.isin(objects.numbers, own) | np.logical_or.reduce(fits)
        kept = np.isin(objects.numbers, objects.numbers[counts])
        around = around.filter(pa.array(kept))
        paths = view.take(around[ROW_ID].to_pylist(), ["path"])
        return cls(around.append_column("path", paths["path"]))

    def find_others(
        self,
        windows: Sequence[Window],
        margin_s: float,
        fits: Values,
        least_fit: float,
        reach: float = np.inf,
    ) -> Others:
        """Other objects that are seen within each window's margin, those of a window that fit best first.

        Only objects with a row that fits at least `least_fit`, and that come nearer than `reach` own lengths
        (of the larger), where the window's object is seen there too.
        """
        rows, places, is_own = self._find_rows(windows, margin_s)
        near = ~is_own & (fits[rows] >= least_fit)
        if np.isfinite(reach):
            near &= self._is_near(rows, places, is_own, len(windows), reach)
        keys = places * len(self._objects.names) + self._objects.numbers[rows]
        kept = np.isin(keys, keys[near])
        rows, places, keys = rows[kept], places[kept], keys[kept]
        order = np.argsort(keys, kind="stable")
        first = np.flatnonzero(np.diff(keys[order], prepend=-1))
        counts = np.diff(first, append=len(order))
        best = np.maximum.reduceat(fits[rows[order]], first) if len(first) else np.empty(0)
        windows_of = places[order[first]]
        sorting = np.lexsort((-best, windows_of))
        return Others(
            windows_of[sorting],
            best[sorting],
            rows[order[list_ranges(first[sorting], counts[sorting])]],
            np.concatenate([[0], np.cumsum(counts[sorting])]),
        )

    def join_others(self, others: Others) -> Tracks:
        """The path of each other object over its rows."""
        numbers = np.repeat(np.arange(len(others.windows)), np.diff(others.edges))
        return self._paths.join(others.rows, numbers, len(others.windows))

    def join_own(self, windows: Sequence[Window], margin_s: float) -> Tracks:
        """The path of each window's object over its moments within a margin."""
        rows, places, is_own = self._find_rows(windows, margin_s)
        return self._paths.join(rows[is_own], places[is_own], len(windows))

    def _find_rows(self, windows: Sequence[Window], margin_s: float) -> tuple[Rows, Rows, Mask]:
        """Rows within the margin of each window, the window's place, and whether it is its own object's."""
        parts = [self._find_rows_around(window, margin_s) for window in windows]
        rows = np.concatenate([np.empty(0, dtype=np.int64), *parts])
        places = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        own = np.array([self._objects.names.get(window.object_id, -1) for window in windows], dtype=np.int64)
        return rows, places, self._objects.numbers[rows] == own[places]

    def _is_near(self, rows: Rows, places: Rows, is_own: Mask, num_windows: int, reach: float) -> Mask:
        """Whether rows come near their window's object, or that is not seen there."""
        own, at = rows[is_own], places[is_own]
        low, high = np.full((num_windows, 2), np.inf), np.full((num_windows, 2), -np.inf)
        lengths = np.zeros(num_windows)
        np.minimum.at(low, at, self._extents[own, :2])
        np.maximum.at(high, at, self._extents[own, 2:])
        np.maximum.at(lengths, at, self._lengths[own])
        apart = np.maximum(self._extents[rows, :2], low[places]) - np.minimum(
            self._extents[rows, 2:], high[places]
        )
        length = np.maximum(self._lengths[rows], lengths[places])
        near: Mask = np.hypot(*np.maximum(apart, 0.0).T) <= reach * length
        near |= lengths[places] == 0
        return near

    def _find_rows_around(self, window: Window, margin_s: float) -> Rows:
        number = self._videos.names.get(window.video_id)
        if number is None:
            return np.empty(0, dtype=np.int64)
        rows = self._rows_of_video[number]
        near = (self._ends[rows] >= window.start_s - margin_s) & (
            self._starts[rows] <= window.end_s + margin_s
        )
        return rows[near]


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A column of names as numbers."""

    names: Mapping[str, int]
    numbers: Rows


def _number(column: pa.ChunkedArray) -> _Numbered:
    encoded = pc.dictionary_encode(column).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # pyarrow leaves an empty column in chunks
        return _Numbered({}, np.empty(0, dtype=np.int64))
    used, numbers = np.unique(encoded.indices.to_numpy(zero_copy_only=False), return_inverse=True)
    names = encoded.dictionary.take(pa.array(used)).to_pylist()
    return _Numbered({name: number for number, name in enumerate(names)}, numbers)


def _list_span_rows(held: HeldColumns, spans: Spans) -> list[int]:
    """Ids of the moments that are seen in some stretches of time of their videos."""
    starts, ends = held.numbers("start_s"), held.numbers("end_s")
    parts = [np.empty(0, dtype=np.uint64)]
    for video_id in sorted(spans):
        places = held.list_of_video(video_id)
        inside = np.zeros(len(places), dtype=bool)
        for start, end in spans[video_id]:
            inside |= (ends[places] >= start) & (starts[places] <= end)
        parts.append(held.row_ids[places[inside]])
    rows: list[int] = np.concatenate(parts).tolist()
    return rows


def _read_spans(view: View, spans: Spans, columns: Sequence[str]) -> pa.Table:
    """The moments that are seen in some stretches of time of their videos, where no columns are in memory."""
    parts = []
    names = sorted(spans)
    for first in range(0, len(names), VIDEOS_A_READ):
        some = names[first : first + VIDEOS_A_READ]
        limits = [
            f"{make_name_filter('video_id', [video])} AND end_s >= {start!r} AND start_s <= {end!r}"
            for video in some
            for start, end in spans[video]
        ]
        where = join_all([make_name_filter("video_id", some), join_any(limits)])
        parts.append(view.read(where, columns))
    return pa.concat_tables(parts).combine_chunks()


def _merge_spans(windows: Sequence[Window], margin_s: float) -> Spans:
    """For each video, stretches of time that hold all windows and their margins, apart from each other."""
    spans: Spans = {}
    for window in sorted(windows, key=lambda window: (window.video_id, window.start_s)):
        start, end = window.start_s - margin_s, window.end_s + margin_s
        known = spans.setdefault(window.video_id, [])
        if known and start <= known[-1][1]:
            known[-1] = (known[-1][0], max(end, known[-1][1]))
        else:
            known.append((start, end))
    return spans
