"""Rejoining: chains of tracklets with a gap between them that are one object all the same.

Two rules, each a one-to-one assignment (Hungarian method) of ends to beginnings. Neither ever joins across a
cut, or objects that were visible at once. Lengths are the object's own: the root of its box's area.

1. *Continuation*, for gaps of at most `CONTINUE_S`. The later chain begins where the earlier one was going,
   and came from where that one was: m = exp(-d^2 / (2 s^2)), where d is the larger of the two errors of a
   prediction at constant velocity, camera motion removed, and s = (0.35 + 0.5 gap) lengths. It needs
   m >= 0.5 and looks that do not speak against it (cosine >= 0.7); where looks are not known, m >= 0.7 and
   half the gap. It also needs like sizes, and an end that was not leaving the picture. Its score is m,
   lowered with the gap, averaged with the cosine.
2. *Return*, for gaps of at most `rejoin_s`, by looks: a cosine of 0.95 or more, ahead of every rival by 0.05.
   A rival is another end or beginning that was visible at the same time as the chosen one, so that only one
   of them can be the object. The place must be possible as well: what left over a side of the picture comes
   back over that side, and what was lost inside comes back within its reach.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from tubelet.model.trajectory.path import compose_camera, find_cut_sides, unpack_boxes
from tubelet.records import CameraStep, Observation, Tracklet

CONTINUE_S = 2.0
MIN_CONTINUITY, MIN_CONTINUITY_ALONE = 0.5, 0.7
MIN_LIKENESS_OF_CONTINUATION = 0.7
MIN_LIKENESS_OF_RETURN = 0.95
MIN_LEAD = 0.05
MIN_SIZE_RATIO = 0.6
LEAVING_LENGTHS_PER_S = 0.25
REACH_LENGTHS = 2.0
_SPREAD_LENGTHS, _SPREAD_LENGTHS_PER_S = 0.35, 0.5
_LATE_DISCOUNT = 0.5
_VELOCITY_S = 1.0

Array = NDArray[np.float64]
Pairs = Mapping[tuple[int, int], float]
"""Scores (0..1] of an end and a beginning, by the places of their chains."""


@dataclass(slots=True)
class Chain:
    """Tracklets that are one object: its observations, each in one chunk's own window, without masks."""

    observations: list[Observation] = field(default_factory=list)
    tracklet_ids: list[str] = field(default_factory=list)
    _looks: list[tuple[int, Array]] = field(default_factory=list)

    def add(self, tracklet: Tracklet, own: Sequence[Observation]) -> None:
        """Take in a tracklet, of which the observations `own` count."""
        self.observations += own
        self.tracklet_ids.append(tracklet.tracklet_id)
        if tracklet.appearance and own:
            self._looks.append((len(own), np.asarray(tracklet.appearance, np.float64)))

    def extend(self, later: Chain) -> None:
        """Take in a chain that begins after this one ends."""
        self.observations += later.observations
        self.tracklet_ids += later.tracklet_ids
        self._looks += later._looks

    def sort(self) -> None:
        """Bring observations into time order."""
        self.observations.sort(key=lambda observation: observation.time_s)

    @property
    def start_s(self) -> float:
        return self.observations[0].time_s

    @property
    def end_s(self) -> float:
        return self.observations[-1].time_s

    def measure_look(self) -> Array | None:
        """A unit vector of how the object looks, over all of its life; None where nobody knows."""
        if not self._looks:
            return None
        total: Array = np.sum([count * look for count, look in self._looks], axis=0)
        length = float(np.linalg.norm(total))
        return total / length if length > 0 else None


@dataclass(frozen=True, slots=True)
class Scene:
    """What the rules must know of the video: cuts and camera steps in time order, and the frame's size."""

    cuts: Sequence[float]
    camera: Sequence[CameraStep]
    width: int
    height: int

    def number_shot(self, time_s: float) -> int:
        """Which shot a time lies in; a cut is the time of the first frame after it."""
        return bisect_right(self.cuts, time_s)


@dataclass(frozen=True, slots=True)
class _Tip:
    """One end of a chain: where it is, where it goes (pixels a second), its length in pixels.

    `sides` are the sides of the picture (left, top, right, bottom) that it touches.
    """

    time_s: float
    centre: Array
    velocity: Array
    length: float
    sides: NDArray[np.bool_]


def rejoin_chains(chains: Sequence[Chain], scene: Scene, *, rejoin_s: float) -> list[Chain]:
    """Join chains that are one object, away for at most `rejoin_s`; 0 joins none.

    Chains hold at least one observation each, in time order. Those given are changed.
    """
    joined = sorted(chains, key=lambda chain: (chain.start_s, chain.observations[0].box))
    for find_pairs in (_find_continuations, _find_returns):
        joined = _link(joined, find_pairs(joined, scene, rejoin_s))
    return joined


def _find_continuations(chains: Sequence[Chain], scene: Scene, rejoin_s: float) -> Pairs:
    looks = [chain.measure_look() for chain in chains]
    neighbours = _list_neighbours(chains, scene, min(CONTINUE_S, rejoin_s))
    lasts = {a: _find_last_tip(chains[a], scene) for a in {a for a, _ in neighbours}}
    firsts = {b: _find_first_tip(chains[b], scene) for b in {b for _, b in neighbours}}
    scores = {}
    for a, b in neighbours:
        before, after = lasts[a], firsts[b]
        if _is_leaving(before) or not _have_like_sizes(before, after):
            continue
        gap_s = after.time_s - before.time_s
        continuity = _measure_continuity(before, after, scene)
        soon = continuity * (1 - _LATE_DISCOUNT * gap_s / CONTINUE_S)
        likeness = _compare(looks[a], looks[b])
        if likeness is None:
            if continuity >= MIN_CONTINUITY_ALONE and gap_s <= CONTINUE_S / 2:
                scores[a, b] = soon
        elif continuity >= MIN_CONTINUITY and likeness >= MIN_LIKENESS_OF_CONTINUATION:
            scores[a, b] = (soon + likeness) / 2
    return scores


def _find_returns(chains: Sequence[Chain], scene: Scene, rejoin_s: float) -> Pairs:
    looks = [chain.measure_look() for chain in chains]
    likenesses = {
        (a, b): likeness
        for a, b in _list_neighbours(chains, scene, rejoin_s)
        if (likeness := _compare(looks[a], looks[b])) is not None
    }
    ends: dict[int, list[int]] = {}
    beginnings: dict[int, list[int]] = {}
    for a, b in likenesses:
        ends.setdefault(b, []).append(a)
        beginnings.setdefault(a, []).append(b)
    scores = {}
    for (a, b), likeness in likenesses.items():
        if likeness < MIN_LIKENESS_OF_RETURN:
            continue
        rivals = [
            likenesses[a, other] for other in beginnings[a] if _were_visible_at_once(chains[b], chains[other])
        ]
        rivals += [
            likenesses[other, b] for other in ends[b] if _were_visible_at_once(chains[a], chains[other])
        ]
        is_clear = all(likeness >= rival + MIN_LEAD for rival in rivals)
        if is_clear and _is_possible_place(chains[a], chains[b], scene):
            scores[a, b] = likeness / 2
    return scores


def _list_neighbours(chains: Sequence[Chain], scene: Scene, limit_s: float) -> list[tuple[int, int]]:
    """Places of all chains (earlier, later) of one shot with a gap of at most `limit_s` between them."""
    starts = [chain.start_s for chain in chains]
    return [
        (a, b)
        for a, chain in enumerate(chains)
        for b in range(bisect_right(starts, chain.end_s), bisect_right(starts, chain.end_s + limit_s))
        if scene.number_shot(chain.end_s) == scene.number_shot(starts[b])
    ]


def _were_visible_at_once(first: Chain, second: Chain) -> bool:
    if first is second or first.end_s < second.start_s or second.end_s < first.start_s:
        return False
    times = {observation.time_s for observation in first.observations}
    return any(observation.time_s in times for observation in second.observations)


def _compare(first: Array | None, second: Array | None) -> float | None:
    """Cosine of two unit vectors, None where one is not known."""
    if first is None or second is None or first.shape != second.shape:
        return None
    return float(first @ second)


def _find_last_tip(chain: Chain, scene: Scene) -> _Tip:
    since = bisect_left(chain.observations, chain.end_s - _VELOCITY_S, key=lambda item: item.time_s)
    return _measure_tip(chain.observations[since:], scene, -1)


def _find_first_tip(chain: Chain, scene: Scene) -> _Tip:
    until = bisect_right(chain.observations, chain.start_s + _VELOCITY_S, key=lambda item: item.time_s)
    return _measure_tip(chain.observations[:until], scene, 0)


def _measure_tip(near: Sequence[Observation], scene: Scene, place: int) -> _Tip:
    """The tip at one end of a stretch of observations, in pixels of its own frame."""
    times, boxes_n4 = unpack_boxes(near)
    maps = compose_camera(times, scene.camera)
    centres = (boxes_n4[:, :2] + boxes_n4[:, 2:]) / 2
    points = _apply(np.linalg.inv(maps[place]) @ maps, centres)
    offset = times - times.mean()
    spread = float(offset @ offset)
    velocity = offset @ points / spread if spread > 0 else np.zeros(2)
    areas = np.prod(boxes_n4[:, 2:] - boxes_n4[:, :2], axis=1)
    return _Tip(
        time_s=float(times[place]),
        centre=centres[place],
        velocity=velocity,
        length=max(1.0, float(np.sqrt(np.median(areas)))),
        sides=find_cut_sides(boxes_n4[[place]], scene.width, scene.height)[0],
    )


def _measure_continuity(before: _Tip, after: _Tip, scene: Scene) -> float:
    """How well one tip goes on in the other, 0..1."""
    gap_s = after.time_s - before.time_s
    centre, velocity = _see_from(before, after, scene)
    forward = before.centre + before.velocity * gap_s - centre
    backward = centre - velocity * gap_s - before.centre
    error = max(float(np.linalg.norm(forward)), float(np.linalg.norm(backward)))
    length = np.sqrt(before.length * after.length)
    spread = (_SPREAD_LENGTHS + _SPREAD_LENGTHS_PER_S * gap_s) * length
    return float(np.exp(-0.5 * (error / spread) ** 2))


def _see_from(before: _Tip, after: _Tip, scene: Scene) -> tuple[Array, Array]:
    """Centre and velocity of the later tip in pixels of the earlier one's frame."""
    back = compose_camera(np.array([before.time_s, after.time_s]), scene.camera)[1]
    return _apply(back[None], after.centre[None])[0], back[:2, :2] @ after.velocity


def _have_like_sizes(first: _Tip, second: _Tip) -> bool:
    shorter, longer = sorted((first.length, second.length))
    return shorter >= MIN_SIZE_RATIO * longer


def _is_leaving(tip: _Tip) -> bool:
    """Whether it touches a side of the picture and moves out over it."""
    outward = np.array([[-1, 0], [0, -1], [1, 0], [0, 1]]) @ tip.velocity
    return bool((tip.sides & (outward > LEAVING_LENGTHS_PER_S * tip.length)).any())


def _is_possible_place(earlier: Chain, later: Chain, scene: Scene) -> bool:
    """Whether what was lost at the end of one chain can have come back at the beginning of the other."""
    before, after = _find_last_tip(earlier, scene), _find_first_tip(later, scene)
    if before.sides.any() and after.sides.any():
        return bool((before.sides & after.sides).any())
    gap_s = after.time_s - before.time_s
    centre, velocity = _see_from(before, after, scene)
    speed = max(float(np.linalg.norm(before.velocity)), float(np.linalg.norm(velocity)))
    length = max(before.length, after.length)
    return float(np.linalg.norm(centre - before.centre)) <= REACH_LENGTHS * length + speed * gap_s


def _link(chains: Sequence[Chain], pairs: Pairs) -> list[Chain]:
    """Join the chains of the best one-to-one choice among `pairs`."""
    follower = _assign(len(chains), pairs)
    has_predecessor = set(follower.values())
    linked = []
    for place, chain in enumerate(chains):
        if place in has_predecessor:
            continue
        following = follower.get(place)
        while following is not None:
            chain.extend(chains[following])
            following = follower.get(following)
        linked.append(chain)
    return linked


def _assign(num: int, pairs: Pairs) -> dict[int, int]:
    """One-to-one pairs of the largest sum of scores; any end may stay without a beginning.

    A sparse Hungarian method: beside the beginnings every end has a column of its own, which costs what no
    score is worth.
    """
    if not pairs:
        return {}
    rows, columns = (np.array(places) for places in zip(*pairs, strict=True))
    costs = 2.0 - np.array(list(pairs.values()))
    ends = np.arange(num)
    graph = csr_array(
        (
            np.concatenate([costs, np.full(num, 2.0)]),
            (np.concatenate([rows, ends]), np.concatenate([columns, num + ends])),
        ),
        shape=(num, 2 * num),
    )
    chosen_rows, chosen_columns = min_weight_full_bipartite_matching(graph)
    return {
        int(row): int(column) for row, column in zip(chosen_rows, chosen_columns, strict=True) if column < num
    }


def _apply(maps: Array, points: Array) -> Array:
    """Points (n, 2) through maps (n, 3, 3)."""
    moved: Array = np.einsum("nij,nj->ni", maps[:, :2, :2], points) + maps[:, :2, 2]
    return moved
