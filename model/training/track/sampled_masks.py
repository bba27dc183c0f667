"""Masks of a labelled frame, good and bad, and the IoU of each with every object: what judges learn from.

Shown are what the mask decoder proposes on a grid of points, the true masks, rough ones such as the flow
leaves, and masks where nothing is. Of each frame a few of every object and of the rest are taken, so that
a large object, which many points lie on, counts no more than a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.judge import GRID, fit_grid
from tubelet.model.tracking.sam2.masks import measure_iou
from tubelet.model.tracking.sam2.refining import list_options
from tubelet.model.training.track.roughening import misplace, roughen

_SIDE = 256
_LIES_ON = 0.3
_NEAR_CELLS = 2
_SURE = 8.0


class MaskSampling(BaseModel):
    """Which masks are taken of a frame. Shares are of its area."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    points_per_side: int = Field(default=12, ge=1)
    min_object_share: float = Field(default=0.003, ge=0, lt=1)
    """Smaller objects are not looked for: a mask of one is as wrong as any."""
    min_mask_share: float = Field(default=0.002, ge=0, lt=1)
    max_mask_share: float = Field(default=0.45, gt=0, le=1)
    num_roughs: int = Field(default=4, ge=0)
    """Rough masks of each object, and misplaced ones of each frame."""
    num_each: int = Field(default=12, ge=1)
    """Proposals taken of each object."""
    num_others: int = Field(default=60, ge=0)
    """Proposals taken of each frame that lie on no object."""
    num_confused: int = Field(default=0, ge=0)
    """Of how many masks the decoder's other answers are taken too, and then all unions of two neighbours."""


@dataclass(frozen=True, slots=True)
class SampledMasks:
    """Masks of one frame on the judge's grid, (B, GRID, GRID), and their IoU with the objects, (B, O)."""

    masks_Bhw: Tensor
    iou_BO: Tensor
    numbers: tuple[int, ...]

    @property
    def iou_B(self) -> Tensor:
        """The IoU of each mask with the object it lies on best."""
        return self.iou_BO.amax(1) if self.numbers else torch.zeros(len(self.masks_Bhw))

    def iou_with(self, number: int) -> Tensor:
        """The IoU of each mask with one object, (B,): 0 where that is not in sight."""
        if number not in self.numbers:
            return torch.zeros(len(self.masks_Bhw))
        return self.iou_BO[:, self.numbers.index(number)]


def list_objects(labels_HW: NDArray[np.uint8], min_share: float) -> tuple[int, ...]:
    """The numbers of the objects that are large enough."""
    numbers, areas = np.unique(labels_HW, return_counts=True)
    return tuple(int(n) for n in numbers[(numbers > 0) & (areas >= min_share * labels_HW.size)])


def sample_masks(
    session: FlowSession, labels_HW: NDArray[np.uint8], plan: MaskSampling, generator: np.random.Generator
) -> SampledMasks:
    """Masks of the session's current frame, whose objects are known."""
    numbers = list_objects(labels_HW, plan.min_object_share)
    truth_Ohw = fit_to_grid([(labels_HW == number).astype(np.float32) for number in numbers])
    proposed_Bhw = _propose(session, plan, generator)
    made_Bhw = _make_up(labels_HW, numbers, plan, generator)
    chosen = _choose(_overlap(proposed_Bhw, truth_Ohw), plan, generator)
    parts = [proposed_Bhw[chosen], made_Bhw]
    if plan.num_confused:
        parts.append(_keep_sizes(unite_neighbours(truth_Ohw), plan))
        asked_Bhw = made_Bhw[generator.permutation(len(made_Bhw))[: plan.num_confused]]
        parts.append(_keep_sizes(ask_anew(session, asked_Bhw).flatten(0, 1), plan))
    masks_Bhw = torch.cat(parts)
    return SampledMasks(masks_Bhw, _overlap(masks_Bhw, truth_Ohw), numbers)


def ask_anew(session: FlowSession, masks_Bhw: Tensor) -> Tensor:
    """What the decoder has instead of masks, (B, A, GRID, GRID), asked by each, its box and its middle."""
    if not len(masks_Bhw):
        return torch.zeros(0, 1, GRID, GRID, dtype=torch.bool)
    logits_Bhw = session.fit_masks((2 * masks_Bhw.float() - 1) * _SURE)
    options_BAhw = list_options(session, logits_Bhw)[:, 1:] > 0
    return fit_grid(options_BAhw.flatten(0, 1)).view(*options_BAhw.shape[:2], GRID, GRID)


def fit_to_grid(shares: Sequence[NDArray[np.float32]]) -> Tensor:
    """Masks of any size on the judge's grid, (B, GRID, GRID): cells at least half inside."""
    if not shares:
        return torch.zeros(0, GRID, GRID, dtype=torch.bool)
    resized = [cv2.resize(share, (GRID, GRID), interpolation=cv2.INTER_AREA) for share in shares]
    return torch.from_numpy(np.stack(resized)) >= 0.5


def roughen_object(
    labels_HW: NDArray[np.uint8], number: int, count: int, generator: np.random.Generator
) -> Tensor:
    """The true mask of an object, and rough ones, (1 + count, GRID, GRID)."""
    mask_SS = _as_square(labels_HW) == number
    roughs = [roughen(mask_SS, generator, GRID) for _ in range(count)]
    return fit_to_grid([mask_SS.astype(np.float32), *roughs])


def _propose(session: Sam2Session, plan: MaskSampling, generator: np.random.Generator) -> Tensor:
    """What the decoder sees at the points of a grid, each somewhere in its cell."""
    side = plan.points_per_side
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    height, width = session.size
    points = (cells + generator.random(cells.shape)) / side * (width, height)
    masks_Ahw = session.look_at_points(torch.from_numpy(points).float()).logits_BKhw.flatten(0, 1) > 0
    return _keep_sizes(fit_grid(masks_Ahw), plan)


def _make_up(
    labels_HW: NDArray[np.uint8],
    numbers: Sequence[int],
    plan: MaskSampling,
    generator: np.random.Generator,
) -> Tensor:
    """The true masks, rough ones, and the shapes of objects where none is."""
    square_SS = _as_square(labels_HW)
    parts = [roughen_object(labels_HW, number, plan.num_roughs, generator) for number in numbers]
    away = [roughen(misplace(square_SS, generator), generator, GRID) for _ in range(plan.num_roughs)]
    return _keep_sizes(torch.cat([*parts, fit_to_grid(away)]), plan)


def unite_neighbours(truth_Ohw: Tensor) -> Tensor:
    """Of all pairs of objects that touch, or nearly, both as one mask."""
    reach = 2 * _NEAR_CELLS + 1
    wide_Ohw = torch.nn.functional.max_pool2d(truth_Ohw[:, None].float(), reach, 1, _NEAR_CELLS)[:, 0] > 0
    pairs = [
        truth_Ohw[first] | truth_Ohw[second]
        for first in range(len(truth_Ohw))
        for second in range(first + 1, len(truth_Ohw))
        if (wide_Ohw[first] & truth_Ohw[second]).any()
    ]
    return torch.stack(pairs) if pairs else truth_Ohw[:0]


def _as_square(labels_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    square_SS = cv2.resize(labels_HW, (_SIDE, _SIDE), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(square_SS, np.uint8)


def _keep_sizes(masks_Bhw: Tensor, plan: MaskSampling) -> Tensor:
    share_B = masks_Bhw.float().mean((1, 2))
    return masks_Bhw[(share_B >= plan.min_mask_share) & (share_B <= plan.max_mask_share)]


def _overlap(masks_Bhw: Tensor, truth_Ohw: Tensor) -> Tensor:
    if not len(truth_Ohw) or not len(masks_Bhw):
        return torch.zeros(len(masks_Bhw), len(truth_Ohw))
    return measure_iou(masks_Bhw, truth_Ohw)


def _choose(iou_BO: Tensor, plan: MaskSampling, generator: np.random.Generator) -> NDArray[np.int64]:
    """Rows of some masks of each object, and of some that lie on none."""
    if iou_BO.shape[1]:
        iou_B, owner_B = iou_BO.max(1)
        owners = torch.where(iou_B >= _LIES_ON, owner_B, -1).numpy()
    else:
        owners = np.full(len(iou_BO), -1)
    chosen = [np.zeros(0, np.int64)]
    for owner in np.unique(owners):
        limit = plan.num_others if owner < 0 else plan.num_each
        chosen.append(generator.permutation(np.flatnonzero(owners == owner))[:limit])
    return np.concatenate(chosen)
