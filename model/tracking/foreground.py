"""Which pixels of a picture are not the background, nor its shadow.

A shadow keeps the colour and the texture of the ground and takes away part of its light (Horprasert et
al. 1999; Prati et al. 2003). Grey clothes before a white wall do the same to the colour, but bring edges of
their own; soft shadows have none. So shadow-like pixels count only where new edges fence them in.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.frame import Image
from tubelet.model.masks import Mask
from tubelet.model.tracking.exposure import FloatImage

_MIN_DIFFERENCE = 10.0
_NOISE_FACTOR = 3.5
_SHAKE_PX = 0.6
_DOUBT_FACTOR = 0.6
_SHADOW_MIN_RATIO = 0.4
_SHADOW_MAX_RATIO = 1.0
_SHADOW_MAX_TINT = 8.0
_MIN_EDGE = 14.0
_CLOSE_SHARE = 0.016
_MAX_HOLE_SHARE = 0.01


def measure_slope(picture: FloatImage) -> FloatImage:
    """Steepest change of brightness a pixel, (height, width): how much a small shake would alter it."""
    grey = picture.mean(axis=2)
    slope_x = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    slope_y = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    slope: FloatImage = cv2.dilate(cv2.magnitude(slope_x, slope_y), np.ones((3, 3), np.uint8))
    return slope


def tolerate(noise: FloatImage, slope: FloatImage, doubt: FloatImage) -> FloatImage:
    """The difference, in grey levels, that noise, a shake and a changed exposure explain at each pixel."""
    tolerance: FloatImage = np.maximum(
        _MIN_DIFFERENCE, _NOISE_FACTOR * noise + _SHAKE_PX * slope + _DOUBT_FACTOR * doubt
    )
    return tolerance


def find_foreground(picture: Image, expected: FloatImage, tolerance: FloatImage) -> Mask:
    """Pixels of `picture` that differ from `expected` by more than `tolerance` and are no shadow of it."""
    seen = picture.astype(np.float32)
    changed = cv2.absdiff(seen, expected).max(axis=2) > tolerance
    if not changed.any():
        return changed
    light = np.einsum("ijk,ijk->ij", expected, expected) + 1.0
    ratio = np.einsum("ijk,ijk->ij", seen, expected) / light
    tint = cv2.absdiff(seen, ratio[..., None] * expected).max(axis=2)
    shaded = (ratio > _SHADOW_MIN_RATIO) & (ratio < _SHADOW_MAX_RATIO)
    shaded &= tint < np.maximum(_SHADOW_MAX_TINT, 0.5 * tolerance)
    sure = _drop_specks(changed & (~shaded | _find_new_edges(ratio, light, tolerance)))
    return _fill(sure)


def _find_new_edges(ratio: FloatImage, light: FloatImage, tolerance: FloatImage) -> Mask:
    """Pixels where the share of light that is left jumps, which a soft shadow's does not."""
    jump_x = cv2.Sobel(ratio, cv2.CV_32F, 1, 0, ksize=3, scale=0.25)
    jump_y = cv2.Sobel(ratio, cv2.CV_32F, 0, 1, ksize=3, scale=0.25)
    level = np.sqrt(light / 3.0)
    jump: NDArray[np.float32] = cv2.magnitude(jump_x, jump_y) * level
    return jump > np.maximum(_MIN_EDGE, tolerance)


def _drop_specks(mask: Mask) -> Mask:
    """Remove pixels that fewer than half of their neighbours join, as noise does."""
    share = cv2.blur(mask.astype(np.float32), (3, 3), borderType=cv2.BORDER_REPLICATE)
    return mask & (share > 0.5)


def _fill(mask: Mask) -> Mask:
    """Close gaps up to a small share of the picture and fill what is fenced in on all sides."""
    height, width = mask.shape
    reach = max(1, round(_CLOSE_SHARE * max(height, width)) // 2)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    framed = cv2.copyMakeBorder(mask.astype(np.uint8), *[2 * reach] * 4, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(framed, cv2.MORPH_CLOSE, kernel)[
        2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width
    ]
    num_holes, labels, stats, _ = cv2.connectedComponentsWithStats(1 - closed, connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA]
    small = areas <= _MAX_HOLE_SHARE * height * width
    small[0] = False
    filled: Mask = closed.astype(bool) | small[labels[:height, :width]]
    assert num_holes == len(small)
    return filled
