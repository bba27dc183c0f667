"""Errors of a tracker, put on true paths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tubelet.model.training.describe.path_noise import CAMERA, DRIFT, spoil_boxes, spoil_camera
from tubelet.records import CameraStep

FRAME = (320, 180)
STEADY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def make_boxes(num: int = 40) -> np.ndarray:
    """An object of 60 x 40 pixels in the middle of the frame."""
    return np.tile(np.array([130.0, 70.0, 190.0, 110.0], np.float32), (num, 1))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    st.lists(st.tuples(*[st.floats(0, 318)] * 2, *[st.floats(1, 100)] * 2), min_size=1, max_size=12),
    st.integers(0, 1000),
)
def test_spoilt_boxes_lie_in_the_frame(boxes: list[tuple[float, ...]], seed: int) -> None:
    corners = np.array([(x, min(y, 178), x + w, y + h) for x, y, w, h in boxes], np.float32)
    corners = np.minimum(corners, [320, 180, 320, 180]).astype(np.float32)
    before = corners.copy()
    spoilt = spoil_boxes(corners, FRAME, np.random.default_rng(seed))
    assert (corners == before).all()
    assert spoilt.shape == corners.shape
    assert (spoilt[:, :2] >= 0).all()
    assert (spoilt[:, :2] <= FRAME).all()
    assert (spoilt[:, 2:] >= spoilt[:, :2] + 1).all()


def test_sides_are_off_for_some_frames_in_a_row() -> None:
    """By about what was measured on tracks, and the same again from the same seed."""
    boxes = make_boxes()
    sides = np.array([60.0, 40.0, 60.0, 40.0])
    errors = [(spoil_boxes(boxes, FRAME, np.random.default_rng(seed)) - boxes) / sides for seed in range(200)]
    wobble = [error - np.median(error, axis=0) for error in errors]
    spreads = [part.std(axis=0).mean() for part in wobble]
    assert DRIFT * 0.7 < np.median(spreads) < DRIFT * 2
    assert np.quantile(spreads, 0.9) > 2 * np.median(spreads)
    alike = [(part[1:] * part[:-1]).mean() / (part**2).mean() for part in wobble]
    assert 0.3 < np.median(alike) < 0.8
    again = (spoil_boxes(boxes, FRAME, np.random.default_rng(0)) - boxes) / sides
    assert (again == errors[0]).all()


def test_a_camera_is_misjudged_by_a_little_and_one_that_stands_is_not() -> None:
    steps = tuple(CameraStep(place / 6, STEADY) for place in range(24))
    middle = np.array([160.0, 90.0, 1.0])
    off = []
    for seed in range(100):
        spoilt = spoil_camera(steps, FRAME, np.random.default_rng(seed))
        assert [step.time_s for step in spoilt] == [step.time_s for step in steps]
        moved = [np.array(step.matrix).reshape(2, 3) @ middle - middle[:2] for step in spoilt]
        off.append(np.abs(moved).mean() / 320)
    assert np.median(off) == pytest.approx(0.8 * CAMERA, rel=0.3)  # the mean of a normal error's size
    assert spoil_camera((), FRAME, np.random.default_rng(0)) == ()
