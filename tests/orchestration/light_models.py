"""Models that cost next to nothing, for runs in which rows matter and how good they are does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tubelet.errors import ModelError
from tubelet.model.frame import Frame
from tubelet.model.tracking.base import TrackedFrame, make_cap_warning
from tubelet.model.tracking.motion import MotionTracker
from tubelet.settings import Settings


class HashEmbedder:
    """The words of a text, hashed into the cells of a unit vector."""

    name = "hash@1"
    num_dimensions = 32

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.num_dimensions), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[0] = 1.0
            for word in text.lower().split():
                vector[blake2b(word.encode(), digest_size=1).digest()[0] % self.num_dimensions] += 1.0
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_embedder(settings: Settings) -> HashEmbedder:
    return HashEmbedder()


LIGHT_EMBEDDER = f"{__name__}:make_embedder"


def make_tracker(settings: Settings) -> MotionTracker:
    """`motion` on small pictures before a background of few."""
    return MotionTracker(max_side_px=256, num_context_frames=12)


LIGHT_TRACKER = f"{__name__}:make_tracker"

LIGHT = {
    "tracker": LIGHT_TRACKER,
    "captioner": "attributes",
    "embedder": LIGHT_EMBEDDER,
    "recogniser": "none",
    "sample_fps": 3.0,
}
"""Settings of a run with light models."""


class CappedTracker(MotionTracker):
    """`motion` that says of every frame that it left something out."""

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        for tracked in super().track(frames, context):
            yield replace(tracked, warnings=(make_cap_warning(7),))


def make_capped_tracker(settings: Settings) -> CappedTracker:
    return CappedTracker()


CAPPED_TRACKER = f"{__name__}:make_capped_tracker"


class LateEmbedder(HashEmbedder):
    """An embedder that leaves a file in the home when it is told to load."""

    def __init__(self, settings: Settings) -> None:
        self._mark = settings.home / "loaded"

    def load(self) -> None:
        self._mark.touch()


def make_late_embedder(settings: Settings) -> LateEmbedder:
    return LateEmbedder(settings)


LATE_EMBEDDER = f"{__name__}:make_late_embedder"


def refuse_tracker(settings: Settings) -> MotionTracker:
    raise ModelError("These weights are damaged", expected="others", do="pull them again")


BROKEN_TRACKER = f"{__name__}:refuse_tracker"
