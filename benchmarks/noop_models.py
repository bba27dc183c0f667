"""Models that do nothing, so that what remains is the pipeline itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tubelet.model.describing.base import DescribeRequest, Description
from tubelet.model.frame import Frame
from tubelet.model.masks import encode_mask
from tubelet.model.tracking.base import TrackedFrame, TrackedObject
from tubelet.records import Box, CameraStep, Observation
from tubelet.settings import Settings

WORK_S = 0.4
STILL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class NoopTracker:
    """Says that `num_objects` boxes are there in every frame, without looking."""

    num_context_frames = 0

    def __init__(self, num_objects: int) -> None:
        self.name = f"noop{num_objects}@1"
        self._num_objects = num_objects
        self._cached: tuple[TrackedObject, ...] = ()

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        masks = None
        for frame in frames:
            masks = masks or self._draw(frame)
            objects = tuple(
                TrackedObject(number, Observation(frame.time_s, box, 0.9, mask))
                for number, (box, mask) in enumerate(masks)
            )
            yield TrackedFrame(frame, objects, CameraStep(frame.time_s, STILL))

    def _draw(self, frame: Frame) -> list[tuple[Box, object]]:
        height, width = frame.image.shape[:2]
        drawn = []
        for number in range(self._num_objects):
            left, side = 10 + number * width // (self._num_objects + 1), width // 8
            mask = np.zeros((height, width), np.uint8)
            mask[20 : 20 + side, left : left + side] = 1
            box = Box(
                left * frame.scale_x,
                20 * frame.scale_y,
                (left + side) * frame.scale_x,
                (20 + side) * frame.scale_y,
            )
            drawn.append((box, encode_mask(mask)))
        return drawn


class WorkingTracker(NoopTracker):
    """Sees nothing, and keeps one core busy for a while at every frame."""

    def __init__(self) -> None:
        super().__init__(0)
        self.name = "working@1"

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        for tracked in super().track(frames, context):
            end_s = time.thread_time() + WORK_S
            while time.thread_time() < end_s:
                sum(range(1000))
            yield tracked


class NoopCaptioner:
    """Says the same of everything."""

    name = "noop@1"
    object_dimensions = 8
    answers_questions = False

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        return [Description("an object", 1.0, (1.0,) + (0.0,) * 7) for _ in requests]


class NoopEmbedder:
    """The same vector for every text."""

    name = "noop@1"
    num_dimensions = 384

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.num_dimensions), np.float32)
        vectors[:, 0] = 1.0
        return vectors


def make_empty_tracker(settings: Settings) -> NoopTracker:
    return NoopTracker(0)


def make_busy_tracker(settings: Settings) -> NoopTracker:
    return NoopTracker(4)


def make_working_tracker(settings: Settings) -> WorkingTracker:
    return WorkingTracker()


def make_captioner(settings: Settings) -> NoopCaptioner:
    return NoopCaptioner()


def make_embedder(settings: Settings) -> NoopEmbedder:
    return NoopEmbedder()
