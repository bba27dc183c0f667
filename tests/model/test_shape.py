"""A path in numbers: what moves or enlarges the picture leaves them as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tubelet.model.trajectory import measure_motion
from tubelet.model.trajectory.shape import NUM_NUMBERS, NUM_SAMPLES, tell_shape
from tubelet.records import Box, CameraStep, Observation

WIDTH, HEIGHT = 320, 180


def tell(boxes: np.ndarray, camera: tuple[CameraStep, ...] = (), *, scale: float = 1.0) -> np.ndarray:
    observations = [
        Observation(place / 6, Box(*(box * scale).tolist()), 1.0) for place, box in enumerate(boxes)
    ]
    size = {"frame_width": round(WIDTH * scale), "frame_height": round(HEIGHT * scale)}
    return tell_shape(observations, camera, measure_motion(observations, camera, **size), **size)


def walk(seed: int, count: int = 14) -> np.ndarray:
    """Boxes of 20 to 40 pixels along a smooth way inside the frame."""
    generator = np.random.default_rng(seed)
    start, end, bend = (generator.uniform((70, 50), (250, 130)) for _ in range(3))
    t = np.linspace(0, 1, count)[:, None]
    centres = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
    sides = generator.uniform(20, 40, 2)
    return np.hstack([centres - sides / 2, centres + sides / 2])


@given(st.integers(0, 10_000), st.sampled_from([0.5, 2.0, 3.0]))
def test_the_pictures_size_does_not_matter(seed: int, scale: float) -> None:
    assert tell(walk(seed), scale=scale) == pytest.approx(tell(walk(seed)), abs=2e-2)


@given(st.integers(0, 10_000))
def test_a_moving_camera_is_removed(seed: int) -> None:
    """The picture slides by 2 and 1 pixels a sample, and every box with it."""
    boxes = walk(seed)
    slid = boxes + np.arange(len(boxes))[:, None] * np.array([2.0, 1.0, 2.0, 1.0])
    camera = tuple(CameraStep(k / 6, (1.0, 0.0, 2.0, 0.0, 1.0, 1.0)) for k in range(1, len(boxes)))
    place = slice(0, 8 * NUM_SAMPLES - 2)
    assert tell(slid, camera)[place] == pytest.approx(tell(boxes)[place], abs=2e-3)


def test_the_numbers_are_as_many_as_promised_and_finite_for_any_path() -> None:
    single = np.array([[10.0, 10.0, 30.0, 40.0]])
    for boxes in (single, walk(0, 2), walk(1, 200), np.array([[0.0, 0.0, WIDTH, HEIGHT]] * 3)):
        shape = tell(boxes)
        assert shape.shape == (NUM_NUMBERS,)
        assert shape.dtype == np.float32
        assert np.isfinite(shape).all()


def test_the_first_numbers_say_where_it_is() -> None:
    shape = tell(np.array([[0.0, 80.0, 40.0, 90.0], [280.0, 80.0, 320.0, 90.0]]))
    assert shape[0] == pytest.approx(20 / WIDTH - 0.5)
    assert shape[NUM_SAMPLES - 1] == pytest.approx(300 / WIDTH - 0.5)
    assert shape[NUM_SAMPLES] == pytest.approx(0.0)
