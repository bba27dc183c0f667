"""The tracker seam: frames in, objects frame by frame out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tubelet.model.frame import Frame
from tubelet.records import CameraStep, Observation


@dataclass(frozen=True, slots=True)
class TrackedObject:
    """One object in one frame, under a number that is its own within one call of `Tracker.track`."""

    number: int
    observation: Observation


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """All objects that were seen in `frame`, and how the camera moved to get there.

    `begins_shot` says that a cut lies before this frame. `warnings` are sentences for whoever indexes the
    video, without times or counts, so that a long video repeats none.
    """

    frame: Frame
    objects: tuple[TrackedObject, ...]
    camera: CameraStep
    begins_shot: bool = False
    warnings: tuple[str, ...] = ()


class Tracker(Protocol):
    """Finds objects and follows them through one run of frames without a cut.

    `shots.track_shots` runs a tracker over frames with cuts, one shot after the other. An instance holds
    weights and settings, never the state of a video: each call of `track` starts anew. It takes frames as a
    stream and gives each one back, in order and once, with the objects on it. It may hold back a bounded
    number of frames to look ahead; it must not hold a whole chunk.
    """

    @property
    def name(self) -> str:
        """`name@version`, written into every row."""

    @property
    def num_context_frames(self) -> int:
        """How many pictures of the wider surroundings in time `track` wants; 0 for none."""

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        """Yield every frame with its objects. `context` holds frames spread over minutes around the run."""


def make_cap_warning(max_num_objects: int) -> str:
    """What a tracker says when it had to leave objects out."""
    return (
        f"At times there were more objects than the {max_num_objects} that are followed at once; the largest "
        "and most certain were kept"
    )
