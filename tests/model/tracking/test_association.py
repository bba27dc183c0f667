"""Predicting boxes, pairing them, and the camera's movement."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.tracking.film_factory import Film
from tubelet.model.tracking.association import BoxFilter, assign, compare_boxes
from tubelet.model.tracking.camera import chain, estimate_step, identity, invert, to_grey
from tubelet.records import Box


@given(
    speed=st.tuples(st.floats(-200, 200), st.floats(-200, 200)),
    step_s=st.floats(1 / 30, 0.5),
    size=st.floats(8, 200),
)
def test_filter_learns_a_constant_speed(speed: tuple[float, float], step_s: float, size: float) -> None:
    start = np.array([100.0, 100.0, 100.0 + size, 100.0 + size / 2])
    shift = np.array([*speed, *speed])
    tracked = BoxFilter(start)
    for index in range(1, 13):
        tracked.predict(step_s, identity())
        tracked.update(start + shift * step_s * index)
    tracked.predict(step_s, identity())
    assert np.abs(tracked.box - (start + shift * step_s * 13)).max() < 1 + 0.1 * np.abs(shift).max() * step_s


def test_filter_widens_while_unseen_and_follows_the_camera() -> None:
    tracked = BoxFilter(np.array([10.0, 10.0, 30.0, 30.0]))
    before = tracked.position_spread_px
    tracked.predict(0.2, np.array([[1.0, 0, 7], [0, 1, -3]]))
    assert tracked.position_spread_px > before
    assert tracked.box == pytest.approx([17, 7, 37, 27])


@settings(max_examples=60)
@given(
    st.integers(1, 5).flatmap(
        lambda rows: st.lists(
            st.lists(st.one_of(st.floats(0, 10), st.just(np.inf)), min_size=rows, max_size=rows),
            min_size=1,
            max_size=5,
        )
    )
)
def test_assignment_is_the_best_there_is(costs: list[list[float]]) -> None:
    cost = np.array(costs)
    pairs = assign(cost)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    assert all(np.isfinite(cost[r, c]) for r, c in pairs)
    table = cost if cost.shape[0] <= cost.shape[1] else cost.T
    options = []
    for columns in permutations(range(table.shape[1]), table.shape[0]):
        values = [table[r, c] for r, c in enumerate(columns) if np.isfinite(table[r, c])]
        options.append((-len(values), sum(values)))
    best = min(options)
    assert -len(pairs) == best[0]
    assert sum(cost[r, c] for r, c in pairs) == pytest.approx(best[1])


def test_nothing_to_assign() -> None:
    assert assign(np.zeros((0, 3))) == []
    assert assign(np.full((2, 2), np.inf)) == []


boxes = st.tuples(*[st.floats(0, 100)] * 2, *[st.floats(1, 50)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(first=boxes, second=boxes)
def test_box_overlap_agrees_with_the_records(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> None:
    found = compare_boxes(np.array([first]), np.array([second]))[0, 0]
    assert found == pytest.approx(Box(*first).iou(Box(*second)), abs=1e-9)


@pytest.mark.parametrize("shift", [(0, 0), (5, -3), (-12, 9)])
def test_camera_step_is_found(shift: tuple[int, int]) -> None:
    film = Film([], 0.2, fps=10.0, shift=lambda time_s: shift if time_s > 0 else (0, 0))
    before, after = (to_grey(frame.image) for frame in film.frames)
    step = estimate_step(before, after)
    assert step == pytest.approx(np.array([[1, 0, -shift[0]], [0, 1, -shift[1]]]), abs=0.3)
    assert chain(step, invert(step)) == pytest.approx(identity(), abs=1e-9)


def test_camera_step_of_plain_or_tiny_pictures_is_none() -> None:
    for shape in ((90, 160), (8, 200), (1, 1)):
        plain = np.full(shape, 90, np.uint8)
        assert (estimate_step(plain, plain) == identity()).all()
