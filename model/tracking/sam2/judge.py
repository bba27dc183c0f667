"""Says of any mask how well it outlines one object, from what the image encoder sees inside and around it.

The mask decoder guesses the IoU of its own masks only, and a small one guesses badly: at a point on the
background it is as sure of the ground as of a car. This judge is asked about masks from anywhere, so that
what the decoder proposes and what the flow carried can be compared. It is a perceptron on a mask's shape and
on the means and spreads of the image features inside it and of a ring around it, taught the true IoU.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tubelet.model.frame import Image
from tubelet.model.tracking.sam2.network import ImageFeatures
from tubelet.model.tracking.sam2.perceptron import Perceptron, read_weights

JUDGE_FILE = "judge.npz"
"""Beside a checkpoint's config.json; a checkpoint without it judges its masks by the decoder's own scores."""

GRID = 64
"""Side of the grid that masks are judged on."""

NUM_SHAPES = 10
"""How many numbers of a mask tell its size, place and shape."""

_RING_CELLS = 3
_NUM_AT_ONCE = 128


class MaskJudge(Perceptron):
    """A perceptron on what `measure_masks` says of masks."""

    def judge(self, measured_BX: Tensor) -> Tensor:
        """The guessed IoU of each mask with the object it lies on, (B,)."""
        return self.run(self.even_out(measured_BX))


def fit_grid(masks_Bhw: Tensor) -> Tensor:
    """Masks on the judge's grid, (B, GRID, GRID), boolean: cells at least half inside."""
    shares_Bhw = masks_Bhw.float().cpu()
    if shares_Bhw.shape[1:] != (GRID, GRID):
        shares_Bhw = F.interpolate(shares_Bhw[:, None], size=(GRID, GRID), mode="area")[:, 0]
    return shares_Bhw >= 0.5


def flatten_features(features: ImageFeatures, image: Image) -> Tensor:
    """What a mask is judged by, on one grid, (C, GRID * GRID): features, then red, green and blue."""
    colours = torch.tensor(image).permute(2, 0, 1)[None].float() / 255
    maps = [
        F.interpolate(part.float().cpu(), size=GRID, mode="bilinear")
        for part in (features.fine, features.middle, features.coarse_1CHW)
    ]
    maps.append(F.interpolate(colours, size=GRID, mode="area"))
    return torch.cat(maps, dim=1)[0].flatten(1)


def measure_masks(maps_CN: Tensor, masks_Bhw: Tensor) -> Tensor:
    """What is known of each mask, (B, 3 C + NUM_SHAPES), on the processor.

    Means inside, means of a ring around it, spreads inside; then its size (the logarithm of its share),
    centre, width, height, how much of its box it fills, and how much of each side of the picture it touches.
    `maps_CN` is what `flatten_features` makes of the frame.
    """
    if not len(masks_Bhw):
        return torch.zeros(0, 3 * len(maps_CN) + NUM_SHAPES)
    return torch.cat([_measure(maps_CN, part) for part in torch.split(masks_Bhw, _NUM_AT_ONCE)])


def _measure(maps_CN: Tensor, masks_Bhw: Tensor) -> Tensor:
    masks_Bhw = fit_grid(masks_Bhw)
    solid_Bhw = masks_Bhw.float()
    ring_Bhw = F.max_pool2d(solid_Bhw[:, None], 2 * _RING_CELLS + 1, 1, _RING_CELLS)[:, 0] - solid_Bhw
    inside_BC, ring_BC, square_BC = (
        _average(weights, maps)
        for weights, maps in ((solid_Bhw, maps_CN), (ring_Bhw, maps_CN), (solid_Bhw, maps_CN.square()))
    )
    spread_BC = (square_BC - inside_BC.square()).clamp(min=0).sqrt()
    return torch.cat([inside_BC, ring_BC, spread_BC, _measure_shape(masks_Bhw)], dim=1)


def read_judge(folder: Path) -> MaskJudge | None:
    """The judge in a checkpoint's folder, or None. Raises ModelError for a damaged file."""
    weights = read_weights(folder / JUDGE_FILE)
    return None if weights is None else MaskJudge(weights)


def _average(weights_Bhw: Tensor, maps_CN: Tensor) -> Tensor:
    weights_BN = weights_Bhw.flatten(1)
    return weights_BN @ maps_CN.T / weights_BN.sum(1, keepdim=True).clamp(min=1)


def _measure_shape(masks_Bhw: Tensor) -> Tensor:
    places = (torch.arange(GRID) + 0.5) / GRID
    solid_Bhw = masks_Bhw.float()
    share_B = solid_Bhw.mean((1, 2))
    area_B = solid_Bhw.sum((1, 2)).clamp(min=1)
    y_B, x_B = (solid_Bhw.sum(2) @ places) / area_B, (solid_Bhw.sum(1) @ places) / area_B
    width_B, height_B = masks_Bhw.any(1).float().mean(1), masks_Bhw.any(2).float().mean(1)
    filled_B = share_B / (width_B * height_B).clamp(min=1e-3)
    edges = (solid_Bhw[:, 0], solid_Bhw[:, -1], solid_Bhw[:, :, 0], solid_Bhw[:, :, -1])
    touched = [edge.mean(1) for edge in edges]
    return torch.stack([(share_B + 1e-4).log(), y_B, x_B, width_B, height_B, filled_B, *touched], dim=1)
