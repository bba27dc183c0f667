"""The grid of sampled frames, on made-up times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tubelet.workers.sampling import fit_size, glance_positions, sample_positions

GAPS_S = st.lists(st.floats(0.005, 2.0), min_size=0, max_size=80)


def to_times(gaps_s: list[float]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(gaps_s)])


@given(GAPS_S, st.floats(0.2, 40))
def test_each_sample_is_the_frame_that_is_shown(gaps_s: list[float], sample_fps: float) -> None:
    times_s = to_times(gaps_s)
    duration_s = float(times_s[-1]) + 0.04

    positions = sample_positions(times_s, sample_fps, 1000.0, duration_s)

    grid_s = [k / sample_fps for k in range(10_000) if k / sample_fps < duration_s]
    shown = {max(i for i, time_s in enumerate(times_s) if time_s <= at_s + 0.001) for at_s in grid_s}
    assert positions.tolist() == sorted(shown)


@given(GAPS_S, st.floats(30, 100))
def test_every_frame_is_a_sample_at_the_videos_rate(gaps_s: list[float], sample_fps: float) -> None:
    times_s = to_times(gaps_s)

    assert len(sample_positions(times_s, sample_fps, 30.0, float(times_s[-1]) + 1)) == len(times_s)


def test_times_rounded_to_milliseconds_keep_the_grid() -> None:
    times_s = np.round(np.arange(300) / 30, 3)

    assert sample_positions(times_s, 10, 30.0, 10.0).tolist() == list(range(0, 300, 3))


@given(GAPS_S, st.integers(1, 12), st.floats(0, 5), st.floats(0.1, 50))
def test_glances_are_few_and_rising(gaps_s: list[float], num: int, start_s: float, length_s: float) -> None:
    times_s = to_times(gaps_s)
    keys = np.arange(0, len(times_s), 7)

    positions = glance_positions(times_s, keys, start_s, start_s + length_s, num)

    assert 1 <= len(positions) <= num
    assert (np.diff(positions) > 0).all()
    assert positions[0] >= 0
    assert positions[-1] < len(times_s)


def test_a_near_key_frame_stands_in_for_the_wanted_one() -> None:
    times_s = np.arange(100) / 10

    assert glance_positions(times_s, np.array([0, 20, 60]), 0, 10, 2).tolist() == [20, 60]
    assert glance_positions(times_s, np.array([0]), 0, 10, 2).tolist() == [0, 75]


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (1920, 1080, (512, 288)),
        (1080, 1920, (288, 512)),
        (100, 50, (100, 50)),
        (7680, 1, (512, 1)),
        (1, 1, (1, 1)),
    ],
)
def test_pictures_keep_their_shape_and_are_never_enlarged(
    width: int, height: int, size: tuple[int, int]
) -> None:
    assert fit_size(width, height, 512) == size
