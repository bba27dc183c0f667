"""What is around some moments: the other objects of their videos at the same time.

A chosen moment is looked at with two seconds on either side, so that a relation is seen that a cut between
moments runs through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tubelet.index.searching.candidates import KEY_COLUMNS
from tubelet.index.searching.filters import join_all, join_any, make_name_filter
from tubelet.index.searching.geometry import Track
from tubelet.index.searching.judging import SCORED_COLUMNS, to_numpy
from tubelet.index.searching.paths import Paths
from tubelet.index.searching.view import View

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
        self._videos = moments["video_id"].to_numpy(zero_copy_only=False).astype(str)
        self._objects = moments["object_id"].to_numpy(zero_copy_only=False).astype(str)
        self._starts, self._ends = to_numpy(moments["start_s"]), to_numpy(moments["end_s"])
        self._rows_of_video: dict[str, NDArray[np.int64]] = {}
        order = np.argsort(self._videos, kind="stable")
        for video, rows in groupby(order.tolist(), key=lambda row: str(self._videos[row])):
            self._rows_of_video[video] = np.array(list(rows), dtype=np.int64)
        self._paths = Paths(moments)

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
            parts.append(view.keep_visible(view.read(where, columns)))
        return cls(pa.concat_tables(parts).combine_chunks())

    def find_others(self, window: Window, margin_s: float) -> Mapping[str, NDArray[np.int64]]:
        """Rows of the other objects that are seen within a window's margin, by object."""
        rows = self._find_rows(window, margin_s)
        others = rows[self._objects[rows] != window.object_id]
        return {str(name): others[self._objects[others] == name] for name in np.unique(self._objects[others])}

    def find_own(self, window: Window, margin_s: float) -> NDArray[np.int64]:
        """Rows of the object itself within a window's margin."""
        rows = self._find_rows(window, margin_s)
        own: NDArray[np.int64] = rows[self._objects[rows] == window.object_id]
        return own

    def join_tracks(self, rows: Iterable[int]) -> Track:
        """The path of one object over some of its moments."""
        parts = [self._paths.get(int(row)) for row in rows]
        if not parts:
            return Track(np.empty(0), np.empty((0, 4)))
        times, first = np.unique(np.concatenate([times for times, _ in parts]), return_index=True)
        return Track(times, np.concatenate([boxes for _, boxes in parts])[first])

    def _find_rows(self, window: Window, margin_s: float) -> NDArray[np.int64]:
        rows = self._rows_of_video.get(window.video_id, np.empty(0, dtype=np.int64))
        near = (self._ends[rows] >= window.start_s - margin_s) & (
            self._starts[rows] <= window.end_s + margin_s
        )
        return rows[near]


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
