"""The motion tracker on the two real clips of fixed cameras, against docs/truth.md."""

from __future__ import annotations

from pathlib import Path

import decord
import numpy as np
import pytest

from tests.model.tracking.film_factory import collect
from tubelet.model.frame import Frame
from tubelet.model.tracking.motion import MotionTracker

CARS = {"white up": (4.4, 8.6), "teal down": (14.5, 18.2), "red up": (15.0, 19.0), "white down": (25.2, 27.8)}
VISITS = [(6.0, 19.9), (22.7, 44.9), (50.2, 70.0), (74.4, 86.9), (92.1, 120.0), (123.4, 136.0)]


def read(path: Path, times_s: list[float], width: int = 512) -> list[Frame]:
    probe = decord.VideoReader(str(path), num_threads=1)
    height, full_width = probe[0].shape[:2]
    size = {"width": width, "height": round(height * width / full_width)}
    video = decord.VideoReader(str(path), num_threads=1, **size)
    rate = video.get_avg_fps()
    indices = sorted({min(len(video) - 1, round(time_s * rate)) for time_s in times_s})
    return [Frame(index / rate, video[index].asnumpy(), full_width, height) for index in indices]


def every(step_s: float, start_s: float, end_s: float) -> list[float]:
    return [float(time_s) for time_s in np.arange(start_s, end_s, step_s)]


def test_each_car_is_one_object_from_entry_to_exit(real_videos: Path) -> None:
    path = real_videos / "car-detection.mp4"
    frames = read(path, every(1 / 6, 0, 30))
    objects = collect(MotionTracker().track(frames, frames[::4]))
    spans = sorted((seen[0].time_s, seen[-1].time_s) for seen in objects.values())
    assert len(spans) == len(CARS)
    for span, truth in zip(spans, CARS.values(), strict=True):
        assert span == pytest.approx(truth, abs=0.5)
    assert all(len(seen) >= 0.9 * 6 * (seen[-1].time_s - seen[0].time_s) for seen in objects.values())


def test_each_visit_to_the_table_is_one_object(real_videos: Path) -> None:
    path = real_videos / "person-detection.mp4"
    context = read(path, every(139.3 / 47, 0, 139.4))
    frames = read(path, every(1 / 4, 56, 124))
    objects = collect(MotionTracker().track(frames, context))
    spans = sorted((seen[0].time_s, seen[-1].time_s) for seen in objects.values())
    assert len(spans) == 3
    assert spans[0][0] == frames[0].time_s, "someone stands there when the run begins"
    assert spans[0][1] == pytest.approx(VISITS[2][1], abs=0.5)
    assert spans[1] == pytest.approx(VISITS[3], abs=0.5)
    assert spans[2] == pytest.approx(VISITS[4], abs=0.5)
