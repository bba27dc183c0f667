"""The tracker `sam2`: discovers objects by itself and follows their masks for as long as the video lasts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from tubelet.errors import SettingsError, VideoFormatError
from tubelet.model.frame import Frame
from tubelet.model.tracking.base import TrackedFrame, Tracker
from tubelet.model.tracking.motion import MotionTracker
from tubelet.model.tracking.sam2.assistants import NO_ASSISTANTS, Assistants, read_assistants
from tubelet.model.tracking.sam2.detector import Detector
from tubelet.model.tracking.sam2.judge import JUDGE_FILE
from tubelet.model.tracking.sam2.network import Sam2Network
from tubelet.model.tracking.sam2.proposing import PROPOSER_FILE
from tubelet.model.tracking.sam2.run import TrackingRun
from tubelet.model.tracking.sam2.settings import TrackerSettings, read_settings
from tubelet.model.tracking.sam2.weights import find_folder, load_network, name_checkpoint


class Sam2Tracker:
    """Follows whatever moves or stands out, through occlusion, and notices what is new.

    Candidates come from `motion`, a tracker that needs no network and sees what moves; from SAM 2 itself,
    asked on a grid of points in key frames; and from a `detector`, if one is given. Frames are held back as
    long as `motion` does, and by the time that what is new is traced back.
    """

    def __init__(
        self,
        network: Sam2Network,
        *,
        name: str = "sam2@unnamed",
        settings: TrackerSettings | None = None,
        motion: Tracker | None = None,
        detector: Detector | None = None,
        assistants: Assistants = NO_ASSISTANTS,
    ) -> None:
        self._network = network
        self._assistants = assistants
        self.settings = settings or TrackerSettings()
        if self.settings.refine_every and assistants.judge is None:
            raise SettingsError(
                "The tracker is to refine masks, and its checkpoint has no judge of masks",
                expected=f"{JUDGE_FILE} beside config.json, or refine_every 0",
                do="take the folder's files from one checkpoint, or correct tracker.json",
            )
        uses_boxes = self.settings.discovery is not None and self.settings.discovery.use_boxes
        if uses_boxes and assistants.proposer is None:
            raise SettingsError(
                "The tracker is to search proposed boxes, and its checkpoint has no proposer",
                expected=f"{PROPOSER_FILE} beside config.json, or discovery with use_boxes false",
                do="take the folder's files from one checkpoint, or correct tracker.json",
            )
        self._motion = motion or MotionTracker()
        self._detector = detector
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def num_context_frames(self) -> int:
        return self._motion.num_context_frames

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        """Yield every frame with its objects.

        Raises VideoFormatError when the frames do not all have one size, ModelError when the network gives
        what is not a number.
        """
        run = TrackingRun(self._network, self.settings, self._detector, self._assistants)
        for tracked in self._motion.track(_check_sizes(frames), context):
            run.step(tracked)
            yield from run.past.take_old()
        yield from run.past.take_old(is_end=True)


def make_tracker(
    checkpoint: str | Path,
    *,
    device: str = "",
    backend: Literal["transformers", "meta"] = "transformers",
    settings: TrackerSettings | None = None,
    detector: Detector | None = None,
    shrink: int = 0,
) -> Sam2Tracker:
    """The tracker with the weights of a checkpoint, a folder or a name as in `load_network`.

    Without `settings`, those that the checkpoint's folder carries (`read_settings`), or the usual ones.
    `shrink` halves how many objects share a pass, so many times; what is tracked does not depend on it.
    Without `device`, the first GPU if there is one. Weights are bfloat16 on a GPU, float32 on a processor;
    Meta's own code, which must be installed, always runs in float32.
    """
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    folder = find_folder(checkpoint)
    network: Sam2Network
    if backend == "meta":
        from tubelet.model.tracking.sam2.meta_backend import load_meta_network

        network = load_meta_network(folder, device=chosen)
    else:
        dtype = torch.bfloat16 if chosen.type == "cuda" else torch.float32
        network = load_network(folder, device=chosen, dtype=dtype)
    settings = settings or read_settings(folder)
    settings = replace(settings, max_batch=max(1, settings.max_batch >> shrink))
    return Sam2Tracker(
        network,
        name=name_checkpoint(folder),
        settings=settings,
        detector=detector,
        assistants=read_assistants(folder),
    )


def _check_sizes(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Pass the frames on while they have one size."""
    first: Frame | None = None
    for frame in frames:
        first = first or frame
        sizes = [(item.image.shape, item.source_width, item.source_height) for item in (first, frame)]
        if sizes[0] != sizes[1]:
            height, width = frame.image.shape[:2]
            raise VideoFormatError(
                f"The frame at {frame.time_s:.3f} s is {width} x {height} pixels",
                expected=f"{first.image.shape[1]} x {first.image.shape[0]}, as in the first frame of the run",
                do="split the video where its size changes",
            )
        yield frame
