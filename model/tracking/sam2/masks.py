"""Masks of several objects on one frame, as logits on the network's grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tubelet.model.masks import encode_mask
from tubelet.records import Rle

_NUM_ENLARGED_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class FrameMasks:
    """The objects `numbers` on one frame, in that order. A pixel above 0 belongs to the object.

    `presence_B` is the probability that the object is in sight, `iou_B` the network's guess of how good the
    mask is. The mask of an object out of sight is empty.
    """

    numbers: tuple[int, ...]
    logits_Bhw: Tensor
    presence_B: Tensor
    iou_B: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def binary_Bhw(self) -> Tensor:
        """The masks on the network's grid, boolean."""
        return self.logits_Bhw > 0

    def scores(self) -> list[float]:
        """Confidence of each mask, 0..1: in sight, and well outlined."""
        scores: list[float] = (self.presence_B * self.iou_B).float().clamp(0, 1).tolist()
        return scores

    def select(self, places: list[int]) -> FrameMasks:
        """Some of the objects, by their place in `numbers`."""
        return FrameMasks(
            tuple(self.numbers[place] for place in places),
            self.logits_Bhw[places],
            self.presence_B[places],
            self.iou_B[places],
        )

    def replace(self, others: FrameMasks) -> FrameMasks:
        """The same objects, with the masks of those that `others` holds too taken from there."""
        theirs = {number: place for place, number in enumerate(others.numbers)}
        together = concatenate([self, others])
        return together.select(
            [
                len(self) + theirs[number] if number in theirs else place
                for place, number in enumerate(self.numbers)
            ]
        )

    def encode(self, height: int, width: int) -> list[Rle]:
        """The masks over a frame of this size; logits are enlarged bilinearly and cut at 0."""
        encoded: list[Rle] = []
        for start in range(0, len(self), _NUM_ENLARGED_AT_ONCE):
            part_bhw = self.logits_Bhw[start : start + _NUM_ENLARGED_AT_ONCE]
            large = enlarge(part_bhw, height, width) > 0
            encoded += [encode_mask(mask) for mask in large.cpu().numpy()]
        return encoded


def enlarge(logits_Bhw: Tensor, height: int, width: int) -> Tensor:
    """Logits over another grid, (B, height, width), in float32."""
    return F.interpolate(
        logits_Bhw[:, None].float(), size=(height, width), mode="bilinear", align_corners=False
    )[:, 0]


def concatenate(parts: list[FrameMasks]) -> FrameMasks:
    """The objects of all parts in one, which must not be empty."""
    return FrameMasks(
        tuple(number for part in parts for number in part.numbers),
        torch.cat([part.logits_Bhw for part in parts]),
        torch.cat([part.presence_B for part in parts]),
        torch.cat([part.iou_B for part in parts]),
    )


def share_pixels(first_Ahw: Tensor, second_Bhw: Tensor) -> Tensor:
    """Number of pixels that each mask of the first set shares with each of the second, (A, B)."""
    return first_Ahw.flatten(1).float() @ second_Bhw.flatten(1).float().T


def measure_iou(first_Ahw: Tensor, second_Bhw: Tensor) -> Tensor:
    """Intersection over union of every mask of the first set with every one of the second, (A, B)."""
    shared_AB = share_pixels(first_Ahw, second_Bhw)
    areas_A, areas_B = (masks.flatten(1).sum(1).float() for masks in (first_Ahw, second_Bhw))
    union_AB = areas_A[:, None] + areas_B - shared_AB
    return shared_AB / union_AB.clamp(min=1)
