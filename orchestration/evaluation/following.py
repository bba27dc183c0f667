"""Following objects whose first mask is given, with a tracker that takes masks or with one that does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from tubelet.model.frame import Frame
from tubelet.model.masks import Mask, encode_mask, mask_iou
from tubelet.model.tracking.base import TrackedFrame
from tubelet.model.tracking.sam2.assistants import NO_ASSISTANTS, Assistants, read_assistants
from tubelet.model.tracking.sam2.flow_session import open_session
from tubelet.model.tracking.sam2.network import Sam2Network
from tubelet.model.tracking.sam2.prompts import MaskPrompt
from tubelet.model.tracking.sam2.refining import refine_in_turn
from tubelet.model.tracking.sam2.settings import TrackerSettings, read_settings
from tubelet.model.tracking.sam2.weights import find_folder, load_network
from tubelet.orchestration.evaluation.regions import as_rle
from tubelet.records import Rle
from tubelet.settings import Settings

Prompts = Mapping[int, Mapping[int, Mask]]
"""Masks by frame, then by object."""

Followed = list[dict[int, Rle]]
"""Masks of each frame by object; an object that is not seen is left out."""


class Follower(Protocol):
    """Follows what it is shown."""

    def follow(self, frames: Sequence[Frame], tracked: Sequence[TrackedFrame], prompts: Prompts) -> Followed:
        """Masks of the prompted objects, from their first frame on.

        `tracked` is what the tracker found in these frames without being shown anything.
        """


class Sam2Follower:
    """Prompts the network with the masks, frame after frame, in one session.

    As in indexing, an object that scores below `min_score` is not seen.
    """

    def __init__(
        self,
        network: Sam2Network,
        settings: TrackerSettings | None = None,
        assistants: Assistants = NO_ASSISTANTS,
    ) -> None:
        self._network = network
        self._settings = settings or TrackerSettings()
        self._assistants = assistants

    def follow(self, frames: Sequence[Frame], tracked: Sequence[TrackedFrame], prompts: Prompts) -> Followed:
        """See `Follower`."""
        session = open_session(self._network, self._settings.follow_by, assistants=self._assistants)
        every, refining = self._settings.refine_every, self._settings.refining
        followed: Followed = []
        for place, frame in enumerate(frames):
            seen = session.advance(frame.image)
            seen = refine_in_turn(session, seen, every=every, settings=refining, were_given=True).masks
            size = frame.source_height, frame.source_width
            scores = enumerate(seen.scores())
            seen = seen.select([at for at, score in scores if score >= self._settings.min_score])
            masks = dict(zip(seen.numbers, seen.encode(*size), strict=True))
            if place in prompts:
                session.add({number: MaskPrompt(mask) for number, mask in prompts[place].items()})
                masks |= {number: encode_mask(mask) for number, mask in prompts[place].items()}
            followed.append(masks)
        return followed


class TrackChooser:
    """For trackers that take no masks: the track that lies best on the given mask, in that frame."""

    def follow(self, frames: Sequence[Frame], tracked: Sequence[TrackedFrame], prompts: Prompts) -> Followed:
        """See `Follower`. Where no track meets the mask, the object is never seen."""
        found = [
            {item.number: as_rle(item.observation, step.frame) for item in step.objects} for step in tracked
        ]
        followed: Followed = [{} for _ in frames]
        for place, masks in prompts.items():
            for number, mask in masks.items():
                given = encode_mask(mask)
                ious = {track: mask_iou(given, rle) for track, rle in found[place].items()}
                chosen = max(ious, key=lambda track: (ious[track], -track), default=None)
                if chosen is None or ious[chosen] == 0:
                    continue
                for later in range(place, len(frames)):
                    if chosen in found[later]:
                        followed[later][number] = found[later][chosen]
        return followed


def make_follower(settings: Settings) -> Follower:
    """How the tracker of these settings follows a given mask."""
    if settings.tracker_name != "sam2":
        return TrackChooser()
    device = torch.device(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return load_follower(settings.tracker_checkpoint, device=device, dtype=dtype)


def load_follower(
    checkpoint: str, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Sam2Follower:
    """A checkpoint with all that its folder brings, as in indexing."""
    folder = find_folder(checkpoint)
    network = load_network(checkpoint, device=device, dtype=dtype)
    return Sam2Follower(network, read_settings(folder), read_assistants(folder))
