"""Cuts are found; large objects, flashes and fast cameras are not mistaken for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from tubelet.model.frame import Frame, Image
from tubelet.model.tracking.base import TrackedFrame, TrackedObject
from tubelet.model.tracking.shots import find_cuts, split_shots, track_shots
from tubelet.records import Box, CameraStep, Observation

RATE = 6.0


def make_scene(seed: int, *, height: int = 90, width: int = 400) -> Image:
    """A wide picture of large patches in colours that belong to this seed."""
    generator = np.random.default_rng(seed)
    patches = generator.integers(0, 255, (4, 16, 3), dtype=np.uint8)
    patches[..., seed % 3] //= 4
    return np.asarray(cv2.resize(patches, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def film(images: list[Image]) -> list[Frame]:
    return [Frame(place / RATE, image, image.shape[1], image.shape[0]) for place, image in enumerate(images)]


def pan(scene: Image, num_frames: int, *, step_px: int, width: int = 160) -> list[Image]:
    return [scene[:, place * step_px : place * step_px + width] for place in range(num_frames)]


def test_cuts_are_found_where_they_are() -> None:
    images = [
        image
        for seed, length in ((0, 7), (1, 1), (2, 12))
        for image in pan(make_scene(seed), length, step_px=2)
    ]
    assert find_cuts(film(images)) == [7 / RATE, 8 / RATE]
    images = [
        image
        for seed, length in ((0, 7), (1, 2), (2, 12))
        for image in pan(make_scene(seed), length, step_px=2)
    ]
    assert find_cuts(film(images)) == [7 / RATE, 9 / RATE]


def test_every_frame_comes_back_once_and_in_order() -> None:
    frames = film(pan(make_scene(0), 5, step_px=1) + pan(make_scene(1), 5, step_px=1))
    shots = [list(shot) for shot in split_shots(frames)]
    assert [len(shot) for shot in shots] == [5, 5]
    assert [frame for shot in shots for frame in shot] == frames


def test_a_fast_camera_is_no_cut() -> None:
    assert find_cuts(film(pan(make_scene(3), 12, step_px=8))) == []


def test_a_flash_is_no_cut() -> None:
    images = pan(make_scene(4), 10, step_px=1)
    images[5] = np.full_like(images[5], 250)
    assert find_cuts(film(images)) == []


def test_a_large_object_that_enters_is_no_cut() -> None:
    images = [image.copy() for image in pan(make_scene(5), 10, step_px=0)]
    for image in images[5:]:
        image[:, :100] = (250, 20, 20)
    assert find_cuts(film(images)) == []


@pytest.mark.parametrize(
    "images", [[], [np.zeros((40, 60, 3), np.uint8)], [np.zeros((40, 60, 3), np.uint8)] * 9]
)
def test_blank_and_short_runs_have_no_cut(images: list[Image]) -> None:
    assert find_cuts(film(images)) == []
    assert sum(len(list(shot)) for shot in split_shots(film(images))) == len(images)


class TwoObjects:
    """Sees two objects, numbered 0 and 1, in every frame of a run."""

    name = "two@1"
    num_context_frames = 0

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        for frame in frames:
            seen = Observation(frame.time_s, Box(0, 0, 10, 10), 1.0)
            step = CameraStep(frame.time_s, (1, 0, 0, 0, 1, 0))
            yield TrackedFrame(frame, (TrackedObject(0, seen), TrackedObject(1, seen)), step)


def test_every_shot_has_objects_of_its_own() -> None:
    images = [
        image
        for seed, length in ((0, 7), (1, 9), (2, 8))
        for image in pan(make_scene(seed), length, step_px=2)
    ]
    frames = film(images)
    result = list(track_shots(TwoObjects(), frames, []))
    assert [tracked.frame for tracked in result] == frames
    assert [tracked.frame.time_s for tracked in result if tracked.begins_shot] == [7 / RATE, 16 / RATE]
    numbers = [tuple(item.number for item in tracked.objects) for tracked in result]
    assert numbers == [(0, 1)] * 7 + [(2, 3)] * 9 + [(4, 5)] * 8


def test_real_clips_have_cuts_at_their_seams_only(real_videos: Path) -> None:
    clips = [read_start(path) for path in sorted(real_videos.glob("*.mp4"))]
    for clip in clips:
        assert find_cuts(film(clip)) == []
    for first, second in pairwise(clips):
        assert find_cuts(film(first + second)) == [len(first) / RATE]


def read_start(path: Path, num_frames: int = 18) -> list[Image]:
    """Six pictures a second, all of one size."""
    opened = cv2.VideoCapture(str(path))
    stride = max(1, round(opened.get(cv2.CAP_PROP_FPS) / RATE))
    images: list[Image] = []
    for place in range(num_frames * stride):
        done, image = opened.read()
        if done and place % stride == 0:
            images.append(
                np.asarray(cv2.cvtColor(cv2.resize(image, (320, 180)), cv2.COLOR_BGR2RGB), np.uint8)
            )
    opened.release()
    return images
