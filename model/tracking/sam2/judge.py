"""Says of any mask how well it outlines one object, from what the image encoder sees inside and around it.

The mask decoder guesses the IoU of its own masks only, and a small one guesses badly: at a point on the
background it is as sure of the ground as of a car. This judge is asked about masks from anywhere, so that
what the decoder proposes and what the flow carried can be compared. It is a perceptron on a mask's shape and
on the means and spreads of the image features inside it and of a ring around it, taught the true IoU.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tubelet.errors import ModelError
from tubelet.model.frame import Image
from tubelet.model.tracking.sam2.network import ImageFeatures

JUDGE_FILE = "judge.npz"
"""Beside a checkpoint's config.json; a checkpoint without it judges its masks by the decoder's own scores."""

GRID = 64
"""Side of the grid that masks are judged on."""

_RING_CELLS = 3
_MAX_DEVIATION = 6.0
_NUM_AT_ONCE = 128
_LAYERS = ("first", "second", "last")


class MaskJudge:
    """A perceptron of three layers. `weights` are `mean`, `scale`, and `weight` and `bias` of each layer.

    Raises ModelError where one is missing.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        needed = {"mean", "scale", *(f"{layer}.{part}" for layer in _LAYERS for part in ("weight", "bias"))}
        if weights.keys() != needed:
            raise ModelError(
                f"A judge of masks holds {', '.join(sorted(weights))}",
                expected=", ".join(sorted(needed)),
                do="train it again: tubelet train track",
            )
        self._weights = {name: tensor.float() for name, tensor in weights.items()}

    def judge(self, maps_CN: Tensor, masks_Bhw: Tensor) -> Tensor:
        """The guessed IoU of each mask with the object it lies on, (B,). It works on the processor.

        `maps_CN` is what `flatten_features` makes of the frame.
        """
        if not len(masks_Bhw):
            return torch.zeros(0, device=masks_Bhw.device)
        parts = torch.split(masks_Bhw, _NUM_AT_ONCE)
        judged_B = torch.cat([self.answer(measure_masks(maps_CN, part)) for part in parts])
        return judged_B.to(masks_Bhw.device)

    def answer(self, measured_BX: Tensor) -> Tensor:
        """The guessed IoU of masks, (B,), by what `measure_masks` says of them."""
        weights = self._weights
        hidden = even_out(measured_BX, weights["mean"], weights["scale"])
        for layer in _LAYERS[:-1]:
            hidden = F.relu(F.linear(hidden, weights[f"{layer}.weight"], weights[f"{layer}.bias"]))
        return F.linear(hidden, weights["last.weight"], weights["last.bias"])[:, 0].sigmoid()


def even_out(measured_BX: Tensor, mean_X: Tensor, scale_X: Tensor) -> Tensor:
    """Measures as the perceptron takes them: in deviations from the mean, cut where they are far out."""
    return ((measured_BX - mean_X) / scale_X).clamp(-_MAX_DEVIATION, _MAX_DEVIATION)


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
    """What is known of each mask, (B, 3 C + 10).

    Means inside, means of a ring around it, spreads inside; then its size (the logarithm of its share),
    centre, width, height, how much of its box it fills, and how much of each side of the picture it touches.
    """
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
    file = folder / JUDGE_FILE
    if not file.exists():
        return None
    try:
        with np.load(file) as arrays:
            weights = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{file} cannot be read: {error}", expected="the weights of a judge", do="fetch the file again"
        ) from error
    return MaskJudge(weights)


def write_judge(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a judge's weights as float16 into a checkpoint's folder, as `read_judge` reads them."""
    arrays: dict[str, Any] = {name: tensor.half().numpy() for name, tensor in weights.items()}
    np.savez(folder / JUDGE_FILE, **arrays)


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
