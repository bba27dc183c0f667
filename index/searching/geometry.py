"""How two objects' paths stand to each other: one formula a relation, each 0..1. Reasons: docs/search.md.

Everything is measured in the picture, in *own lengths* (the root of the box's area, the mean of the two),
while both are seen. `fade(x, full, zero)` is 1 up to `full` and falls to 0 at `zero`. The camera's motion is
not removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tubelet.index.searching.pairs import Array, Pairs, Track, Tracks, find_centres, measure_areas, pair_up
from tubelet.index.structured_query import INVERSE, RelationKind

STILL_LENGTHS_PER_S = 0.15
"""Slower than this is standing, as in docs/motion.md."""

BEST_S = 1.0
"""A relation counts by the second in which it holds best; following takes two."""

MAX_CROSSING_POINTS = 32
CROSSING_S = 6.0
"""Two that are where their ways cross so many seconds apart do not cross."""


def measure_relation(kind: RelationKind, first: Track, second: Track) -> float:
    """How much the first object stands in this relation to the second, 0..1."""
    return float(measure_relations(kind, Tracks.join([first]), Tracks.join([second]))[0])


def measure_relations(kind: RelationKind, firsts: Tracks, seconds: Tracks) -> Array:
    """The same for each first object and its second; 0 where there is nothing of one of them."""
    reach = find_reach(kind)
    if kind not in _FORMULAS:
        firsts, seconds, kind = seconds, firsts, INVERSE[kind]
    values = np.zeros(len(firsts.counts))
    seen = np.flatnonzero((firsts.counts > 0) & (seconds.counts > 0))
    if len(seen):
        values[seen] = np.clip(_FORMULAS[kind](firsts.take(seen), seconds.take(seen), reach), 0.0, 1.0)
    return values


def find_reach(kind: RelationKind) -> float:
    """How many own lengths apart two objects may be at most for the relation to hold at all."""
    return _REACH.get(kind, _REACH.get(INVERSE.get(kind, kind), np.inf))


def fade(values: Array, full: float, zero: float) -> Array:
    """1 up to `full`, falling to 0 at `zero`; the other way round when `zero` is the smaller."""
    faded: Array = np.clip((zero - values) / (zero - full), 0.0, 1.0)
    return faded


def _find_best(values: Array, pairs: Pairs, window_s: float = BEST_S) -> Array:
    """The highest mean over any stretch of `window_s`; over all of it where it is shorter."""
    times, tracks = pairs.times, pairs.tracks
    starts = np.arange(len(times))
    ends = tracks.count_until(times + window_s, tracks.groups)
    sums = np.add.reduceat(np.append(values, 0.0), np.stack([starts, ends], axis=1).ravel())[::2]
    whole = times + window_s <= tracks.ends[tracks.groups] + 1e-9
    best = pairs.find_highest(np.where(whole, sums / (ends - starts), -np.inf))
    is_short = tracks.ends - tracks.starts <= window_s
    return np.where(is_short, pairs.sum_up(values) / tracks.counts, best)


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


def _measure_near(pairs: Pairs) -> Array:
    return _find_best(fade(pairs.gap, 1.0, 2.5), pairs)


def _measure_touch(pairs: Pairs) -> Array:
    low = np.maximum(pairs.first[:, :2], pairs.second[:, :2])
    high = np.minimum(pairs.first[:, 2:], pairs.second[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    smaller = np.minimum(measure_areas(pairs.first), measure_areas(pairs.second))
    return _find_best(np.clip(shared / np.maximum(smaller, 1e-6) / 0.25, 0.0, 1.0), pairs)


def _measure_behind(pairs: Pairs) -> Array:
    """Behind as they move: the second lies ahead. Where both stand: further up in the picture, and close."""
    first_moves, second_moves = _moves(pairs.first_velocity), _moves(pairs.second_velocity)
    way = np.where(first_moves[:, None] > 0, pairs.first_velocity, pairs.second_velocity)
    moving = _is_ahead(_cosine(way, pairs.offset)) * fade(pairs.gap, 3.0, 6.0)
    lower = (pairs.second[:, 3] - pairs.first[:, 3]) / pairs.length
    standing = np.clip(lower / 0.3, 0.0, 1.0) * fade(pairs.gap, 1.0, 3.0)
    return _find_best(np.where(first_moves + second_moves > 0, moving, standing), pairs)


def _measure_following(pairs: Pairs) -> Array:
    both = _moves(pairs.first_velocity) * _moves(pairs.second_velocity)
    same_way = fade(_cosine(pairs.first_velocity, pairs.second_velocity), 0.7, 0.0)
    ahead = _is_ahead(_cosine(pairs.first_velocity, pairs.offset))
    return _find_best(both * same_way * ahead * fade(pairs.gap, 4.0, 8.0), pairs, 2 * BEST_S)


def _measure_passing(pairs: Pairs) -> Array:
    """The second is ahead first and behind later, by half a length each, and they come close."""
    moving = _moves(pairs.first_velocity) > 0
    speeds = np.hypot(*pairs.first_velocity.T)
    ahead = (pairs.offset * pairs.first_velocity).sum(axis=1) / np.maximum(speeds, 1e-9)
    before = pairs.find_highest_so_far(np.where(moving, ahead, -np.inf))
    after = pairs.find_highest_so_far(np.where(moving, -ahead, -np.inf), backwards=True)
    turned = pairs.find_highest(np.minimum(before, after))
    near: Array = np.clip(turned / 0.5, 0.0, 1.0) * pairs.find_highest(fade(pairs.gap, 1.5, 4.0))
    return near


def _measure_overtaking(pairs: Pairs) -> Array:
    """Passing one that moves the same way."""
    ways = [pairs.sum_up(velocity) for velocity in (pairs.first_velocity, pairs.second_velocity)]
    same_way = fade(_cosine(*ways), 0.7, 0.0)
    moves = pairs.sum_up(_moves(pairs.second_velocity)) / pairs.tracks.counts > 0.5
    overtaking: Array = _measure_passing(pairs) * same_way * moves
    return overtaking


def _measure_towards(pairs: Pairs) -> Array:
    """The distance shrinks by an own length while the first moves the second's way."""
    distance = np.hypot(*pairs.offset.T)
    shrunk = pairs.find_highest(pairs.find_highest_so_far(distance) - distance)
    return np.clip(shrunk, 0.0, 1.0) * _measure_way(pairs, pairs.offset)


def _measure_away(pairs: Pairs) -> Array:
    """The distance grows by an own length while the first moves away from the second."""
    distance = np.hypot(*pairs.offset.T)
    grown = pairs.find_highest(distance + pairs.find_highest_so_far(-distance))
    return np.clip(grown, 0.0, 1.0) * _measure_way(pairs, -pairs.offset)


def _measure_way(pairs: Pairs, direction: Array) -> Array:
    """How much the first moves in a direction while it moves; 0 where it never does."""
    moving = _moves(pairs.first_velocity)
    along = pairs.sum_up(moving * _cosine(pairs.first_velocity, direction))
    way: Array = np.clip(along / np.maximum(pairs.sum_up(moving), 1.0) / 0.5, 0.0, 1.0)
    return way


def _measure_side(x: float, y: float) -> Callable[[Pairs], Array]:
    """Whether the first lies in this direction of the screen from the second, and not far from it."""

    def measure(pairs: Pairs) -> Array:
        direction = np.broadcast_to(np.array([x, y]), pairs.offset.shape)
        beside = _is_ahead(_cosine(-pairs.offset, direction)) * fade(pairs.gap, 2.0, 5.0)
        return _find_best(beside, pairs)

    return measure


def _measure_together(firsts: Tracks, seconds: Tracks, _reach: float) -> Array:
    """Seen at the same time: for a second, or for as long as the shorter of the two is seen."""
    shared = np.minimum(firsts.ends, seconds.ends) - np.maximum(firsts.starts, seconds.starts)
    lengths = [tracks.ends - tracks.starts for tracks in (firsts, seconds)]
    shorter = np.minimum(BEST_S, np.minimum(*lengths))
    whole = shared / np.where(shorter > 0, shorter, 1.0)
    return np.where(shared < 0, 0.0, np.where(shorter > 0, whole, 1.0))


def _measure_order(laters: Tracks, earliers: Tracks, _reach: float) -> Array:
    """The middle of one is at least half a second after the other's, and not long after its end."""
    apart = (laters.starts + laters.ends - earliers.starts - earliers.ends) / 2
    after: Array = np.clip(apart / 0.5, 0.0, 1.0) * fade(laters.starts - earliers.ends, 5.0, 20.0)
    return after


def _measure_crossings(firsts: Tracks, seconds: Tracks, _reach: float) -> Array:
    """Pairs whose ways lie apart, or that are there at quite different times, are not looked at closer."""
    low, high = [], []
    for tracks in (firsts, seconds):
        centres = find_centres(tracks.values)
        low.append(np.minimum.reduceat(centres, tracks.edges[:-1], axis=0))
        high.append(np.maximum.reduceat(centres, tracks.edges[:-1], axis=0))
    shared: Array = (np.minimum(*high) - np.maximum(*low)).min(axis=1)
    apart_s = np.maximum(firsts.starts, seconds.starts) - np.minimum(firsts.ends, seconds.ends)
    values = np.zeros(len(shared))
    for place in np.flatnonzero((shared >= -1e-6) & (apart_s <= CROSSING_S)).tolist():
        values[place] = _measure_crossing(firsts.get(place), seconds.get(place))
    return values


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
    values = fade(np.abs(at_a[meets] - at_b[meets]), 2.0, CROSSING_S) * fade(sine[meets], 0.5, 0.17)
    return float(values.max())


def _thin(track: Track) -> Track:
    """At most `MAX_CROSSING_POINTS` of a track's boxes, spread over it."""
    places = np.linspace(0, len(track.times) - 1, min(len(track.times), MAX_CROSSING_POINTS))
    places = np.unique(places.round().astype(int))
    return Track(track.times[places], track.boxes[places])


def _beside(formula: Callable[[Pairs], Array]) -> Callable[[Tracks, Tracks, float], Array]:
    """A formula on two objects at the same times; 0 where they never come near enough."""

    def measure(firsts: Tracks, seconds: Tracks, reach: float) -> Array:
        values = np.zeros(len(firsts.counts))
        pairs = pair_up(firsts, seconds, reach)
        if pairs is not None:
            values[pairs.which] = formula(pairs)
        return values

    return measure


_FORMULAS: Mapping[RelationKind, Callable[[Tracks, Tracks, float], Array]] = {
    "after": _measure_order,
    "before": lambda earliers, laters, reach: _measure_order(laters, earliers, reach),
    "with": _measure_together,
    "crosses": _measure_crossings,
    "follows": _beside(_measure_following),
    "behind": _beside(_measure_behind),
    "next-to": _beside(_measure_near),
    "passes": _beside(_measure_passing),
    "overtakes": _beside(_measure_overtaking),
    "touches": _beside(_measure_touch),
    "towards": _beside(_measure_towards),
    "away-from": _beside(_measure_away),
    "left-of": _beside(_measure_side(-1.0, 0.0)),
    "right-of": _beside(_measure_side(1.0, 0.0)),
    "above": _beside(_measure_side(0.0, -1.0)),
    "below": _beside(_measure_side(0.0, 1.0)),
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
