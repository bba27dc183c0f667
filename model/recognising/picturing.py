"""From a crop to the picture that the classifier sees.

The object's box with a tenth of its longer side around it is stretched to a square. On the real clips that
docs/recognising.md names, stretching did as well as keeping the aspect on cars, dogs and bicycles, and better
on people, who otherwise fill a third of the picture.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.frame import Image
from tubelet.model.masks import Mask
from tubelet.model.recognising.base import Crop

CONTEXT_SHARE = 0.1
GREY = 127
_GROWTH_SHARE, _SOFTNESS_SHARE = 0.06, 0.02
_ALONE_MAX_COVER = 0.9

Picture = NDArray[np.float32]


def make_picture(crop: Crop, size_px: int, *, alone: bool) -> Picture:
    """A square picture of the object, (size_px, size_px, 3), values 0..255.

    `alone` greys what is outside the mask, softly and at a small distance, so that a neighbour inside the box
    is not taken for the object. A mask that fills its box is only a box, and nothing is greyed.
    """
    left, top, right, bottom = _grow_box(crop)
    pixels = crop.image[top:bottom, left:right].astype(np.float32)
    if alone and not _is_only_a_box(crop):
        share = _soften(crop.mask, _measure_longer_side(crop))[top:bottom, left:right, None]
        pixels = pixels * share + GREY * (1 - share)
    shrinks = min(pixels.shape[:2]) > size_px
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    picture = cv2.resize(pixels, (size_px, size_px), interpolation=method)
    return np.asarray(np.clip(picture, 0, 255), dtype=np.float32)


def cut_window(
    image: Image, centre: tuple[float, float], size: tuple[float, float], to: tuple[int, int]
) -> Image:
    """The part of `image` of `size` around `centre` (x, y), scaled to `to` (width, height).

    What is outside the image repeats its edge.
    """
    scale_x, scale_y = to[0] / size[0], to[1] / size[1]
    left, top = centre[0] - size[0] / 2, centre[1] - size[1] / 2
    matrix = np.array([[scale_x, 0.0, -left * scale_x], [0.0, scale_y, -top * scale_y]])
    window = cv2.warpAffine(image, matrix, to, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(window, dtype=np.uint8)


def _measure_longer_side(crop: Crop) -> float:
    return max(crop.box.width, crop.box.height, 1.0)


def _grow_box(crop: Crop) -> tuple[int, int, int, int]:
    """The box with its context, inside the image and at least one pixel wide and high."""
    height, width = crop.image.shape[:2]
    context = CONTEXT_SHARE * _measure_longer_side(crop)
    left = min(max(0, int(np.floor(crop.box.x0 - context))), width - 1)
    top = min(max(0, int(np.floor(crop.box.y0 - context))), height - 1)
    right = max(min(width, int(np.ceil(crop.box.x1 + context))), left + 1)
    bottom = max(min(height, int(np.ceil(crop.box.y1 + context))), top + 1)
    return left, top, right, bottom


def _is_only_a_box(crop: Crop) -> bool:
    rows, columns = np.flatnonzero(crop.mask.any(axis=1)), np.flatnonzero(crop.mask.any(axis=0))
    if not len(rows):
        return True
    inside = crop.mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return float(inside.mean()) >= _ALONE_MAX_COVER


def _soften(mask: Mask, longer_side: float) -> Picture:
    """How much of each pixel to keep, 0..1: the mask, grown a little, with a soft edge."""
    width = max(3, round(_GROWTH_SHARE * longer_side)) | 1
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((width, width), np.uint8)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), max(1.0, _SOFTNESS_SHARE * longer_side)), np.float32)
