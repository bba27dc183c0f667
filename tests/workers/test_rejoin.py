"""Rejoining: what was away for a while is one object when it is clearly the same, and else it is two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from tests.workers.join_factory import FPS, VIDEO, cut, go, make_result, see
from tubelet.records import CameraStep, Observation, Tubelet
from tubelet.workers.join import join_tracklets
from tubelet.workers.rejoin import _assign

RED, ALMOST_RED, BLUE = (1.0, 0.0, 0.0), (0.95, 0.3, 0.0), (0.0, 1.0, 0.0)
(WHOLE,) = cut(30.0, 30.0, 0.0)


def join(
    seen: Sequence[Sequence[Observation]],
    looks: Sequence[Sequence[float]] = (),
    *,
    rejoin_s: float = 10.0,
    cuts: Sequence[float] = (),
    camera: Sequence[CameraStep] = (),
) -> set[tuple[int, ...]]:
    """Which of the tracklets of one chunk were joined, by their places."""
    result = make_result(WHOLE, seen, looks=looks, cuts=cuts, camera=camera)
    tubelets = join_tracklets(VIDEO, [result], rejoin_s=rejoin_s)
    return {_places(tubelet) for tubelet in tubelets}


def _places(tubelet: Tubelet) -> tuple[int, ...]:
    return tuple(int(name.split("-")[1]) for name in tubelet.tracklet_ids)


# A person who walks out over the right side, and one who comes in over it again.
OUT, BACK = go(0, 4, (200, 30), (50, 0)), go(9, 13, (395, 30), (-50, 0))


def test_what_leaves_and_returns_alike_is_one_object() -> None:
    assert join([OUT, BACK], [RED, RED]) == {(0, 1)}
    assert join([OUT, BACK], [RED, ALMOST_RED]) == {(0, 1)}


def test_what_looks_otherwise_or_in_no_known_way_is_two() -> None:
    assert join([OUT, BACK], [RED, BLUE]) == {(0,), (1,)}
    assert join([OUT, BACK], [RED, ()]) == {(0,), (1,)}
    assert join([OUT, BACK]) == {(0,), (1,)}
    assert join([OUT, BACK], [RED, (1.0, 0.0)]) == {(0,), (1,)}


def test_what_is_away_for_too_long_is_two() -> None:
    gap_s = BACK[0].time_s - OUT[-1].time_s
    assert join([OUT, BACK], [RED, RED], rejoin_s=gap_s + 0.01) == {(0, 1)}
    assert join([OUT, BACK], [RED, RED], rejoin_s=gap_s - 0.01) == {(0,), (1,)}
    assert join([OUT, BACK], [RED, RED], rejoin_s=0.0) == {(0,), (1,)}


def test_nothing_is_joined_across_a_cut() -> None:
    assert join([OUT, BACK], [RED, RED], cuts=[6.0]) == {(0,), (1,)}
    assert join([OUT, BACK], [RED, RED], cuts=[9.0]) == {(0,), (1,)}
    assert join([OUT, BACK], [RED, RED], cuts=[9.4, 20.0]) == {(0, 1)}
    still = go(0, 5, (100, 30)), go(5, 9, (100, 30))
    assert join(still, [RED, RED]) == {(0, 1)}
    assert join(still, [RED, RED], cuts=[5.0]) == {(0,), (1,)}


def test_what_was_visible_at_once_is_two() -> None:
    twin = go(3.8, 8, (150, 30))  # begins in the last frame of the other
    assert join([OUT, twin], [RED, RED]) == {(0,), (1,)}


def test_what_comes_in_over_another_side_is_another_object() -> None:
    assert join([OUT, go(9, 13, (-35, 30), (50, 0))], [RED, RED]) == {(0,), (1,)}


def test_what_is_lost_inside_comes_back_within_its_reach() -> None:
    lost = go(0, 4, (20, 30), (20, 0))
    assert join([lost, go(8, 12, (180, 30), (20, 0))], [RED, RED]) == {(0, 1)}
    assert join([lost, go(8, 12, (340, 30), (20, 0))], [RED, RED]) == {(0,), (1,)}


def test_two_alike_that_return_together_are_not_told_apart() -> None:
    """Neither of them is clearly the one that left; with one of them in blue there is no doubt."""
    beside = go(9.4, 13, (350, 55), (-50, 0))
    assert join([OUT, BACK, beside], [RED, RED, RED]) == {(0,), (1,), (2,)}
    assert join([OUT, BACK, beside], [RED, RED, ALMOST_RED]) == {(0,), (1,), (2,)}
    assert join([OUT, BACK, beside], [RED, BLUE, RED]) == {(0, 2), (1,)}


def test_two_that_return_go_to_their_own() -> None:
    other_out, other_back = go(0, 5, (160, 60), (50, 0)), go(8, 13, (395, 60), (-50, 0))
    assert join([OUT, other_out, other_back, BACK], [RED, BLUE, BLUE, RED]) == {(0, 3), (1, 2)}


def test_what_returns_again_and_again_is_one_object() -> None:
    """Visits that were never visible at once do not rival each other."""
    visits = [OUT, go(6, 8, (370, 30)), go(10, 12, (370, 30)), go(16, 20, (395, 30), (-50, 0))]
    assert join(visits, [RED] * 4) == {(0, 1, 2, 3)}


def test_the_path_goes_on_after_a_gap() -> None:
    """Fragments of a steady path, as a tracker leaves that loses an object behind a post."""
    before = go(0, 3, (20, 30), (40, 0))
    for gap_s, looks, expected in (
        (0.6, [(), ()], {(0, 1)}),
        (0.6, [RED, RED], {(0, 1)}),
        (1.8, [RED, RED], {(0, 1)}),
        (1.8, [(), ()], {(0,), (1,)}),  # too long without looks
        (0.6, [RED, BLUE], {(0,), (1,)}),
    ):
        after = go(3 + gap_s, 6, (20 + 40 * (3 + gap_s), 30), (40, 0))
        assert join([before, after], looks) == expected, (gap_s, looks)
    returning = go(3.6, 6, (20 + 40 * 3, 30), (-40, 0))
    assert join([before, returning]) == {(0,), (1,)}
    smaller = [item for item in go(3.6, 6, (170, 40), (40, 0))]
    shrunk = [
        Observation(item.time_s, item.box._replace(x1=item.box.x0 + 12, y1=item.box.y0 + 12), 0.9)
        for item in smaller
    ]
    assert join([before, shrunk]) == {(0,), (1,)}


def test_what_leaves_the_picture_does_not_go_on_in_what_comes_next() -> None:
    leaving = go(0, 3, (290, 30), (40, 0))
    follower = go(3.2, 6, (330, 30), (20, 0))
    assert join([leaving, follower]) == {(0,), (1,)}


def test_paths_that_go_on_are_assigned_together() -> None:
    """Each alone would take the nearer one; one-to-one both get their own."""
    upper, lower = go(0, 3, (20, 10), (40, 0)), go(0, 3, (20, 40), (40, 0))
    upper_on, lower_on = go(3.4, 6, (156, 10), (40, 0)), go(3.4, 6, (156, 34), (40, 0))
    assert join([upper, lower, lower_on, upper_on]) == {(0, 3), (1, 2)}


def test_camera_motion_is_taken_off_the_path() -> None:
    """A parked car while the camera pans by 60 pixels a second; without the steps it seems to jump."""
    panned = [
        go(0, 3, (300, 30), (-60, 0)),
        go(3.8, 4.8, (300 - 60 * 3.8, 30), (-60, 0)),
    ]
    fast_stop = [panned[0], go(3.8, 4.8, (120, 30))]  # the pan ends where the car was lost
    steps = [
        CameraStep(place / FPS, (1, 0, -12.0 if place <= 15 else 0.0, 0, 1, 0)) for place in range(5 * FPS)
    ]
    assert join(fast_stop, camera=steps) == {(0, 1)}
    assert join(fast_stop) == {(0,), (1,)}
    assert join(panned) == {(0, 1)}


def test_a_gap_at_a_seam_is_joined_like_one_inside_a_chunk() -> None:
    before, after = go(0, 9.6, (20, 30), (20, 0)), go(10.4, 14, (228, 30), (20, 0))
    whole = join_tracklets(VIDEO, [make_result(WHOLE, [before, after])], rejoin_s=10.0)
    for margin_s in (0.0, 2.0):
        parts = [see(chunk, [before, after]) for chunk in cut(30.0, 10.0, margin_s)]
        tubelets = join_tracklets(VIDEO, parts, rejoin_s=10.0)
        assert [(t.object_id, t.observations) for t in tubelets] == [
            (t.object_id, t.observations) for t in whole
        ]
        assert len(tubelets) == 1


scores = st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] < pair[1]),
    st.floats(0.05, 1.0),
)


@given(scores)
@settings(max_examples=60, deadline=None)
def test_pairs_are_the_best_one_to_one_choice(pairs: dict[tuple[int, int], float]) -> None:
    """Against the dense method of scipy."""
    chosen = _assign(6, pairs)
    assert len(set(chosen.values())) == len(chosen)
    dense = np.zeros((6, 6))
    for pair, score in pairs.items():
        dense[pair] = score
    best = dense[linear_sum_assignment(dense, maximize=True)].sum()
    assert sum(pairs[pair] for pair in chosen.items()) == pytest.approx(best)
