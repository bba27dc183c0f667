"""Says where in a frame objects lie, as boxes for the mask decoder, from what the image encoder sees.

A small mask decoder outlines a thing well when it is told its box, and badly when it is told a point, where
it cannot know whether the thing is a wheel, a car or a row of cars. This network looks at the whole frame
once and has learnt what counts as one thing. Every cell of its grid tells a box and how good that is: FCOS
(Tian et al., 2019) on one grid and without classes, with a guess of the box's IoU for its score, as in
"Generalized Focal Loss" (Li et al., 2020).

Shapes: B frames, C channels, G the grid's side, P proposals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tubelet.model.frame import Image
from tubelet.model.tracking.sam2.network import ImageFeatures
from tubelet.model.tracking.sam2.perceptron import read_module, write_weights
from tubelet.records import Box

PROPOSER_FILE = "proposer.npz"
"""Beside a checkpoint's config.json; without it a frame is searched at points only."""

GRID = 32
"""Side of the grid whose cells tell boxes."""

PICTURE_PX = 128
"""Side of the picture that is seen beside the features."""

MAX_NUM_BOXES = 24
MIN_SCORE = 0.05
MAX_BOX_IOU = 0.6
"""Of two proposals that overlap by more the better one is taken."""

VOUCHED_WEIGHT = 0.3
"""How much of a session's word on a mask is the proposer's, where it has one; the rest is the judge's."""

_DILATIONS = (1, 2, 4, 1, 2, 1)
_NUM_GROUPS = 8
_MIN_SIDE = 0.01
"""Of the picture. Nothing so thin is looked for."""
_USUAL_REACH = 0.15
"""From a cell to a side of its box where the network says 0, as a share of the picture."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """Boxes (x0, y0, x1, y1) as shares of the frame, (P, 4), and a guess of the IoU of each, (P,)."""

    boxes_P4: Tensor
    scores_P: Tensor

    def list_boxes(self, size: tuple[int, int]) -> list[Box]:
        """The boxes in pixels of a frame of this height and width."""
        height, width = size
        scale_4 = self.boxes_P4.new_tensor([width, height, width, height])
        return [Box(*sides) for sides in (self.boxes_P4 * scale_4).tolist()]

    def select(self, places_P: Tensor) -> Proposals:
        """Those at these places."""
        return Proposals(self.boxes_P4[places_P], self.scores_P[places_P])

    def __len__(self) -> int:
        return len(self.scores_P)

    def vouch_for(self, masks_Bhw: Tensor) -> Tensor:
        """How far these proposals speak for each mask, (B,): the best one's score by its IoU with the box
        of the mask; 0 for an empty mask."""
        if not len(self) or not len(masks_Bhw):
            return torch.zeros(len(masks_Bhw))
        boxes_B4 = find_boxes(masks_Bhw)
        return (measure_box_iou(boxes_B4, self.boxes_P4) * self.scores_P).amax(1)


class BoxProposer(nn.Module):
    """`features` are the channels of the encoder's fine, middle and coarse maps."""

    def __init__(self, features: tuple[int, int, int], width: int = 48) -> None:
        super().__init__()
        fine, middle, coarse = features
        self.fine = nn.Conv2d(fine, width, 2, 2)
        self.middle = nn.Conv2d(middle, width, 1)
        self.coarse = nn.Conv2d(coarse, width, 1)
        self.picture = nn.Conv2d(3, width, PICTURE_PX // GRID, PICTURE_PX // GRID)
        self.place = nn.Parameter(torch.zeros(1, width, GRID, GRID))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(_NUM_GROUPS, width),
                nn.GELU(),
                nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation),
            )
            for dilation in _DILATIONS
        )
        self.norm = nn.GroupNorm(_NUM_GROUPS, width)
        self.head = nn.Conv2d(width, 5, 1)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, seen: SeenFrames) -> tuple[Tensor, Tensor]:
        """Logits of the cells' scores, (B, G, G), and their boxes, (B, G, G, 4), as shares of the frame."""
        coarse = F.interpolate(self.coarse(seen.coarse), size=GRID, mode="bilinear")
        x = self.fine(seen.fine) + self.middle(seen.middle) + coarse + self.picture(seen.picture) + self.place
        for block in self.blocks:
            x = x + block(x)
        told = self.head(F.gelu(self.norm(x)))
        reach_B4GG = told[:, 1:].clamp(-6, 2).exp() * _USUAL_REACH
        places = (torch.arange(GRID, device=told.device) + 0.5) / GRID
        y, x = torch.meshgrid(places, places, indexing="ij")
        left, top, right, bottom = reach_B4GG.unbind(1)
        return told[:, 0], torch.stack([x - left, y - top, x + right, y + bottom], dim=-1)


class SeenFrames(NamedTuple):
    """What boxes are told by: maps of the encoder on grids of 2 G, G and any side, and pictures, -1..1."""

    fine: Tensor
    middle: Tensor
    coarse: Tensor
    picture: Tensor


def see_frame(features: ImageFeatures, image: Image) -> SeenFrames:
    """One frame as the network takes it."""
    picture = torch.tensor(image).permute(2, 0, 1)[None].float() / 127.5 - 1
    return SeenFrames(
        F.interpolate(features.fine.float().cpu(), size=2 * GRID, mode="area"),
        F.interpolate(features.middle.float().cpu(), size=GRID, mode="area"),
        features.coarse_1CHW.float().cpu(),
        F.interpolate(picture, size=PICTURE_PX, mode="area"),
    )


@torch.inference_mode()
def propose(proposer: BoxProposer, seen: SeenFrames) -> Proposals:
    """The boxes of one frame, each thing's once, the best first."""
    logits_1GG, boxes_1GG4 = proposer(seen)
    scores_P, boxes_P4 = logits_1GG.sigmoid().flatten(), boxes_1GG4.view(-1, 4).clamp(0, 1)
    has_area_P = (boxes_P4[:, 2:] - boxes_P4[:, :2] > _MIN_SIDE).all(1)
    places = ((scores_P >= MIN_SCORE) & has_area_P).nonzero().flatten()
    places = places[scores_P[places].argsort(descending=True, stable=True)]
    kept: list[int] = []
    iou_PP = measure_box_iou(boxes_P4[places], boxes_P4[places])
    for place in range(len(places)):
        if len(kept) < MAX_NUM_BOXES and not (iou_PP[place, kept] > MAX_BOX_IOU).any():
            kept.append(place)
    return Proposals(boxes_P4[places[kept]], scores_P[places[kept]])


def measure_box_iou(first_A4: Tensor, second_B4: Tensor) -> Tensor:
    """IoU of every pair of boxes, (A, B); 0 for boxes without an area."""
    low = torch.maximum(first_A4[:, None, :2], second_B4[:, :2])
    high = torch.minimum(first_A4[:, None, 2:], second_B4[:, 2:])
    shared_AB = (high - low).clamp(min=0).prod(2)
    areas_A, areas_B = ((boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1) for boxes in (first_A4, second_B4))
    return shared_AB / (areas_A[:, None] + areas_B - shared_AB).clamp(min=1e-9)


def find_boxes(masks_Bhw: Tensor) -> Tensor:
    """The boxes of masks as shares of the frame, (B, 4); without an area where a mask is empty."""
    sides = []
    for axis in (1, 2):  # columns that hold cells, then rows
        held = masks_Bhw.any(axis).float().cpu()
        size = held.shape[1]
        is_empty = held.sum(1) == 0
        first, last = held.argmax(1), size - held.flip(1).argmax(1)
        sides.append((first / size, torch.where(is_empty, first, last) / size))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], dim=1)


def read_proposer(folder: Path) -> BoxProposer | None:
    """The proposer in a checkpoint's folder, or None. Raises ModelError for a damaged file."""

    def build(weights: Mapping[str, Tensor]) -> BoxProposer:
        fine, middle, coarse = (weights[f"{part}.weight"].shape[1] for part in ("fine", "middle", "coarse"))
        return BoxProposer((fine, middle, coarse), width=len(weights["norm.weight"]))

    return read_module(folder / PROPOSER_FILE, build, kind="a proposer")


def write_proposer(file: Path, proposer: BoxProposer) -> None:
    """Write weights as float16, as `read_proposer` reads them."""
    write_weights(file, proposer.state_dict())
