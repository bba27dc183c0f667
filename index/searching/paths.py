"""Paths of many moments at once, and which of them go through a box drawn in the frame."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tubelet.index.searching.judging import Values, to_numpy
from tubelet.index.searching.pairs import Rows, Tracks, list_ranges
from tubelet.index.structured_query import Query, Region, SearchFilter, TimeWindow

MIN_LENGTH_PX = 1e-3
_SIDES = ("x0", "y0", "x1", "y1")


class Paths:
    """The paths of a table's moments as arrays; moment i has the points from `offsets[i]` on."""

    def __init__(self, moments: pa.Table) -> None:
        lists = moments["path"].combine_chunks()
        if isinstance(lists, pa.ChunkedArray):  # pyarrow leaves an empty column in chunks
            lists = pa.concat_arrays([*lists.chunks, pa.array([], lists.type)])
        lengths = to_numpy(lists.value_lengths()).astype(np.int64)
        points = lists.flatten()
        self.offsets: NDArray[np.int64] = np.concatenate([[0], np.cumsum(lengths)])
        self.times: Values = to_numpy(points.field("t"))
        self.boxes: Values = np.stack([to_numpy(points.field(side)) for side in _SIDES], axis=1)

    def join(self, rows: Rows, groups: Rows, num_groups: int) -> Tracks:
        """The paths of some moments, those of one group joined to one; groups are numbered from 0."""
        counts = np.diff(self.offsets)[rows]
        places = list_ranges(self.offsets[rows], counts)
        return Tracks.sort(self.times[places], np.repeat(groups, counts), self.boxes[places], num_groups)

    def measure_extents(self) -> tuple[Values, Values]:
        """For each moment the box around all its boxes (m, 4), and its own length where it is largest (m)."""
        if len(self.offsets) == 1:
            return np.empty((0, 4)), np.empty(0)
        starts = self.offsets[:-1]
        low = np.minimum.reduceat(self.boxes[:, :2], starts, axis=0)
        high = np.maximum.reduceat(self.boxes[:, 2:], starts, axis=0)
        sizes = self.boxes[:, 2:] - self.boxes[:, :2]
        lengths = np.sqrt(np.maximum.reduceat(sizes[:, 0] * sizes[:, 1], starts))
        return np.concatenate([low, high], axis=1), np.maximum(lengths, MIN_LENGTH_PX)


def keep_in_region(
    moments: pa.Table, region: Region, start_s: float, end_s: float | None
) -> NDArray[np.bool_]:
    """Which moments touch a region, or stay inside it, at the times start_s <= t < end_s."""
    paths = Paths(moments)
    if len(moments) == 0:
        return np.zeros(0, dtype=bool)
    counts = np.diff(paths.offsets)
    size = np.stack([to_numpy(moments["frame_width"]), to_numpy(moments["frame_height"])], axis=1)
    x0, y0, x1, y1 = (paths.boxes / np.repeat(np.tile(size, 2), counts, axis=0)).T
    left, top, right, bottom = region.box
    if region.how == "touches":
        there = (x1 > left) & (x0 < right) & (y1 > top) & (y0 < bottom)
    else:
        there = (x0 >= left) & (x1 <= right) & (y0 >= top) & (y1 <= bottom)
    in_time = (paths.times >= start_s) & (paths.times < (np.inf if end_s is None else end_s))
    starts = paths.offsets[:-1]
    any_time = np.logical_or.reduceat(in_time, starts)
    if region.how == "touches":
        touching: NDArray[np.bool_] = np.logical_or.reduceat(there & in_time, starts)
        return touching
    staying: NDArray[np.bool_] = any_time & np.logical_and.reduceat(there | ~in_time, starts)
    return staying


def find_time_limits(query: Query, within: SearchFilter) -> tuple[float, float | None]:
    """The seconds within which a region must be touched: from the first on, to before the second."""
    limits: list[SearchFilter | TimeWindow] = [query.filters, within]
    limits += [query.time] if query.time is not None else []
    ends = [limit.end_s for limit in limits if limit.end_s is not None]
    return max(limit.start_s or 0.0 for limit in limits), min(ends) if ends else None
