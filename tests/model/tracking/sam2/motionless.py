"""A motion tracker that sees nothing move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tubelet.model.frame import Frame
from tubelet.model.tracking.base import TrackedFrame
from tubelet.records import CameraStep


class Motionless:
    """It says of every frame that nothing moves, before a camera that stands still."""

    name = "motionless"
    num_context_frames = 0

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        for frame in frames:
            yield TrackedFrame(frame, (), CameraStep(frame.time_s, (1, 0, 0, 0, 1, 0)))
