"""An object's pixels as a small grid of averaged cells in OKLab, where colours are measured.

OKLab (Ottosson 2020, https://bottosson.github.io/posts/oklab/) is the cube root of cone-like responses, so a
change of exposure by a factor scales L, a and b alike: hue and saturation C / L stay as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.frame import Image
from tubelet.model.masks import Mask

Array = NDArray[np.float64]

_GRID_CELLS = 32
"""Cells along the object's longer side: a knit averages to one colour, a stripe of a tenth survives."""

_PIXELS_A_CELL = 4
"""Larger pictures are shrunk to this first: it costs nothing in colour and saves most of the time."""

_EDGE_SHARE = 0.04
"""How much of the object's size (square root of its area) is peeled off the mask's edge."""

_MIN_COVER = 0.5
"""A cell counts when at least this share of it is inside the (peeled) mask, or outside the whole one."""

_LINEAR_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_CONES_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@dataclass(frozen=True, slots=True)
class Cells:
    """An object's colours: `lab` (n, 3) OKLab, `height` (n) 0 at the mask's top and 1 at its bottom.

    `around` (m, 3) holds the cells of the picture outside the mask; m may be 0.
    """

    lab: Array
    height: Array
    around: Array


def measure_cells(image: Image, mask: Mask) -> Cells:
    """Average an object's light over a grid. `image` is (h, w, 3) sRGB, `mask` (h, w) of the same size."""
    if image.ndim != 3 or image.shape[2] != 3 or mask.shape != image.shape[:2]:
        raise ValueError(f"image {image.shape} and mask {mask.shape} must be (h, w, 3) and (h, w)")
    if not mask.any():
        raise ValueError("the mask is empty; expected at least one pixel of the object")
    image, mask = _shrink(image, mask, _PIXELS_A_CELL * _GRID_CELLS)
    rows = np.flatnonzero(mask.any(axis=1))
    scale = min(1.0, _GRID_CELLS / _measure_longer_side(mask))
    size = _scale_size(image, scale)
    light = decode_srgb(image).astype(np.float32)
    inside_lab, inside_row = _average_cells(light, _peel_edge(mask), size)
    around_lab, _ = _average_cells(light, ~_grow_edge(mask), size)
    top, bottom = rows[0] * scale, (rows[-1] + 1) * scale
    height = np.clip((inside_row + 0.5 - top) / max(bottom - top, 1e-6), 0, 1)
    return Cells(lab=inside_lab, height=height, around=around_lab)


def _shrink(image: Image, mask: Mask, longest: int) -> tuple[Image, Mask]:
    """Picture and mask so small that the object's longer side is at most `longest` pixels."""
    scale = longest / _measure_longer_side(mask)
    if scale >= 1:
        return image, mask
    size = _scale_size(image, scale)
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, share >= min(_MIN_COVER, float(share.max()))


def _measure_longer_side(mask: Mask) -> int:
    """Pixels along the longer side of the mask's bounding box."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1


def _scale_size(image: Image, scale: float) -> tuple[int, int]:
    """Width and height of the scaled picture, at least one pixel each."""
    return max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))


def decode_srgb(image: Image) -> Array:
    """Linear light 0..1 of 8-bit sRGB (IEC 61966-2-1)."""
    return _SRGB_TABLE[image]


def convert_to_oklab(light: NDArray[np.floating]) -> Array:
    """OKLab of linear sRGB, (..., 3) to (..., 3): L is 0..1, a and b about -0.4..0.4."""
    lab: Array = np.cbrt(light @ _LINEAR_TO_CONES.T) @ _CONES_TO_LAB.T
    return lab


def _average_cells(light: NDArray[np.float32], cover: Mask, size: tuple[int, int]) -> tuple[Array, Array]:
    """OKLab (n, 3) and row (n) of the cells that `cover` fills enough; the fullest ones if none does."""
    weight = cover.astype(np.float32)
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(light * weight[..., None], size, interpolation=cv2.INTER_AREA)
    kept = share >= min(_MIN_COVER, float(share.max()))
    kept &= share > 0
    mean = np.clip(total[kept] / share[kept][:, None], 0, 1)
    return convert_to_oklab(mean.astype(np.float64)), np.nonzero(kept)[0].astype(np.float64)


def _peel_edge(mask: Mask) -> Mask:
    """The mask without its edge, where pixels mix with the background; the whole mask when little is left."""
    radius = round(_EDGE_SHARE * float(np.sqrt(mask.sum())))
    if radius < 1:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # Outside the crop is not "background": an object that the frame cuts keeps its cut side.
    peeled: Mask = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE) > 0
    return peeled if peeled.sum() >= 0.3 * mask.sum() else mask


def _grow_edge(mask: Mask) -> Mask:
    radius = max(1, round(_EDGE_SHARE * float(np.sqrt(mask.sum()))))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    grown: Mask = cv2.dilate(mask.astype(np.uint8), kernel) > 0
    return grown


def _make_srgb_table() -> Array:
    code = np.arange(256) / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


_SRGB_TABLE = _make_srgb_table()
