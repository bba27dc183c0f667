"""Frame numbers: every frame of a constant rate, true times of a varying one, gaps and what lies between."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.index.exporting.library import STREET, make_steps
from tests.index.factories import make_video
from tubelet.index.exporting.frames import FrameNumbers, number_boxes
from tubelet.records import Box, PathPoint

RATES = [15.0, 24000 / 1001, 25.0, 30000 / 1001, 30.0, 50.0, 60000 / 1001, 120.0]


@given(st.sampled_from(RATES), st.integers(0, 24 * 3600 * 120))
def test_every_frame_of_a_constant_rate_is_found_from_its_rounded_time(rate: float, number: int) -> None:
    video = make_video(frame_rate=rate, num_frames=number + 1, duration_s=(number + 1) / rate)
    frames = FrameNumbers(video)
    assert frames.how == "constant"
    assert frames.number(round(number / rate, 3)) == number
    assert frames.number(number / rate + 0.001) == number  # Matroska's milliseconds
    assert frames.time(number) == pytest.approx(number / rate)


def test_a_time_outside_the_video_gives_its_first_or_last_frame() -> None:
    frames = FrameNumbers(STREET)
    assert (frames.number(-1.0), frames.number(99.0), frames.length) == (0, 99, 100)


@given(st.lists(st.integers(8, 400), min_size=1, max_size=60), st.data())
def test_a_varying_rate_takes_the_frame_whose_true_time_is_nearest(
    gaps_ms: list[int], data: st.DataObject
) -> None:
    times_s = np.cumsum([0, *gaps_ms]) / 1000 + 0.0004
    times_s -= times_s[0]
    video = make_video(variable_frame_rate=True, num_frames=len(times_s), duration_s=float(times_s[-1]) + 0.1)
    frames = FrameNumbers(video, times_s)
    number = data.draw(st.integers(0, len(times_s) - 1))
    assert frames.how == "source"
    assert frames.number(round(float(times_s[number]), 3)) == number
    assert frames.time(number) == times_s[number]
    assert frames.length == len(times_s)


def test_without_the_source_a_varying_rate_is_numbered_as_a_copy_at_the_nominal_rate() -> None:
    video = make_video(
        variable_frame_rate=True, frame_rate=17.3, nominal_frame_rate=30.0, num_frames=173, duration_s=10.0
    )
    frames = FrameNumbers(video)
    assert (frames.how, frames.rate, frames.length) == ("nominal", 30.0, 300)
    assert [frames.number(t) for t in (0.0, 0.033, 0.1, 9.967)] == [0, 1, 3, 299]


def test_constant_rates_do_not_ask_for_true_times() -> None:
    assert FrameNumbers(STREET, np.array([0.0, 9.0])).how == "constant"


def test_measured_boxes_are_numbered_and_gaps_are_told() -> None:
    path = make_steps(0, 4, 8, 12, 17, 50, 54)
    steps = list(number_boxes(path, FrameNumbers(STREET)))
    assert [step.frame for step in steps] == [0, 4, 8, 12, 17, 50, 54]
    assert [step.frame for step in steps if step.ends] == [17, 54]
    assert steps[1].box == Box(*path[1][1:])
    assert all(step.measured for step in steps)


def test_every_frame_is_filled_in_linearly_but_no_gap() -> None:
    path = (PathPoint(0.0, 0, 0, 10, 10), PathPoint(0.16, 40, 8, 50, 18), PathPoint(0.32, 40, 8, 50, 18))
    path += (PathPoint(2.0, 0, 0, 10, 10),)
    steps = list(number_boxes(path, FrameNumbers(STREET), every_frame=True))
    assert [step.frame for step in steps] == [*range(9), 50]
    assert [step.measured for step in steps] == [frame in (0, 4, 8, 50) for frame in [*range(9), 50]]
    assert steps[1].box == pytest.approx(Box(10, 2, 20, 12))
    assert steps[3].box == pytest.approx(Box(30, 6, 40, 16))


def test_points_of_one_frame_give_one_box() -> None:
    path = (PathPoint(0.0, 0, 0, 1, 1), PathPoint(0.001, 5, 5, 6, 6), PathPoint(0.04, 2, 2, 3, 3))
    steps = list(number_boxes(path, FrameNumbers(STREET)))
    assert [(step.frame, step.box.x0) for step in steps] == [(0, 0), (1, 2)]


@given(st.sets(st.integers(0, 99), min_size=1, max_size=20), st.booleans())
def test_frames_rise_and_the_last_ends(numbers: set[int], every_frame: bool) -> None:
    steps = list(number_boxes(make_steps(*sorted(numbers)), FrameNumbers(STREET), every_frame=every_frame))
    assert all(a.frame < b.frame for a, b in pairwise(steps))
    assert {step.frame for step in steps if step.measured} == numbers
    assert steps[-1].ends
