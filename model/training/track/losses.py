"""The losses of SAM 2: focal and dice over masks, the predicted IoU, and whether the object is in sight.

As in Ravi et al. (2024), appendix D.2.2: of several masks the best is taught, the IoU guesses of all are, and
masks count only where the object is in sight. Targets are shares of a cell, so the focal loss is that of Lin
et al. (2017) with the distance to a soft target in place of the miss (Li et al., 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class LossWeights(BaseModel):
    """What each loss counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    focal: float = Field(default=20.0, ge=0)
    dice: float = Field(default=1.0, ge=0)
    iou: float = Field(default=1.0, ge=0)
    presence: float = Field(default=1.0, ge=0)
    gamma: float = Field(default=2.0, ge=0)
    """0 is plain cross entropy; 2 looks away from what is right already."""
    balance: float = Field(default=0.0, ge=0, le=1)
    """How far the object, the other objects and the background count alike in the focal loss, however few
    cells each has: 1 is fully, 0 not at all. From random weights it gets past two easy answers: that nothing
    is the object, and that everything that stands out is, whatever was asked for."""
    runners_up: float = Field(default=0.05, ge=0)
    """What the masks that are not the best of three count: enough that none is left untaught."""


_MIN_SHARE = 0.003


@dataclass(frozen=True, slots=True)
class MaskLosses:
    """Sums over rows; `num_present` rows have a mask to find. `iou_B` is each best mask's true IoU."""

    focal: Tensor
    dice: Tensor
    iou: Tensor
    presence: Tensor
    num_rows: int
    num_present: int
    iou_B: Tensor
    is_present_B: Tensor


def measure_losses(
    logits_BKhw: Tensor,
    iou_BK: Tensor,
    presence_B: Tensor,
    target_BGG: Tensor,
    other_BGG: Tensor,
    weights: LossWeights,
) -> MaskLosses:
    """Losses of K masks a row against one target (0..1) on a grid as fine or finer.

    `other_BGG` is the share of each cell that belongs to other objects.
    """
    logits_BKGG = logits_BKhw.float()
    if logits_BKGG.shape[-2:] != target_BGG.shape[-2:]:
        logits_BKGG = F.interpolate(
            logits_BKGG, size=target_BGG.shape[-2:], mode="bilinear", align_corners=False
        )
    is_present_B = target_BGG.amax((1, 2)) >= 0.5
    present_B = is_present_B.float()
    focal_BK, dice_BK = _focal(logits_BKGG, target_BGG, other_BGG, weights), _dice(logits_BKGG, target_BGG)
    both_BK = weights.focal * focal_BK + weights.dice * dice_BK
    best_B1 = both_BK.argmin(1, keepdim=True)
    share_BK = torch.full_like(both_BK, weights.runners_up).scatter(1, best_B1, 1.0)

    with torch.no_grad():
        masks_BKGG, true_B1GG = logits_BKGG > 0, target_BGG[:, None] >= 0.5
        shared_BK = (masks_BKGG & true_B1GG).sum((2, 3)).float()
        true_iou_BK = shared_BK / (masks_BKGG | true_B1GG).sum((2, 3)).clamp(min=1)
        true_iou_BK = true_iou_BK * present_B[:, None]
    iou_B = (iou_BK.float() - true_iou_BK).square().mean(1)
    presence_loss_B = F.binary_cross_entropy_with_logits(presence_B.float(), present_B, reduction="none")
    return MaskLosses(
        focal=((focal_BK * share_BK).sum(1) * present_B).sum(),
        dice=((dice_BK * share_BK).sum(1) * present_B).sum(),
        iou=iou_B.sum(),
        presence=presence_loss_B.sum(),
        num_rows=len(present_B),
        num_present=int(present_B.sum()),
        iou_B=true_iou_BK.gather(1, best_B1)[:, 0],
        is_present_B=is_present_B,
    )


def add_up(parts: list[MaskLosses], weights: LossWeights) -> dict[str, Tensor]:
    """Losses by name: means over rows, and their weighted sum as "loss"."""
    num_rows = sum(part.num_rows for part in parts)
    num_present = max(1, sum(part.num_present for part in parts))
    focal = torch.stack([part.focal for part in parts]).sum() / num_present
    dice = torch.stack([part.dice for part in parts]).sum() / num_present
    iou = torch.stack([part.iou for part in parts]).sum() / num_rows
    presence = torch.stack([part.presence for part in parts]).sum() / num_rows
    true_iou = torch.cat([part.iou_B[part.is_present_B] for part in parts])
    return {
        "loss": weights.focal * focal + weights.dice * dice + weights.iou * iou + weights.presence * presence,
        "focal": focal,
        "dice": dice,
        "iou guess": iou,
        "presence": presence,
        "mask iou": true_iou.mean() if len(true_iou) else iou.new_zeros(()),
    }


def _focal(logits_BKGG: Tensor, target_BGG: Tensor, other_BGG: Tensor, weights: LossWeights) -> Tensor:
    target_BKGG = target_BGG[:, None].expand_as(logits_BKGG)
    crossed = F.binary_cross_entropy_with_logits(logits_BKGG, target_BKGG, reduction="none")
    if weights.gamma:
        crossed = crossed * (target_BKGG - logits_BKGG.sigmoid()).abs() ** weights.gamma
    if not weights.balance:
        return crossed.mean((2, 3))
    scale_BGG = torch.zeros_like(target_BGG)
    for kind_BGG in (target_BGG, other_BGG, 1 - target_BGG - other_BGG):
        share_B11 = kind_BGG.mean((1, 2), keepdim=True).clamp(min=_MIN_SHARE)
        scale_BGG = scale_BGG + kind_BGG * share_B11**-weights.balance
    return (crossed * (scale_BGG / scale_BGG.mean((1, 2), keepdim=True))[:, None]).mean((2, 3))


def _dice(logits_BKGG: Tensor, target_BGG: Tensor) -> Tensor:
    guess_BKGG = logits_BKGG.sigmoid()
    shared_BK = torch.einsum("bkxy,bxy->bk", guess_BKGG, target_BGG)
    total_BK = guess_BKGG.sum((2, 3)) + target_BGG.sum((1, 2))[:, None]
    return 1 - (2 * shared_BK + 1) / (total_BK + 1)
