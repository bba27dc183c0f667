"""A proposer that proposes the box of every red region, before any weights are trained."""

from __future__ import annotations

import torch
from scipy import ndimage
from torch import Tensor

from tubelet.model.tracking.sam2.proposing import GRID, PICTURE_PX, BoxProposer, SeenFrames

_SURE, _NOTHING = 2.2, -9.0


class RedProposer(BoxProposer):
    """The cell in the middle of a red region tells its box, with a score of 0.9; all others tell nothing."""

    def __init__(self) -> None:
        super().__init__((3, 3, 4), width=8)

    def forward(self, seen: SeenFrames) -> tuple[Tensor, Tensor]:
        logits_1GG = torch.full((1, GRID, GRID), _NOTHING)
        boxes_1GG4 = torch.zeros(1, GRID, GRID, 4)
        red_hw = (seen.picture[0, 0] > 0.2) & (seen.picture[0, 1] < -0.3)
        regions, _ = ndimage.label(red_hw.numpy())
        for rows, columns in ndimage.find_objects(regions):
            y0, y1, x0, x1 = (
                side / PICTURE_PX for side in (rows.start, rows.stop, columns.start, columns.stop)
            )
            cell = 0, int((y0 + y1) / 2 * GRID), int((x0 + x1) / 2 * GRID)
            logits_1GG[cell] = _SURE
            boxes_1GG4[cell] = torch.tensor([x0, y0, x1, y1])
        return logits_1GG, boxes_1GG4
