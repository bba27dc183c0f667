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

from tubelet.index.searching.candidates import KEY_COLUMNS, Rows
from tubelet.index.searching.judging import SCORED_COLUMNS, Values, to_numpy
from tubelet.index.searching.pairs import Track
from tubelet.index.searching.paths import Paths
from tubelet.index.searching.view import View
from tubelet.index.sql import join_all, join_any, make_name_filter

MARGIN_S = 2.0
"""A moment's surroundings begin so long before it and end so long after it."""

ORDER_MARGIN_S = 20.0
"""The same for what comes before or after."""

VIDEOS_A_READ = 64


@dataclass(frozen=True, slots=True)
class Window:
    """A moment of an object, as surroundings are looked up for it."""

    moment_id: str
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
    def load(cls, view: View, windows: Sequence[Window], margin_s: float) -> Surroundings:
        """Read what is in the windows' videos at their times, and that much before and after."""
        columns = view.name_columns(*KEY_COLUMNS, *SCORED_COLUMNS, "path")
        spans = _merge_spans(windows, margin_s)
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
        return cls(pa.concat_tables(parts).combine_chunks())

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
    names = {name: number for number, name in enumerate(encoded.dictionary.to_pylist())}
    return _Numbered(names, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64))


def _merge_spans(windows: Sequence[Window], margin_s: float) -> dict[str, list[tuple[float, float]]]:
    """For each video, stretches of time that hold all windows and their margins, apart from each other."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for window in sorted(windows, key=lambda window: (window.video_id, window.start_s)):
        start, end = window.start_s - margin_s, window.end_s + margin_s
        known = spans.setdefault(window.video_id, [])
        if known and start <= known[-1][1]:
            known[-1] = (known[-1][0], max(end, known[-1][1]))
        else:
            known.append((start, end))
    return spans
