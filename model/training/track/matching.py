"""Teach a matcher: what was known of objects in one frame, and masks of later ones that are theirs or not.

An object is known by its true mask, by rough ones, and by what the decoder saw of it, as a tracker knows
it. Frames follow one another by up to a second or two, and the object may have left.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.masks import measure_iou
from tubelet.model.tracking.sam2.matching import MATCHER_FILE, compare
from tubelet.model.tracking.sam2.network import Sam2Network
from tubelet.model.tracking.sam2.perceptron import even_out, write_weights
from tubelet.model.training.track.clips import ClipSource
from tubelet.model.training.track.perceptrons import Teaching, fit_perceptron
from tubelet.model.training.track.sampled_masks import (
    MaskSampling,
    ask_anew,
    list_objects,
    roughen_object,
    sample_masks,
)

logger = logging.getLogger(__name__)

_LOG_EVERY = 50
_IS_ITS = 0.25
_IS_SOMETHING = 0.3
_MIN_KNOWN_IOU = 0.4


class MatcherSettings(BaseModel):
    """What a matcher is shown, and how it is taught. `teaching.batch` counts objects, each met in one frame.

    Of each meeting up to `num_its` masks of the object are shown, `num_others` of other objects, and
    `num_nothing` of neither.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    num_clips: int = Field(default=900, ge=1)
    num_frames: int = Field(default=9, ge=5)
    num_known_roughs: int = Field(default=2, ge=0)
    sampling: MaskSampling = MaskSampling(num_roughs=3, num_confused=16)
    teaching: Teaching = Teaching(batch=16, weight_decay=3e-2)
    num_its: int = Field(default=16, ge=1)
    num_others: int = Field(default=12, ge=0)
    num_nothing: int = Field(default=12, ge=0)


@dataclass(frozen=True, slots=True)
class Meeting:
    """Masks of one frame as measured, (B, X), their IoU with an object that was seen before, (B,), and
    with whatever they lie on best, (B,); and what was known of that object, (V, X), by several masks."""

    known_VX: Tensor
    measured_BX: Tensor
    iou_B: Tensor
    best_B: Tensor


def train_matcher(network: Sam2Network, source: ClipSource, settings: MatcherSettings, folder: Path) -> None:
    """Teach a matcher for the features of this network, and write it into the checkpoint's folder."""
    meetings = gather_meetings(network, source, settings, range(settings.num_clips))
    write_weights(folder / MATCHER_FILE, fit_matcher(meetings, settings))


def gather_meetings(
    network: Sam2Network, source: ClipSource, settings: MatcherSettings, numbers: Sequence[int]
) -> list[Meeting]:
    """Meetings in the clips of these numbers. What comes of a number does not depend on the others."""
    meetings: list[Meeting] = []
    for count, number in enumerate(numbers, 1):
        meetings += _gather(network, source, settings, number)
        if count % _LOG_EVERY == 0:
            logger.info("Meetings in %d clips of %d", count, len(numbers))
    return meetings


def fit_matcher(meetings: Sequence[Meeting], settings: MatcherSettings) -> dict[str, Tensor]:
    """The weights of a matcher."""
    generator = np.random.default_rng((settings.seed, 41))
    sums, squares, count = torch.zeros(()), torch.zeros(()), 0
    for meeting in meetings:
        measured_BX = meeting.measured_BX.double()
        sums, squares = sums + measured_BX.sum(0), squares + measured_BX.square().sum(0)
        count += len(measured_BX)
    mean_X = sums / count
    scale_X = ((squares / count - mean_X.square()).clamp(min=0).sqrt() + 1e-3).float()
    mean_X = mean_X.float()

    def draw() -> tuple[Tensor, Tensor]:
        inputs, targets = [], []
        for place in generator.integers(0, len(meetings), settings.teaching.batch):
            meeting = meetings[place]
            known = int(generator.integers(len(meeting.known_VX)))
            rows = _choose(meeting, settings, generator)
            known_BX, measured_BX = (
                even_out(part.float(), mean_X, scale_X)
                for part in (meeting.known_VX[known : known + 1], meeting.measured_BX[rows])
            )
            inputs.append(compare(known_BX, measured_BX))
            targets.append(meeting.iou_B[rows])
        return torch.cat(inputs), torch.cat(targets)

    num_inputs = compare(mean_X[None], mean_X[None]).shape[1]
    layers = fit_perceptron(draw, num_inputs, settings.teaching, seed=settings.seed, name="Matcher")
    return {"mean": mean_X, "scale": scale_X, **layers}


@torch.inference_mode()
def _gather(
    network: Sam2Network, source: ClipSource, settings: MatcherSettings, number: int
) -> Iterator[Meeting]:
    """The objects of an early frame of one clip, met in two later ones."""
    generator = np.random.default_rng((settings.seed, 37, number))
    clip = source.get(settings.seed * 10_000_019 + number, settings.num_frames)
    first = int(generator.integers(1, 3))
    second = int(generator.integers(first + 1, settings.num_frames - 1))
    third = int(generator.integers(second + 1, settings.num_frames))
    session = FlowSession(network)
    known: dict[int, Tensor] = {}
    for place in range(third + 1):
        labels_HW = clip.labels_THW[place]
        session.advance(clip.frames_THW3[place])
        if place == first:
            known = _get_to_know(session, labels_HW, settings, generator)
        elif place in (second, third):
            sampled = sample_masks(session, labels_HW, settings.sampling, generator)
            measured_BX = session.view.measure(sampled.masks_Bhw).half()
            for object_number, known_VX in known.items():
                yield Meeting(known_VX, measured_BX, sampled.iou_with(object_number), sampled.iou_B)


def _get_to_know(
    session: FlowSession,
    labels_HW: NDArray[np.uint8],
    settings: MatcherSettings,
    generator: np.random.Generator,
) -> dict[int, Tensor]:
    """What is known of each object in the session's frame: by its mask, rough ones, and the decoder's."""
    known = {}
    for number in list_objects(labels_HW, settings.sampling.min_object_share):
        masks_Bhw = roughen_object(labels_HW, number, settings.num_known_roughs, generator)
        if not masks_Bhw[0].any():
            continue
        seen_Bhw = ask_anew(session, masks_Bhw[:1])[0]
        fits_B = measure_iou(seen_Bhw, masks_Bhw[:1])[:, 0] >= _MIN_KNOWN_IOU
        masks_Bhw = torch.cat([masks_Bhw, seen_Bhw[fits_B]])
        masks_Bhw = masks_Bhw[masks_Bhw.flatten(1).any(1)]
        known[number] = session.view.measure(masks_Bhw).half()
    return known


def _choose(meeting: Meeting, settings: MatcherSettings, generator: np.random.Generator) -> NDArray[np.int64]:
    """Rows of the object's masks, of others', and of what is neither."""
    is_its, is_other = meeting.iou_B > _IS_ITS, meeting.best_B > _IS_SOMETHING
    kinds = (is_its, ~is_its & is_other, ~is_its & ~is_other)
    limits = settings.num_its, settings.num_others, settings.num_nothing
    return np.concatenate(
        [
            generator.permutation(np.flatnonzero(kind.numpy()))[:limit]
            for kind, limit in zip(kinds, limits, strict=True)
        ]
    )
