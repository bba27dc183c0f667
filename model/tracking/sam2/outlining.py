"""Draws a mask anew by a close look at the picture around it.

A small network that sees a whole frame at 256 pixels outlines a thing of some dozen pixels badly: it takes a
shadow with it, leaves the wheels out, or spills onto the neighbour. This network sees nothing but the
surroundings of one mask, enlarged, with the mask itself as a hint and what the image encoder makes of the
place, and says which pixels belong to the thing that the mask means. That masks can be set right so, one
crop at a time and whatever made them, was shown by "CascadePSP" (Cheng et al., 2020); the network is a U-Net
(Ronneberger et al., 2015) with residual blocks.

Shapes: B masks, C channels, n a crop's side in cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tubelet.model.frame import Image
from tubelet.model.tracking.sam2.network import ImageFeatures
from tubelet.model.tracking.sam2.perceptron import read_module, write_weights

OUTLINER_FILE = "outliner.npz"
"""Beside a checkpoint's config.json; without it masks stay as the decoder and the flow have them."""

CELLS = 64
"""Side of the crop that is seen and drawn on."""

_MIDDLE_CELLS, _COARSE_CELLS = CELLS // 4, CELLS // 8
_ROOM = 2.0
"""Side of a window in lengths of its mask: a part of a thing may be all that is known of it."""
_LEFT_OUT = 0.03
"""Share of a mask beyond each side of what the window is laid around: specks far off do not count."""
_MIN_WINDOW = 0.06
"""Side of the smallest window, as a share of the frame's longer side."""
_SAMPLES = 2
"""Places looked at in each cell, along each side."""
_NOWHERE = -8.0
"""Logit outside the window."""
_PACKED = 2
"""Side of the blocks of cells that the network takes as one place with more channels: at its full side a
convolution costs most and gains least."""
_NUM_GROUPS = 8
_NUM_AT_ONCE = 16
"""Masks in one pass, which bounds the memory."""


class Crops(NamedTuple):
    """What masks are outlined by: the picture, -1..1 and 0 beyond its edge, the mask, -1..1, and which cells
    lie in the picture, 0..1, all (B, 3 or 1, CELLS, CELLS); the encoder's middle and coarse maps there."""

    picture: Tensor
    mask: Tensor
    inside: Tensor
    middle: Tensor
    coarse: Tensor


class _Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(num_in, num_out, 3, padding=1)
        self.norm = nn.GroupNorm(_NUM_GROUPS, num_out)
        self.second = nn.Conv2d(num_out, num_out, 3, padding=1)
        self.last_norm = nn.GroupNorm(_NUM_GROUPS, num_out)
        self.shortcut = nn.Identity() if num_in == num_out else nn.Conv2d(num_in, num_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.last_norm(self.second(F.gelu(self.norm(self.first(x)))))
        same: Tensor = self.shortcut(x)
        return same + changed


class MaskOutliner(nn.Module):
    """`middle` and `coarse` are the channels of the encoder's maps, `widths` those on grids of a half, a
    quarter and an eighth of the crop's side."""

    def __init__(self, middle: int, coarse: int, widths: tuple[int, int, int] = (48, 64, 96)) -> None:
        super().__init__()
        half, quarter, eighth = widths
        self.stem = nn.Conv2d(5 * _PACKED**2, half, 3, padding=1)
        self.down_half, self.down_quarter = _Block(half, half), _Block(half, quarter)
        self.down_eighth, self.bottom = _Block(quarter, eighth), _Block(eighth, eighth)
        self.middle, self.coarse = nn.Conv2d(middle, quarter, 1), nn.Conv2d(coarse, eighth, 1)
        self.up_quarter, self.up_half = _Block(eighth + quarter, quarter), _Block(quarter + half, half)
        self.head = nn.Conv2d(half, _PACKED**2, 1)

    def forward(self, crops: Crops) -> Tensor:
        """Logits of the cells, (B, CELLS, CELLS)."""
        seen = torch.cat([crops.picture, crops.mask, crops.inside], dim=1)
        half = self.down_half(self.stem(F.pixel_unshuffle(seen, _PACKED)))
        quarter = self.down_quarter(F.avg_pool2d(half, 2)) + self.middle(crops.middle)
        eighth = self.bottom(self.down_eighth(F.avg_pool2d(quarter, 2)) + self.coarse(crops.coarse))
        x = self.up_quarter(torch.cat([_double(eighth), quarter], dim=1))
        x = self.up_half(torch.cat([_double(x), half], dim=1))
        return F.pixel_shuffle(self.head(F.gelu(x)), _PACKED)[:, 0]


@torch.inference_mode()
def outline(
    outliner: MaskOutliner, features: ImageFeatures, picture_14HW: Tensor, masks_Bhw: Tensor
) -> Tensor:
    """Logits of boolean masks drawn anew, (B, h, w), on their own grid, which lies over the whole frame; the
    picture is one of `see_picture`.

    An empty mask stays empty. Works on the processor, whatever the features were computed on.
    """
    logits_Bhw = torch.full(masks_Bhw.shape, _NOWHERE)
    held = masks_Bhw.flatten(1).any(1).nonzero().flatten().cpu()
    for start in range(0, len(held), _NUM_AT_ONCE):
        rows = held[start : start + _NUM_AT_ONCE]
        masks_bhw = masks_Bhw[rows].cpu()
        windows_b4 = find_windows(masks_bhw, (picture_14HW.shape[2], picture_14HW.shape[3]))
        drawn_bnn = outliner(see_crops(features, picture_14HW, masks_bhw, windows_b4))
        logits_Bhw[rows] = paste(drawn_bnn, windows_b4, (masks_bhw.shape[1], masks_bhw.shape[2]))
    return logits_Bhw.to(masks_Bhw.device)


def find_windows(masks_Bhw: Tensor, size: tuple[int, int]) -> Tensor:
    """What to look at for each mask of a frame of this height and width: (x0, y0, x1, y1) as shares of the
    frame, (B, 4), square in its pixels, and beyond its edges where the mask is near one."""
    height, width = size
    scale_4 = torch.tensor([width, height, width, height], dtype=torch.float32)
    boxes_B4 = _find_most(masks_Bhw) * scale_4
    sides_B = (boxes_B4[:, 2:] - boxes_B4[:, :2]).amax(1) * _ROOM
    reach_B1 = sides_B.clamp(min=_MIN_WINDOW * max(size))[:, None] / 2
    middles_B2 = (boxes_B4[:, 2:] + boxes_B4[:, :2]) / 2
    return torch.cat([middles_B2 - reach_B1, middles_B2 + reach_B1], dim=1) / scale_4


def see_picture(image: Image) -> Tensor:
    """A frame as crops of it are taken, (1, 4, H, W): its colours, -1..1, and 1 where there is a picture."""
    colours = torch.tensor(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    return torch.cat([colours, torch.ones_like(colours[:, :1])], dim=1)


def see_crops(features: ImageFeatures, picture_14HW: Tensor, masks_Bhw: Tensor, windows_B4: Tensor) -> Crops:
    """The windows as the network takes them. The picture is one of `see_picture`."""
    seen = crop_map(picture_14HW, windows_B4, CELLS, _SAMPLES)
    return Crops(
        picture=seen[:, :3],
        mask=2 * crop_each(masks_Bhw.float(), windows_B4)[:, None] - 1,
        inside=seen[:, 3:],
        middle=crop_map(features.middle.float().cpu(), windows_B4, _MIDDLE_CELLS),
        coarse=crop_map(features.coarse_1CHW.float().cpu(), windows_B4, _COARSE_CELLS),
    )


def crop_map(map_1CHW: Tensor, windows_B4: Tensor, cells: int, samples: int = 1) -> Tensor:
    """One map in each window, (B, C, cells, cells): the mean of `samples` x `samples` places in each cell,
    0 beyond the map's edges."""
    side = cells * samples
    x_BS, y_BS = _place_cells(windows_B4, side)
    x_BSS, y_BSS = x_BS[:, None].expand(-1, side, -1), y_BS[:, :, None].expand(-1, -1, side)
    places_BSS2 = torch.stack([x_BSS, y_BSS], dim=-1) * 2 - 1
    places_1NS2 = places_BSS2.reshape(1, -1, side, 2)
    sampled_CNS = F.grid_sample(map_1CHW, places_1NS2, align_corners=False)[0]
    sampled_BCSS = sampled_CNS.view(-1, len(windows_B4), side, side).transpose(0, 1)
    return F.avg_pool2d(sampled_BCSS, samples)


def crop_each(masks_Bhw: Tensor, windows_B4: Tensor) -> Tensor:
    """Each mask in its own window, shares of the cells, (B, CELLS, CELLS): as `crop_map` would."""
    height, width = masks_Bhw.shape[1:]
    x_BS, y_BS = _place_cells(windows_B4, CELLS * _SAMPLES)
    across, down = (
        _interpolate(places_BS * count - 0.5, count).view(-1, CELLS, _SAMPLES, count).mean(2)
        for places_BS, count in ((x_BS, width), (y_BS, height))
    )
    return down @ masks_Bhw @ across.mT


def paste(logits_Bnn: Tensor, windows_B4: Tensor, size: tuple[int, int]) -> Tensor:
    """What was drawn in windows on a grid of this height and width over the whole frame."""
    weights, inside = [], []
    for axis, count in ((1, size[0]), (0, size[1])):
        low_B1, high_B1 = windows_B4[:, axis, None], windows_B4[:, axis + 2, None]
        middles_S = (torch.arange(count) + 0.5) / count
        places_BS = (middles_S - low_B1) / (high_B1 - low_B1) * CELLS - 0.5
        weights.append(_interpolate(places_BS.clamp(0, CELLS - 1), CELLS))
        inside.append((middles_S >= low_B1) & (middles_S <= high_B1))
    (down, across), (is_row, is_column) = weights, inside
    is_inside_Bhw = is_row[:, :, None] & is_column[:, None]
    return torch.where(is_inside_Bhw, down @ logits_Bnn @ across.mT, _NOWHERE)


def read_outliner(folder: Path) -> MaskOutliner | None:
    """The outliner in a checkpoint's folder, or None. Raises ModelError for a damaged file."""

    def build(weights: Mapping[str, Tensor]) -> MaskOutliner:
        blocks = ("down_half", "down_quarter", "down_eighth")
        half, quarter, eighth = (len(weights[f"{block}.norm.weight"]) for block in blocks)
        middle, coarse = (weights[f"{part}.weight"].shape[1] for part in ("middle", "coarse"))
        return MaskOutliner(middle, coarse, (half, quarter, eighth))

    return read_module(folder / OUTLINER_FILE, build, kind="an outliner")


def write_outliner(file: Path, outliner: MaskOutliner) -> None:
    """Write weights as float16, as `read_outliner` reads them."""
    write_weights(file, outliner.state_dict())


def _find_most(masks_Bhw: Tensor) -> Tensor:
    """Boxes around most of each mask, as shares of the frame, (B, 4)."""
    sides = []
    for axis in (1, 2):  # how many cells each column holds, then each row
        share_BN = masks_Bhw.float().sum(axis).cumsum(1)
        share_BN = share_BN / share_BN[:, -1:].clamp(min=1)
        first_B, last_B = (share_BN < _LEFT_OUT).sum(1), (share_BN < 1 - _LEFT_OUT).sum(1) + 1
        sides.append((first_B / share_BN.shape[1], last_B / share_BN.shape[1]))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], dim=1)


def _place_cells(windows_B4: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Where the middles of the cells of a square grid in each window lie, x and y as shares of the frame,
    both (B, S)."""
    middles_S = (torch.arange(side) + 0.5) / side
    low_B2, high_B2 = windows_B4[:, :2], windows_B4[:, 2:]
    x_BS, y_BS = (low_B2[:, :, None] + (high_B2 - low_B2)[:, :, None] * middles_S).unbind(1)
    return x_BS, y_BS


def _interpolate(places_BS: Tensor, count: int) -> Tensor:
    """How much of each of `count` cells in a row is seen at places between their middles, (B, S, count):
    linear interpolation, 0 beyond both ends."""
    return (1 - (places_BS[:, :, None] - torch.arange(count)).abs()).clamp(min=0)


def _double(map_BCHW: Tensor) -> Tensor:
    return F.interpolate(map_BCHW, scale_factor=2, mode="bilinear", align_corners=False)
