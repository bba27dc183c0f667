"""Joining: one tubelet an object, whatever the chunks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tubelet.model.masks import encode_mask
from tubelet.records import Box, Chunk, Observation, Tracklet
from tubelet.workers.join import join_tracklets

FPS = 5
SIZE = 40


def _observe(time_s: float, x: float, y: float) -> Observation:
    mask = np.zeros((100, 400), np.uint8)
    mask[int(y) : int(y) + SIZE, int(x) : int(x) + SIZE] = 1
    return Observation(time_s, Box(x, y, x + SIZE, y + SIZE), 0.9, encode_mask(mask))


def _cut(duration_s: float, chunk_s: float, margin_s: float) -> list[Chunk]:
    edges = [*np.arange(0, duration_s, chunk_s).tolist(), duration_s]
    return [
        Chunk(f"c{i}", "v", i, a, b, max(0.0, a - margin_s), min(duration_s, b + margin_s))
        for i, (a, b) in enumerate(pairwise(edges))
    ]


def _see(chunk: Chunk, objects: dict[str, list[Observation]]) -> list[Tracklet]:
    tracklets = []
    for seen in objects.values():
        within = tuple(o for o in seen if chunk.read_start_s <= o.time_s < chunk.read_end_s)
        if any(chunk.start_s <= o.time_s < chunk.end_s for o in within):
            tracklets.append(Tracklet(f"{chunk.chunk_id}-{len(tracklets)}", chunk.index, within))
    return tracklets


def _objects(starts: list[tuple[float, float, int]]) -> dict[str, list[Observation]]:
    """Objects in lanes of their own, each seen from its start for some frames, drifting right."""
    return {
        f"{lane}": [
            _observe((round(start_s * FPS) + i) / FPS, speed * i % 300, lane * 20) for i in range(count)
        ]
        for lane, (start_s, speed, count) in enumerate(starts)
    }


objects = st.lists(st.tuples(st.floats(0, 15), st.floats(0, 6), st.integers(2, 50)), min_size=1, max_size=3)


@given(objects, st.sampled_from([20.0, 9.0, 5.0, 2.5]))
@settings(max_examples=40, deadline=None)
def test_tubelets_do_not_depend_on_the_chunks(starts: list[tuple[float, float, int]], chunk_s: float) -> None:
    truth = _objects(starts)
    duration_s = 30.0
    tubelets = join_tracklets("v", [(c, _see(c, truth)) for c in _cut(duration_s, chunk_s, 1.0)])
    whole = join_tracklets("v", [(c, _see(c, truth)) for c in _cut(duration_s, duration_s, 0.0)])
    assert [t.object_id for t in tubelets] == [t.object_id for t in whole]
    assert [t.observations for t in tubelets] == [t.observations for t in whole]
    assert sorted(len(t.observations) for t in tubelets) == sorted(len(seen) for seen in truth.values())


def test_two_objects_that_swap_order_keep_their_own_tracklets() -> None:
    first, second = _cut(20.0, 10.0, 1.0)
    left = [_observe(9 + i / FPS, 10, 0) for i in range(10)]
    right = [_observe(9 + i / FPS, 200, 0) for i in range(10)]
    before = [Tracklet("a", 0, tuple(left)), Tracklet("b", 0, tuple(right))]
    after = [Tracklet("c", 1, tuple(right)), Tracklet("d", 1, tuple(left))]
    tubelets = join_tracklets("v", [(first, before), (second, after)])
    assert sorted(t.tracklet_ids for t in tubelets) == [("a", "d"), ("b", "c")]


def test_one_tracklet_never_joins_two() -> None:
    first, second = _cut(20.0, 10.0, 1.0)
    seen = tuple(_observe(9 + i / FPS, 10, 0) for i in range(10))
    tubelets = join_tracklets(
        "v", [(first, [Tracklet("a", 0, seen)]), (second, [Tracklet("b", 1, seen), Tracklet("c", 1, seen)])]
    )
    assert len(tubelets) == 2
    assert len({t.object_id for t in tubelets}) == 2


def test_objects_apart_are_not_joined() -> None:
    first, second = _cut(20.0, 10.0, 1.0)
    one = tuple(_observe(9 + i / FPS, 10, 0) for i in range(10))
    other = tuple(_observe(9 + i / FPS, 300, 0) for i in range(10))
    tubelets = join_tracklets("v", [(first, [Tracklet("a", 0, one)]), (second, [Tracklet("b", 1, other)])])
    assert len(tubelets) == 2


def test_no_chunks_give_no_tubelets() -> None:
    assert join_tracklets("v", []) == []
