"""How two objects' paths stand to each other: one formula a relation, each 0..1. Reasons: docs/search.md.

Everything is measured in the picture, in *own lengths* (the root of the box's area, the mean of the two),
while both are seen. `fade(x, full, zero)` is 1 up to `full` and falls to 0 at `zero`. The camera's motion is
not removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tubelet.index.searching.pairs import Array, Pair, Track, measure_areas, pair_up
from tubelet.index.structured_query import INVERSE, RelationKind

STILL_LENGTHS_PER_S = 0.15
"""Slower than this is standing, as in docs/motion.md."""

BEST_S = 1.0
"""A relation counts by the second in which it holds best; following takes two."""

MAX_CROSSING_POINTS = 32


def measure_relation(kind: RelationKind, first: Track, second: Track) -> float:
    """How much the first object stands in this relation to the second, 0..1."""
    return measure_relations(kind, [first], [second])[0]


def measure_relations(kind: RelationKind, firsts: Sequence[Track], seconds: Sequence[Track]) -> list[float]:
    """The same for each first object and its second."""
    if kind in _SINGLE_FORMULAS:
        return [_measure_single(kind, first, second) for first, second in zip(firsts, seconds, strict=True)]
    reach = find_reach(kind)
    if kind not in _FORMULAS:
        firsts, seconds, kind = seconds, firsts, INVERSE[kind]
    values = [0.0] * len(firsts)
    seen = [place for place in range(len(firsts)) if len(firsts[place].times) and len(seconds[place].times)]
    if seen:
        pairs = pair_up([firsts[place] for place in seen], [seconds[place] for place in seen], reach)
        for place, pair in zip(seen, pairs, strict=True):
            if pair is not None:
                values[place] = float(np.clip(_FORMULAS[kind](pair), 0.0, 1.0))
    return values


def is_paired(kind: RelationKind) -> bool:
    """Whether it is measured on both objects at the same times, best for many pairs at once."""
    return kind not in _SINGLE_FORMULAS


def _measure_single(kind: RelationKind, first: Track, second: Track) -> float:
    return _SINGLE_FORMULAS[kind](first, second) if len(first.times) and len(second.times) else 0.0


def find_reach(kind: RelationKind) -> float:
    """How many own lengths apart two objects may be at most for the relation to hold at all."""
    return _REACH.get(kind, _REACH.get(INVERSE.get(kind, kind), np.inf))


def fade(values: Array, full: float, zero: float) -> Array:
    """1 up to `full`, falling to 0 at `zero`; the other way round when `zero` is the smaller."""
    faded: Array = np.clip((zero - values) / (zero - full), 0.0, 1.0)
    return faded


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


def _measure_near(pair: Pair) -> float:
    return _find_best(fade(pair.gap, 1.0, 2.5), pair.times)


def _measure_touch(pair: Pair) -> float:
    low = np.maximum(pair.first[:, :2], pair.second[:, :2])
    high = np.minimum(pair.first[:, 2:], pair.second[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    smaller = np.minimum(measure_areas(pair.first), measure_areas(pair.second))
    return _find_best(np.clip(shared / np.maximum(smaller, 1e-6) / 0.25, 0.0, 1.0), pair.times)


def _measure_behind(pair: Pair) -> float:
    """Behind as they move: the second lies ahead. Where both stand: further up in the picture, and close."""
    first_moves, second_moves = _moves(pair.first_velocity), _moves(pair.second_velocity)
    way = np.where(first_moves[:, None] > 0, pair.first_velocity, pair.second_velocity)
    moving = _is_ahead(_cosine(way, pair.offset)) * fade(pair.gap, 3.0, 6.0)
    lower = (pair.second[:, 3] - pair.first[:, 3]) / pair.length
    standing = np.clip(lower / 0.3, 0.0, 1.0) * fade(pair.gap, 1.0, 3.0)
    return _find_best(np.where(first_moves + second_moves > 0, moving, standing), pair.times)


def _measure_following(pair: Pair) -> float:
    both = _moves(pair.first_velocity) * _moves(pair.second_velocity)
    same_way = fade(_cosine(pair.first_velocity, pair.second_velocity), 0.7, 0.0)
    ahead = _is_ahead(_cosine(pair.first_velocity, pair.offset))
    return _find_best(both * same_way * ahead * fade(pair.gap, 4.0, 8.0), pair.times, 2 * BEST_S)


def _measure_passing(pair: Pair) -> float:
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


def _measure_overtaking(pair: Pair) -> float:
    """Passing one that moves the same way."""
    mean = [velocity.mean(axis=0, keepdims=True) for velocity in (pair.first_velocity, pair.second_velocity)]
    same_way = float(fade(_cosine(mean[0], mean[1]), 0.7, 0.0)[0])
    return _measure_passing(pair) * same_way * float(_moves(pair.second_velocity).mean() > 0.5)


def _measure_towards(pair: Pair) -> float:
    """The distance shrinks by an own length while the first moves the second's way."""
    distance = np.hypot(*pair.offset.T)
    shrunk = float((np.maximum.accumulate(distance) - distance).max())
    moving = _moves(pair.first_velocity) > 0
    if not moving.any():
        return 0.0
    heading = float(_cosine(pair.first_velocity, pair.offset)[moving].mean())
    return float(np.clip(shrunk, 0.0, 1.0) * np.clip(heading / 0.5, 0.0, 1.0))


def _measure_away(pair: Pair) -> float:
    """The distance grows by an own length while the first moves away from the second."""
    distance = np.hypot(*pair.offset.T)
    grown = float((distance - np.minimum.accumulate(distance)).max())
    moving = _moves(pair.first_velocity) > 0
    if not moving.any():
        return 0.0
    heading = float(_cosine(pair.first_velocity, -pair.offset)[moving].mean())
    return float(np.clip(grown, 0.0, 1.0) * np.clip(heading / 0.5, 0.0, 1.0))


def _measure_side(x: float, y: float) -> Callable[[Pair], float]:
    """Whether the first lies in this direction of the screen from the second, and not far from it."""

    def measure(pair: Pair) -> float:
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


_SINGLE_FORMULAS: Mapping[RelationKind, Callable[[Track, Track], float]] = {
    "after": _measure_order,
    "before": lambda earlier, later: _measure_order(later, earlier),
    "with": _measure_together,
    "crosses": _measure_crossing,
}

_FORMULAS: Mapping[RelationKind, Callable[[Pair], float]] = {
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
