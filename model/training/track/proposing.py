"""Teach a proposer of boxes: pictures, what the network sees of them, and the boxes of their objects.

Every cell in the middle of an object learns that object's box, and how good its own box is; the rest learn 0.
Losses as in "Generalized Focal Loss" (Li et al., 2020) and "Generalized Intersection over Union" (Rezatofighi
et al., 2019), the middle of a box as in FCOS (Tian et al., 2019).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from tubelet.model.frame import Image
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.network import Sam2Network
from tubelet.model.tracking.sam2.proposing import (
    GRID,
    PROPOSER_FILE,
    BoxProposer,
    SeenFrames,
    find_boxes,
    write_proposer,
)
from tubelet.model.training.descent import descend
from tubelet.model.training.track.clips import Bytes, ClipSource
from tubelet.model.training.track.sampled_masks import list_objects

logger = logging.getLogger(__name__)

_LOG_EVERY = 250
_MIDDLE = 0.25
"""Cells this near to the middle of a box, as a share of its sides, tell it; and at least those within
`_MIN_MIDDLE` cells."""
_MIN_MIDDLE = 0.6
_NOTHING_WEIGHT = 0.75
_BOX_WEIGHT = 2.0


class ProposerSettings(BaseModel):
    """What a proposer is shown, and how it is taught."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    num_pictures: int = Field(default=5000, ge=1)
    """Each is also seen mirrored. What is seen of one takes 0.7 MB of memory."""
    min_object_share: float = Field(default=0.003, ge=0, lt=1)
    """Of the picture. Smaller objects, down to `min_known_share`, are neither asked for nor wrong."""
    min_known_share: float = Field(default=0.002, ge=0, lt=1)
    steps: int = Field(default=4000, ge=1)
    batch: int = Field(default=16, ge=1)
    width: int = Field(default=48, ge=8, multiple_of=8)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)


@dataclass(frozen=True, slots=True)
class BoxedFrames:
    """What the network sees of frames, and of each the boxes of its objects as shares of the frame, (O, 4),
    and their areas, (O,)."""

    seen: SeenFrames
    boxes_O4: tuple[Tensor, ...]
    shares_O: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class CellTargets:
    """Of each cell, (B, G, G), whether it tells a box, which, (B, G, G, 4), and whether it is not asked."""

    is_asked_BGG: Tensor
    boxes_BGG4: Tensor
    is_left_out_BGG: Tensor


def train_proposer(
    network: Sam2Network, source: ClipSource, settings: ProposerSettings, folder: Path
) -> None:
    """Teach a proposer for the features of this network, and write it into the checkpoint's folder."""
    frames = gather_boxes(network, source, settings, range(settings.num_pictures))
    write_proposer(folder / PROPOSER_FILE, fit_proposer(frames, settings))


def gather_boxes(
    network: Sam2Network, source: ClipSource, settings: ProposerSettings, numbers: Sequence[int]
) -> BoxedFrames:
    """The pictures of these numbers and their mirror images. What comes of a number does not depend on the
    others."""
    parts = []
    for count, number in enumerate(numbers, 1):
        clip = source.get(settings.seed * 10_000_019 + number, 1)
        image, labels = clip.frames_THW3[0], clip.labels_THW[0]
        parts.append(_see(network, image, labels, settings))
        parts.append(_see(network, image[:, ::-1], labels[:, ::-1], settings))
        if count % _LOG_EVERY == 0:
            logger.info("Boxes of %d pictures of %d", count, len(numbers))
    return join_frames(parts)


def join_frames(parts: Sequence[BoxedFrames]) -> BoxedFrames:
    """All frames as one."""
    return BoxedFrames(
        SeenFrames(*(torch.cat(maps) for maps in zip(*(part.seen for part in parts), strict=True))),
        tuple(boxes for part in parts for boxes in part.boxes_O4),
        tuple(shares for part in parts for shares in part.shares_O),
    )


def fit_proposer(frames: BoxedFrames, settings: ProposerSettings) -> BoxProposer:
    """A proposer that was shown these frames, in an order that the seed decides."""
    torch.manual_seed(settings.seed)
    seen = frames.seen
    proposer = BoxProposer(
        (seen.fine.shape[1], seen.middle.shape[1], seen.coarse.shape[1]), width=settings.width
    )
    optimizer = torch.optim.AdamW(
        proposer.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )

    def measure_some() -> Tensor:
        rows = torch.randint(len(seen.fine), (settings.batch,)).tolist()
        return measure_loss(proposer, frames, rows, settings.min_object_share)

    descend(measure_some, optimizer, schedule, num_steps=settings.steps, name="proposer", max_norm=1.0)
    return proposer.eval()


def measure_loss(
    proposer: BoxProposer, frames: BoxedFrames, rows: Sequence[int], min_object_share: float
) -> Tensor:
    """How wrong the cells' scores and boxes are on these frames."""
    logits_BGG, boxes_BGG4 = proposer(SeenFrames(*(maps[rows].float() for maps in frames.seen)))
    targets = make_targets(
        [frames.boxes_O4[row] for row in rows], [frames.shares_O[row] for row in rows], min_object_share
    )
    asked = targets.is_asked_BGG
    iou_A, apart_A = compare_boxes(boxes_BGG4[asked], targets.boxes_BGG4[asked])
    quality_BGG = torch.zeros_like(logits_BGG)
    quality_BGG[asked] = iou_A.detach()
    # What tells a box counts as much as that is good already; the rest counts as much as it is wrong.
    weights_BGG = torch.where(asked, quality_BGG, _NOTHING_WEIGHT * logits_BGG.detach().sigmoid().square())
    weights_BGG = weights_BGG.masked_fill(targets.is_left_out_BGG, 0.0)
    score_loss = F.binary_cross_entropy_with_logits(logits_BGG, quality_BGG, weights_BGG, reduction="sum")
    return (score_loss + _BOX_WEIGHT * apart_A.sum()) / max(1, int(asked.sum()))


def make_targets(
    boxes_BO4: Sequence[Tensor], shares_BO: Sequence[Tensor], min_object_share: float
) -> CellTargets:
    """What each cell should tell. Where the middles of two boxes meet the smaller box counts."""
    places = (torch.arange(GRID) + 0.5) / GRID
    y_GG, x_GG = torch.meshgrid(places, places, indexing="ij")
    num_frames = len(boxes_BO4)
    is_asked_BGG, is_left_out_BGG = torch.zeros(2, num_frames, GRID, GRID, dtype=torch.bool)
    boxes_BGG4 = torch.zeros(num_frames, GRID, GRID, 4)
    for at, (boxes_O4, shares_O) in enumerate(zip(boxes_BO4, shares_BO, strict=True)):
        area_O = (boxes_O4[:, 2:] - boxes_O4[:, :2]).prod(1)
        for row in area_O.argsort(descending=True, stable=True).tolist():
            x0, y0, x1, y1 = boxes_O4[row].tolist()
            inside_GG = (x_GG > x0) & (x_GG < x1) & (y_GG > y0) & (y_GG < y1)
            if shares_O[row] < min_object_share:
                is_left_out_BGG[at] |= inside_GG & ~is_asked_BGG[at]
                continue
            reach_x, reach_y = (max(_MIDDLE * side, _MIN_MIDDLE / GRID) for side in (x1 - x0, y1 - y0))
            is_middle_GG = ((x_GG - (x0 + x1) / 2).abs() < reach_x) & ((y_GG - (y0 + y1) / 2).abs() < reach_y)
            is_asked_BGG[at] |= is_middle_GG
            is_left_out_BGG[at] &= ~is_middle_GG
            boxes_BGG4[at][is_middle_GG] = boxes_O4[row]
    return CellTargets(is_asked_BGG, boxes_BGG4, is_left_out_BGG)


def compare_boxes(first_A4: Tensor, second_A4: Tensor) -> tuple[Tensor, Tensor]:
    """IoU of pairs of boxes, 0..1, and 1 - their generalized IoU, 0..2, (A,) each."""
    shared_A = _area(
        torch.maximum(first_A4[:, :2], second_A4[:, :2]), torch.minimum(first_A4[:, 2:], second_A4[:, 2:])
    )
    hull_A = _area(
        torch.minimum(first_A4[:, :2], second_A4[:, :2]), torch.maximum(first_A4[:, 2:], second_A4[:, 2:])
    ).clamp(min=1e-6)
    areas_A = _area(first_A4[:, :2], first_A4[:, 2:]) + _area(second_A4[:, :2], second_A4[:, 2:])
    union_A = (areas_A - shared_A).clamp(min=1e-6)
    iou_A = shared_A / union_A
    return iou_A, 1 - iou_A + (hull_A - union_A) / hull_A


def _area(low_A2: Tensor, high_A2: Tensor) -> Tensor:
    return (high_A2 - low_A2).clamp(min=0).prod(1)


@torch.inference_mode()
def _see(network: Sam2Network, image: Image, labels_HW: Bytes, settings: ProposerSettings) -> BoxedFrames:
    """One picture and its boxes."""
    session = FlowSession(network)
    session.advance(np.ascontiguousarray(image))
    boxes: list[Tensor] = []
    shares: list[float] = []
    for number in list_objects(labels_HW, settings.min_known_share):
        mask_HW = labels_HW == number
        boxes.append(find_boxes(torch.from_numpy(mask_HW)[None]))
        shares.append(float(mask_HW.mean()))
    seen = SeenFrames(*(maps.half().clone() for maps in session.view.seen))
    return BoxedFrames(seen, (torch.cat([torch.zeros(0, 4), *boxes]),), (torch.tensor(shares),))
