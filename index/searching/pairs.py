"""Two objects at the same times: paths put beside each other, many pairs at once.

All pairs lie in the same flat arrays, one after the other, so that numpy is called a few times for hundreds
of pairs and not a few times for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

_VELOCITY_S = 0.5


@dataclass(frozen=True, slots=True)
class Track:
    """An object's boxes over time: `times` (n) rising, `boxes` (n, 4) as x0, y0, x1, y1 in pixels."""

    times: Array
    boxes: Array

    @property
    def centres(self) -> Array:
        """Centres of the boxes: (n, 2)."""
        return find_centres(self.boxes)

    def cut(self, start_s: float, end_s: float) -> Track:
        """The part within a window, both ends included."""
        kept = (self.times >= start_s) & (self.times <= end_s)
        return Track(self.times[kept], self.boxes[kept])


@dataclass(frozen=True, slots=True)
class Pair:
    """Two objects at the same m times; velocities are own lengths a second, gaps and offsets own lengths."""

    times: Array
    first: Array
    second: Array
    length: Array
    offset: Array
    gap: Array
    first_velocity: Array
    second_velocity: Array


def pair_up(firsts: Sequence[Track], seconds: Sequence[Track], reach: float = np.inf) -> list[Pair | None]:
    """Each first beside its second, at all times that are known of either while both are seen.

    None where they are never seen together, or come no nearer than `reach` own lengths.
    """
    a, b = _Flat.join(firsts), _Flat.join(seconds)
    start, end = np.maximum(a.starts, b.starts), np.minimum(a.ends, b.ends)
    times, groups = np.concatenate([a.times, b.times]), np.concatenate([a.groups, b.groups])
    inside = (times >= start[groups]) & (times <= end[groups])
    times, groups = times[inside], groups[inside]
    order = np.lexsort((times, groups))
    times, groups = times[order], groups[order]
    new = (np.diff(times, prepend=np.nan) != 0) | (np.diff(groups, prepend=-1) != 0)
    times, groups = times[new], groups[new]
    first, second = a.at(times, groups), b.at(times, groups)
    lengths = [np.sqrt(np.maximum(measure_areas(boxes), 1e-6)) for boxes in (first, second)]
    length = (lengths[0] + lengths[1]) / 2
    apart = np.maximum(first[:, :2], second[:, :2]) - np.minimum(first[:, 2:], second[:, 2:])
    gap = np.hypot(*np.maximum(apart, 0.0).T) / length
    offset = (find_centres(second) - find_centres(first)) / length[:, None]
    edges = np.searchsorted(groups, np.arange(len(firsts) + 1))
    velocities = [
        _measure_velocity(_Flat(times, groups, edges, find_centres(boxes))) / length[:, None]
        for boxes in (first, second)
    ]
    columns = (times, first, second, length, offset, gap, *velocities)
    pairs: list[Pair | None] = []
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        near = high > low and gap[low:high].min() <= reach
        pairs.append(Pair(*(column[low:high] for column in columns)) if near else None)
    return pairs


def find_centres(boxes: Array) -> Array:
    """Centres of boxes: (n, 2)."""
    middle: Array = (boxes[:, :2] + boxes[:, 2:]) / 2
    return middle


def measure_areas(boxes: Array) -> Array:
    """Areas of boxes: (n)."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    areas: Array = sizes[:, 0] * sizes[:, 1]
    return areas


@dataclass(frozen=True, slots=True)
class _Flat:
    """Values over time of many groups: group g has the times from `edges[g]` to `edges[g + 1]`, rising."""

    times: Array
    groups: Rows
    edges: Rows
    values: Array

    @classmethod
    def join(cls, tracks: Sequence[Track]) -> _Flat:
        """Tracks, of which none is empty."""
        counts = [len(track.times) for track in tracks]
        return cls(
            np.concatenate([track.times for track in tracks]),
            np.repeat(np.arange(len(tracks)), counts),
            np.concatenate([[0], np.cumsum(counts)]),
            np.concatenate([track.boxes for track in tracks]),
        )

    @property
    def starts(self) -> Array:
        """The first time of each group, of which none is empty."""
        return self.times[self.edges[:-1]]

    @property
    def ends(self) -> Array:
        """The last time of each group, of which none is empty."""
        return self.times[self.edges[1:] - 1]

    def at(self, times: Array, groups: Rows) -> Array:
        """Values at times within the groups' own, on straight lines between the known ones."""
        num_known = len(self.times)
        together = np.concatenate([self.times, times])
        order = np.lexsort(
            (np.arange(len(together)) >= num_known, together, np.concatenate([self.groups, groups]))
        )
        is_asked = order >= num_known
        place = np.empty(len(times), dtype=np.int64)
        place[order[is_asked] - num_known] = np.cumsum(~is_asked)[is_asked] - 1
        last = self.edges[groups + 1] - 1
        low = np.maximum(np.minimum(place, last - 1), self.edges[groups])
        high = np.minimum(low + 1, last)
        span = self.times[high] - self.times[low]
        share = np.where(span > 0, (times - self.times[low]) / np.where(span > 0, span, 1.0), 0.0)
        values: Array = self.values[low] + share[:, None] * (self.values[high] - self.values[low])
        return values


def _measure_velocity(centres: _Flat) -> Array:
    """Pixels a second, over half a second around each time: (m, 2)."""
    times, groups = centres.times, centres.groups
    low = np.maximum(times - _VELOCITY_S / 2, times[centres.edges[groups]])
    high = np.minimum(times + _VELOCITY_S / 2, times[centres.edges[groups + 1] - 1])
    moved = centres.at(high, groups) - centres.at(low, groups)
    velocity: Array = moved / np.maximum(high - low, 1e-6)[:, None]
    return velocity
