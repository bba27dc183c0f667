"""How two objects' paths stand to each other: one formula a relation, each 0..1. Reasons: docs/search.md.

Everything is measured in the picture, in *own lengths* (the root of the box's area, the mean of the two),
while both are seen. `fade(x, full, zero)` is 1 up to `full` and falls to 0 at `zero`. The camera's motion is
not removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tubelet.index.structured_query import INVERSE, RelationKind

Array = NDArray[np.float64]

STILL_LENGTHS_PER_S = 0.15
"""Slower than this is standing, as in docs/motion.md."""

BEST_S = 1.0
"""A relation counts by the second in which it holds best; following takes two."""

MAX_CROSSING_POINTS = 32
_VELOCITY_S = 0.5


@dataclass(frozen=True, slots=True)
class Track:
    """An object's boxes over time: `times` (n) rising, `boxes` (n, 4) as x0, y0, x1, y1 in pixels."""

    times: Array
    boxes: Array

    @property
    def centres(self) -> Array:
        """Centres of the boxes: (n, 2)."""
        middle: Array = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        return middle

    def cut(self, start_s: float, end_s: float) -> Track:
        """The part within a window, both ends included."""
        kept = (self.times >= start_s) & (self.times <= end_s)
        return Track(self.times[kept], self.boxes[kept])

    def at(self, times: Array) -> Track:
        """The boxes at other times within the track's own, on straight lines between the known ones."""
        sides = [np.interp(times, self.times, self.boxes[:, side]) for side in range(4)]
        return Track(times, np.stack(sides, axis=1))


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two objects at the same m times; velocities are own lengths a second, gaps and offsets own lengths."""

    times: Array
    first: Array
    second: Array
    length: Array
    offset: Array
    gap: Array
    first_velocity: Array
    second_velocity: Array


def measure_relation(kind: RelationKind, first: Track, second: Track) -> float:
    """How much the first object stands in this relation to the second, 0..1."""
    if len(first.times) == 0 or len(second.times) == 0:
        return 0.0
    if kind in ("after", "before"):
        return _measure_order(*((first, second) if kind == "after" else (second, first)))
    if kind == "with":
        return _measure_together(first, second)
    if kind == "crosses":
        return _measure_crossing(first, second)
    if kind not in _FORMULAS:
        first, second, kind = second, first, INVERSE[kind]
    pair = _pair_up(first, second)
    return 0.0 if pair is None else float(np.clip(_FORMULAS[kind](pair), 0.0, 1.0))


def find_reach(kind: RelationKind) -> float:
    """How many own lengths apart two objects may be at most for the relation to hold at all."""
    return _REACH.get(kind, _REACH.get(INVERSE.get(kind, kind), np.inf))


def fade(values: Array, full: float, zero: float) -> Array:
    """1 up to `full`, falling to 0 at `zero`; the other way round when `zero` is the smaller."""
    faded: Array = np.clip((zero - values) / (zero - full), 0.0, 1.0)
    return faded


def _pair_up(first: Track, second: Track) -> _Pair | None:
    start, end = max(first.times[0], second.times[0]), min(first.times[-1], second.times[-1])
    if end < start:
        return None
    inside = np.concatenate([track.times for track in (first, second)])
    times = np.unique(np.clip(inside[(inside >= start) & (inside <= end)], start, end))
    a, b = first.at(times), second.at(times)
    lengths = [np.sqrt(np.maximum(_areas(track.boxes), 1e-6)) for track in (a, b)]
    length = (lengths[0] + lengths[1]) / 2
    apart = np.maximum(a.boxes[:, :2], b.boxes[:, :2]) - np.minimum(a.boxes[:, 2:], b.boxes[:, 2:])
    gap = np.hypot(*np.maximum(apart, 0.0).T) / length
    offset = (b.centres - a.centres) / length[:, None]
    velocities = [_measure_velocity(track) / length[:, None] for track in (a, b)]
    return _Pair(times, a.boxes, b.boxes, length, offset, gap, *velocities)


def _areas(boxes: Array) -> Array:
    sizes = boxes[:, 2:] - boxes[:, :2]
    areas: Array = sizes[:, 0] * sizes[:, 1]
    return areas


def _measure_velocity(track: Track) -> Array:
    """Pixels a second, over half a second around each time: (m, 2)."""
    times, centres = track.times, track.centres
    if len(times) < 2:
        return np.zeros_like(centres)
    low = np.maximum(times - _VELOCITY_S / 2, times[0])
    high = np.minimum(times + _VELOCITY_S / 2, times[-1])
    steps = [np.interp(high, times, centres[:, i]) - np.interp(low, times, centres[:, i]) for i in (0, 1)]
    velocity: Array = np.stack(steps, axis=1) / np.maximum(high - low, 1e-6)[:, None]
    return velocity


def _find_best(values: Array, times: Array, window_s: float = BEST_S) -> float:
    """The highest mean over any stretch of `window_s`; over all of it where it is shorter."""
    if times[-1] - times[0] <= window_s:
        return float(values.mean())
    ends = np.searchsorted(times, times + window_s, side="right")
    whole = times + window_s <= times[-1] + 1e-9
    sums = np.concatenate([[0.0], np.cumsum(values)])
    starts = np.arange(len(times))
    means = (sums[ends] - sums[starts]) / (ends - starts)
    return float(means[whole].max())


def _moves(velocity: Array) -> Array:
    moving: Array = (np.hypot(velocity[:, 0], velocity[:, 1]) > STILL_LENGTHS_PER_S).astype(np.float64)
    return moving


def _cosine(first: Array, second: Array) -> Array:
    lengths = np.hypot(*first.T) * np.hypot(*second.T)
    cosine: Array = (first * second).sum(axis=1) / np.maximum(lengths, 1e-9)
    return cosine


def _is_ahead(cosine: Array) -> Array:
    """1 within 45 degrees of straight ahead, 0 beyond 72."""
    return fade(cosine, 0.7, 0.3)


def _measure_near(pair: _Pair) -> float:
    return _find_best(fade(pair.gap, 1.0, 2.5), pair.times)


def _measure_touch(pair: _Pair) -> float:
    low = np.maximum(pair.first[:, :2], pair.second[:, :2])
    high = np.minimum(pair.first[:, 2:], pair.second[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    smaller = np.minimum(_areas(pair.first), _areas(pair.second))
    return _find_best(np.clip(shared / np.maximum(smaller, 1e-6) / 0.25, 0.0, 1.0), pair.times)


def _measure_behind(pair: _Pair) -> float:
    """Behind as they move: the second lies ahead. Where both stand: further up in the picture, and close."""
    first_moves, second_moves = _moves(pair.first_velocity), _moves(pair.second_velocity)
    way = np.where(first_moves[:, None] > 0, pair.first_velocity, pair.second_velocity)
    moving = _is_ahead(_cosine(way, pair.offset)) * fade(pair.gap, 3.0, 6.0)
    lower = (pair.second[:, 3] - pair.first[:, 3]) / pair.length
    standing = np.clip(lower / 0.3, 0.0, 1.0) * fade(pair.gap, 1.0, 3.0)
    return _find_best(np.where(first_moves + second_moves > 0, moving, standing), pair.times)


def _measure_following(pair: _Pair) -> float:
    both = _moves(pair.first_velocity) * _moves(pair.second_velocity)
    same_way = fade(_cosine(pair.first_velocity, pair.second_velocity), 0.7, 0.0)
    ahead = _is_ahead(_cosine(pair.first_velocity, pair.offset))
    return _find_best(both * same_way * ahead * fade(pair.gap, 4.0, 8.0), pair.times, 2 * BEST_S)


def _measure_passing(pair: _Pair) -> float:
    """The second is ahead first and behind later, by half a length each, and they come close."""
    moving = _moves(pair.first_velocity)
    if not moving.any():
        return 0.0
    speeds = np.hypot(*pair.first_velocity.T)
    ahead = (pair.offset * pair.first_velocity).sum(axis=1) / np.maximum(speeds, 1e-9)
    ahead = ahead[moving > 0]
    before = np.maximum.accumulate(ahead)
    after = np.maximum.accumulate(-ahead[::-1])[::-1]
    turned = float(np.minimum(before, after).max())
    return float(np.clip(turned / 0.5, 0.0, 1.0) * fade(pair.gap, 1.5, 4.0).max())


def _measure_overtaking(pair: _Pair) -> float:
    """Passing one that moves the same way."""
    mean = [velocity.mean(axis=0, keepdims=True) for velocity in (pair.first_velocity, pair.second_velocity)]
    same_way = float(fade(_cosine(mean[0], mean[1]), 0.7, 0.0)[0])
    return _measure_passing(pair) * same_way * float(_moves(pair.second_velocity).mean() > 0.5)


def _measure_towards(pair: _Pair) -> float:
    """The distance shrinks by an own length while the first moves the second's way."""
    distance = np.hypot(*pair.offset.T)
    shrunk = float((np.maximum.accumulate(distance) - distance).max())
    moving = _moves(pair.first_velocity) > 0
    if not moving.any():
        return 0.0
    heading = float(_cosine(pair.first_velocity, pair.offset)[moving].mean())
    return float(np.clip(shrunk, 0.0, 1.0) * np.clip(heading / 0.5, 0.0, 1.0))


def _measure_away(pair: _Pair) -> float:
    """The distance grows by an own length while the first moves away from the second."""
    distance = np.hypot(*pair.offset.T)
    grown = float((distance - np.minimum.accumulate(distance)).max())
    moving = _moves(pair.first_velocity) > 0
    if not moving.any():
        return 0.0
    heading = float(_cosine(pair.first_velocity, -pair.offset)[moving].mean())
    return float(np.clip(grown, 0.0, 1.0) * np.clip(heading / 0.5, 0.0, 1.0))


def _measure_side(x: float, y: float) -> Callable[[_Pair], float]:
    """Whether the first lies in this direction of the screen from the second, and not far from it."""

    def measure(pair: _Pair) -> float:
        direction = np.broadcast_to(np.array([x, y]), pair.offset.shape)
        beside = _is_ahead(_cosine(-pair.offset, direction)) * fade(pair.gap, 2.0, 5.0)
        return _find_best(beside, pair.times)

    return measure


def _measure_together(first: Track, second: Track) -> float:
    """Seen at the same time: for a second, or for as long as the shorter of the two is seen."""
    shared = min(first.times[-1], second.times[-1]) - max(first.times[0], second.times[0])
    if shared < 0:
        return 0.0
    shorter = min(BEST_S, *(float(track.times[-1] - track.times[0]) for track in (first, second)))
    return 1.0 if shorter <= 0 else float(np.clip(shared / shorter, 0.0, 1.0))


def _measure_order(later: Track, earlier: Track) -> float:
    """The middle of one is at least half a second after the other's, and not long after its end."""
    apart = (later.times[0] + later.times[-1] - earlier.times[0] - earlier.times[-1]) / 2
    pause = np.array([later.times[0] - earlier.times[-1]])
    return float(np.clip(apart / 0.5, 0.0, 1.0) * fade(pause, 5.0, 20.0)[0])


def _measure_crossing(first: Track, second: Track) -> float:
    """Their ways cross at an angle, and both are there within a few seconds of each other."""
    a, b = (_thin(track) for track in (first, second))
    if len(a.times) < 2 or len(b.times) < 2:
        return 0.0
    p, q = a.centres[:-1, None], b.centres[None, :-1]
    r, s = np.diff(a.centres, axis=0)[:, None], np.diff(b.centres, axis=0)[None, :]
    cross = r[..., 0] * s[..., 1] - r[..., 1] * s[..., 0]
    sizes = np.hypot(r[..., 0], r[..., 1]) * np.hypot(s[..., 0], s[..., 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        d = q - p
        along_a = (d[..., 0] * s[..., 1] - d[..., 1] * s[..., 0]) / cross
        along_b = (d[..., 0] * r[..., 1] - d[..., 1] * r[..., 0]) / cross
        sine = np.abs(cross) / sizes
    meets = (np.abs(cross) > 1e-9) & (along_a >= 0) & (along_a <= 1) & (along_b >= 0) & (along_b <= 1)
    if not meets.any():
        return 0.0
    at_a = a.times[:-1, None] + along_a * np.diff(a.times)[:, None]
    at_b = b.times[None, :-1] + along_b * np.diff(b.times)[None, :]
    values = fade(np.abs(at_a - at_b)[meets], 2.0, 6.0) * fade(sine[meets], 0.5, 0.17)
    return float(values.max())


def _thin(track: Track) -> Track:
    """At most `MAX_CROSSING_POINTS` of a track's boxes, spread over it."""
    places = np.linspace(0, len(track.times) - 1, min(len(track.times), MAX_CROSSING_POINTS))
    places = np.unique(places.round().astype(int))
    return Track(track.times[places], track.boxes[places])


_FORMULAS: Mapping[RelationKind, Callable[[_Pair], float]] = {
    "follows": _measure_following,
    "behind": _measure_behind,
    "next-to": _measure_near,
    "passes": _measure_passing,
    "overtakes": _measure_overtaking,
    "touches": _measure_touch,
    "towards": _measure_towards,
    "away-from": _measure_away,
    "left-of": _measure_side(-1.0, 0.0),
    "right-of": _measure_side(1.0, 0.0),
    "above": _measure_side(0.0, -1.0),
    "below": _measure_side(0.0, 1.0),
}

_REACH: Mapping[RelationKind, float] = {
    "follows": 8.0,
    "behind": 6.0,
    "next-to": 2.5,
    "passes": 4.0,
    "overtakes": 4.0,
    "touches": 0.0,
    "left-of": 5.0,
    "above": 5.0,
}
"""Where the formulas' fades end."""
