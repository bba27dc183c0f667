"""The detector seam: for people who bring a network that finds things by class or by text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tubelet.model.frame import Frame
from tubelet.records import Box


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing in one frame. The box is in pixels of `Frame.image`; `score` is 0..1."""

    box: Box
    score: float


class Detector(Protocol):
    """Finds the things that should be followed. What they are called is the detector's own business."""

    def detect(self, frame: Frame) -> Sequence[Detection]:
        """Things in a key frame, in any order. Called once for each key frame."""
