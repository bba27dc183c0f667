"""What is around some moments: the other objects of their videos at the same time.

A chosen moment is looked at with two seconds on either side, so that a relation is seen that a cut between
moments runs through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tubelet.index.held_columns import HeldColumns, Rows
from tubelet.index.searching.candidates import KEY_COLUMNS
from tubelet.index.searching.judging import SCORED_COLUMNS, Values, measure_fit, to_numpy
from tubelet.index.searching.pairs import Track
from tubelet.index.searching.paths import Paths
from tubelet.index.searching.view import View
from tubelet.index.sql import join_all, join_any, make_name_filter
from tubelet.index.structured_query import Query
from tubelet.index.tables import ROW_ID

MARGIN_S = 2.0
"""A moment's surroundings begin so long before it and end so long after it."""

ORDER_MARGIN_S = 20.0
"""The same for what comes before or after."""

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
        ordered = any(relation.kind in ("after", "before") for relation in query.relations)
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
        self, window: Window, margin_s: float, fits: Values, least_fit: float, reach: float = np.inf
    ) -> list[Rows]:
        """Rows of other objects that are seen within a window's margin, each object's together.

        Only objects with a row that fits at least `least_fit`, and that come nearer than `reach` own lengths
        (of the larger), where the window's object is seen there too.
        """
        rows = self._find_rows(window, margin_s)
        name = self._objects.names.get(window.object_id, -1)
        own, others = rows[self._objects.numbers[rows] == name], rows[self._objects.numbers[rows] != name]
        near = fits[others] >= least_fit
        if np.isfinite(reach) and len(own):
            box = np.concatenate([self._extents[own, :2].min(axis=0), self._extents[own, 2:].max(axis=0)])
            apart = np.maximum(self._extents[others, :2], box[:2]) - np.minimum(
                self._extents[others, 2:], box[2:]
            )
            length = np.maximum(self._lengths[others], self._lengths[own].max())
            near &= np.hypot(*np.maximum(apart, 0.0).T) <= reach * length
        if not near.any():
            return []
        numbers = self._objects.numbers[others]
        kept = np.isin(numbers, np.unique(numbers[near]))
        others, numbers = others[kept], numbers[kept]
        order = np.argsort(numbers, kind="stable")
        return np.split(others[order], np.flatnonzero(np.diff(numbers[order])) + 1) if len(order) else []

    def find_own(self, window: Window, margin_s: float) -> Rows:
        """Rows of the object itself within a window's margin."""
        rows = self._find_rows(window, margin_s)
        name = self._objects.names.get(window.object_id, -1)
        own: Rows = rows[self._objects.numbers[rows] == name]
        return own

    def join_tracks(self, rows: Iterable[int]) -> Track:
        """The path of one object over some of its moments."""
        parts = [self._paths.get(int(row)) for row in rows]
        if not parts:
            return Track(np.empty(0), np.empty((0, 4)))
        if len(parts) == 1:
            return Track(*parts[0])
        times, first = np.unique(np.concatenate([times for times, _ in parts]), return_index=True)
        return Track(times, np.concatenate([boxes for _, boxes in parts])[first])

    def _find_rows(self, window: Window, margin_s: float) -> Rows:
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
