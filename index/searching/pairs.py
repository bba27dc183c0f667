"""Two objects at the same times: paths put beside each other, many pairs at once.

All pairs lie in the same flat arrays, one after the other, so that numpy is called a few times for hundreds
of pairs and not a few times for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

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


@dataclass(frozen=True, slots=True)
class Tracks:
    """Values over time of many objects: number g has the times from `edges[g]` to `edges[g + 1]`, rising.

    `groups` are the numbers, one a time; values are boxes, or what else is known of these times.
    """

    times: Array
    groups: Rows
    edges: Rows
    values: Array

    @classmethod
    def join(cls, tracks: Sequence[Track]) -> Tracks:
        """Tracks, one after the other."""
        counts = [len(track.times) for track in tracks]
        return cls(
            np.concatenate([np.empty(0), *(track.times for track in tracks)]),
            np.repeat(np.arange(len(tracks)), counts),
            np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
            np.concatenate([np.empty((0, 4)), *(track.boxes for track in tracks)]),
        )

    @classmethod
    def sort(cls, times: Array, groups: Rows, values: Array, num_groups: int) -> Tracks:
        """Values in any order. Of several of one object at one time, the first stays."""
        order = np.lexsort((times, groups))
        times, groups = times[order], groups[order]
        new = (np.diff(times, prepend=np.nan) != 0) | (np.diff(groups, prepend=-1) != 0)
        times, groups = times[new], groups[new]
        edges = np.searchsorted(groups, np.arange(num_groups + 1))
        return cls(times, groups, edges, values[order[new]])

    @property
    def counts(self) -> Rows:
        """How many times each has."""
        return np.diff(self.edges)

    @property
    def starts(self) -> Array:
        """The first time of each, of which none is empty."""
        return self.times[self.edges[:-1]]

    @property
    def ends(self) -> Array:
        """The last time of each, of which none is empty."""
        return self.times[self.edges[1:] - 1]

    def get(self, number: int) -> Track:
        """One of them."""
        part = slice(self.edges[number], self.edges[number + 1])
        return Track(self.times[part], self.values[part])

    def take(self, numbers: Rows) -> Tracks:
        """Some of them, in any order and any number of times."""
        counts = self.counts[numbers]
        edges = np.concatenate([[0], np.cumsum(counts)])
        places = list_ranges(self.edges[numbers], counts)
        groups = np.repeat(np.arange(len(numbers)), counts)
        return Tracks(self.times[places], groups, edges, self.values[places])

    def cut(self, starts: Array, ends: Array) -> Tracks:
        """The parts within a window each, both ends included."""
        kept = (self.times >= starts[self.groups]) & (self.times <= ends[self.groups])
        groups = self.groups[kept]
        edges = np.searchsorted(groups, np.arange(len(self.edges)))
        return Tracks(self.times[kept], groups, edges, self.values[kept])

    def count_until(self, times: Array, groups: Rows) -> Rows:
        """For each of some times of objects, the place after the last known one that is not later."""
        num_known = len(self.times)
        together = np.concatenate([self.times, times])
        order = np.lexsort(
            (np.arange(len(together)) >= num_known, together, np.concatenate([self.groups, groups]))
        )
        is_asked = order >= num_known
        counts = np.empty(len(times), dtype=np.int64)
        counts[order[is_asked] - num_known] = np.cumsum(~is_asked)[is_asked]
        return counts

    def at(self, times: Array, groups: Rows) -> Array:
        """Values at times within the objects' own, on straight lines between the known ones."""
        last = self.edges[groups + 1] - 1
        low = np.maximum(np.minimum(self.count_until(times, groups) - 1, last - 1), self.edges[groups])
        high = np.minimum(low + 1, last)
        span = self.times[high] - self.times[low]
        share = np.where(span > 0, (times - self.times[low]) / np.where(span > 0, span, 1.0), 0.0)
        values: Array = self.values[low] + share[:, None] * (self.values[high] - self.values[low])
        return values


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of objects at the same times; velocities are own lengths a second, gaps and offsets own lengths.

    Pair p has the times from `edges[p]` to `edges[p + 1]`, one at least; `which` are the pairs' places among
    all that were put beside each other.
    """

    which: Rows
    tracks: Tracks
    first: Array
    second: Array
    length: Array
    offset: Array
    gap: Array
    first_velocity: Array
    second_velocity: Array

    @property
    def times(self) -> Array:
        """The times of all pairs."""
        return self.tracks.times

    def find_highest(self, values: Array) -> Array:
        """Of each pair the highest of its values."""
        highest: Array = np.maximum.reduceat(values, self.tracks.edges[:-1])
        return highest

    def sum_up(self, values: Array) -> Array:
        """Of each pair the sum of its values."""
        sums: Array = np.add.reduceat(values, self.tracks.edges[:-1])
        return sums

    def find_highest_so_far(self, values: Array, *, backwards: bool = False) -> Array:
        """At each time the highest value up to then, or from then on."""
        highest = np.empty_like(values)
        step = -1 if backwards else 1
        for low, high in pairwise(self.tracks.edges.tolist()):
            np.maximum.accumulate(values[low:high][::step], out=highest[low:high][::step])
        return highest


def pair_up(firsts: Tracks, seconds: Tracks, reach: float = np.inf) -> Pairs | None:
    """Each first beside its second, none of them empty, at all times known of either while both are seen.

    Left out are those that are never seen together, or come no nearer than `reach` own lengths; None where
    no pair is left.
    """
    start, end = np.maximum(firsts.starts, seconds.starts), np.minimum(firsts.ends, seconds.ends)
    times = np.concatenate([firsts.times, seconds.times])
    groups = np.concatenate([firsts.groups, seconds.groups])
    inside = (times >= start[groups]) & (times <= end[groups])
    both = Tracks.sort(times[inside], groups[inside], times[inside], len(start))
    first, second = (tracks.at(both.times, both.groups) for tracks in (firsts, seconds))
    lengths = [np.sqrt(np.maximum(measure_areas(boxes), 1e-6)) for boxes in (first, second)]
    length = (lengths[0] + lengths[1]) / 2
    apart = np.maximum(first[:, :2], second[:, :2]) - np.minimum(first[:, 2:], second[:, 2:])
    gap = np.hypot(*np.maximum(apart, 0.0).T) / length
    nearest = np.full(len(start), np.inf)
    np.minimum.at(nearest, both.groups, gap)
    which = np.flatnonzero((both.counts > 0) & (nearest <= reach))
    if len(which) == 0:
        return None
    kept = list_ranges(both.edges[which], both.counts[which])
    tracks = both.take(which)
    first, second, length, gap = first[kept], second[kept], length[kept], gap[kept]
    centres = [find_centres(boxes) for boxes in (first, second)]
    velocities = [_measure_velocity(replace(tracks, values=each)) / length[:, None] for each in centres]
    offset = (centres[1] - centres[0]) / length[:, None]
    return Pairs(which, tracks, first, second, length, offset, gap, *velocities)


def list_ranges(starts: Rows, counts: Rows) -> Rows:
    """So many whole numbers from each start on, one range after the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()))


def find_centres(boxes: Array) -> Array:
    """Centres of boxes: (n, 2)."""
    middle: Array = (boxes[:, :2] + boxes[:, 2:]) / 2
    return middle


def measure_areas(boxes: Array) -> Array:
    """Areas of boxes: (n)."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    areas: Array = sizes[:, 0] * sizes[:, 1]
    return areas


def _measure_velocity(centres: Tracks) -> Array:
    """Pixels a second, over half a second around each time: (m, 2)."""
    times, groups = centres.times, centres.groups
    low = np.maximum(times - _VELOCITY_S / 2, times[centres.edges[groups]])
    high = np.minimum(times + _VELOCITY_S / 2, times[centres.edges[groups + 1] - 1])
    moved = centres.at(high, groups) - centres.at(low, groups)
    velocity: Array = moved / np.maximum(high - low, 1e-6)[:, None]
    return velocity
