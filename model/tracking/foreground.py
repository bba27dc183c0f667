"""Which pixels of a picture are not the background, nor its shadow.

A shadow keeps the colour and the texture of the ground and takes away part of its light (Horprasert et
al. 1999; Prati et al. 2003). Grey clothes before a white wall do the same to the colour, but bring edges of
their own; soft shadows have none. So shadow-like pixels count only where new edges fence them in.
"""

from __future__ import annotations

import cv2
import numpy as np

from tubelet.model.frame import Image
from tubelet.model.masks import Mask
from tubelet.model.tracking.exposure import FloatImage, reduce_max, reduce_sum

_MIN_DIFFERENCE = 10.0
_NOISE_FACTOR = 3.5
_SHAKE_PX = 0.6
_DOUBT_FACTOR = 1.5
_SHADOW_MIN_RATIO = 0.4
_GLOW_MAX_RATIO = 1.3
_SHADOW_MIN_TINT = 6.0
_SHADOW_TINT_SHARE = 0.08
_MIN_RIM_JUMP = 7.0
_MIN_MEAN_RIM_JUMP = 12.0
_STRONG = 2.0
_MIN_SHARP_SHARE = 0.4
_RIM_REACH_PX = 5
_MIN_STRONG_SHARE = 0.25
_MIN_EDGE = 14.0
_CLOSE_SHARE = 0.016
_MAX_HOLE_SHARE = 0.01


def measure_slope(picture: FloatImage) -> FloatImage:
    """Steepest change of brightness a pixel, (height, width): how much a small shake would alter it."""
    grey = reduce_sum(picture) / np.float32(3.0)
    slope_x = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    slope_y = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    return np.asarray(cv2.dilate(cv2.magnitude(slope_x, slope_y), np.ones((3, 3))), np.float32)


def tolerate(noise: FloatImage, slope: FloatImage, doubt: FloatImage) -> FloatImage:
    """The difference, in grey levels, that noise, a shake and a changed exposure explain at each pixel."""
    tolerance: FloatImage = np.maximum(
        _MIN_DIFFERENCE, _NOISE_FACTOR * noise + _SHAKE_PX * slope + _DOUBT_FACTOR * doubt
    )
    return tolerance


def find_foreground(picture: Image, expected: FloatImage, tolerance: FloatImage) -> Mask:
    """Pixels of `picture` that differ from `expected` by more than `tolerance` and are no shadow of it."""
    seen = picture.astype(np.float32)
    contrast = reduce_max(np.abs(seen - expected)) / tolerance
    changed = contrast > 1.0
    if not changed.any():
        return changed
    light = reduce_sum(expected * expected) + np.float32(1.0)
    level = np.sqrt(light / 3.0)
    ratio = reduce_sum(seen * expected) / light
    tint = reduce_max(np.abs(seen - ratio[..., None] * expected))
    shaded = (ratio > _SHADOW_MIN_RATIO) & (ratio < _GLOW_MAX_RATIO)
    shaded &= tint < np.maximum(_SHADOW_MIN_TINT, _SHADOW_TINT_SHARE * level)
    jump = _measure_jumps(ratio, level)
    sure = _drop_specks(changed & (~shaded | (jump > np.maximum(_MIN_EDGE, tolerance))))
    sure |= _find_plain_surfaces((contrast > _STRONG) & ~sure, sure, jump)
    return _keep_clear(fill_outlines(sure, changed), contrast > _STRONG, jump)


def _measure_jumps(ratio: FloatImage, level: FloatImage) -> FloatImage:
    """How steeply the share of light that is left changes, in grey levels over two pixels."""
    jump_x = cv2.Sobel(ratio, cv2.CV_32F, 1, 0, ksize=3, scale=0.25)
    jump_y = cv2.Sobel(ratio, cv2.CV_32F, 0, 1, ksize=3, scale=0.25)
    return np.asarray(cv2.magnitude(jump_x, jump_y) * level, np.float32)


def _find_plain_surfaces(candidates: Mask, sure: Mask, jump: FloatImage) -> Mask:
    """The shadow-like pieces that end sharply where the background begins, as light grey clothes do."""
    pieces = cv2.morphologyEx(candidates.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    num_pieces, labels = cv2.connectedComponents(pieces, connectivity=8)
    if num_pieces == 1:
        return np.zeros_like(sure)
    rim = np.where(sure | candidates, 0, cv2.dilate(labels.astype(np.float32), np.ones((3, 3)))).astype(int)
    length = np.bincount(rim.ravel(), minlength=num_pieces)
    total = np.bincount(rim.ravel(), jump.ravel(), minlength=num_pieces)
    num_sharp = np.bincount(rim.ravel(), jump.ravel() > _MIN_RIM_JUMP, minlength=num_pieces)
    sharp = (total >= _MIN_MEAN_RIM_JUMP * length) & (num_sharp >= _MIN_SHARP_SHARE * length)
    sharp[0] = False
    return np.asarray(sharp[labels], bool)


def _drop_specks(mask: Mask) -> Mask:
    """Remove pixels that fewer than half of their neighbours join, as noise does."""
    share = cv2.blur(mask.astype(np.float32), (3, 3), borderType=cv2.BORDER_REPLICATE)
    return mask & (share > 0.5)


def _close_gaps(mask: Mask) -> Mask:
    """Close gaps up to a small share of the picture's longer side."""
    reach = max(1, round(_CLOSE_SHARE * max(mask.shape)) // 2)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    margin = 2 * reach
    framed = np.pad(mask.astype(np.uint8), margin, mode="edge")
    closed = cv2.morphologyEx(framed, cv2.MORPH_CLOSE, kernel)
    return np.asarray(closed[margin:-margin, margin:-margin], bool)


def fill_outlines(mask: Mask, changed: Mask) -> Mask:
    """Close small gaps, then fill what is fenced in on all sides: small holes, and changed ones."""
    closed = _close_gaps(mask)
    num_holes, labels, stats, _ = cv2.connectedComponentsWithStats((~closed).astype(np.uint8), connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA]
    num_changed = np.bincount(labels[changed], minlength=num_holes)
    filled = (areas <= _MAX_HOLE_SHARE * mask.size) | (num_changed > 0.5 * areas)
    filled[0] = True
    return np.asarray(filled[labels], bool)


def _keep_clear(mask: Mask, strong: Mask, jump: FloatImage) -> Mask:
    """Drop connected pieces in which too few pixels stand out, or which fade out instead of ending."""
    num_pieces, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    num_strong = np.bincount(labels[strong], minlength=num_pieces)
    rim = np.where(mask, 0, cv2.dilate(labels.astype(np.float32), np.ones((3, 3)))).astype(int).ravel()
    sharp = cv2.dilate(jump, np.ones((_RIM_REACH_PX, _RIM_REACH_PX))).ravel() > _MIN_RIM_JUMP
    length = np.bincount(rim, minlength=num_pieces)
    num_sharp = np.bincount(rim, sharp, minlength=num_pieces)
    kept = (num_strong >= _MIN_STRONG_SHARE * stats[:, cv2.CC_STAT_AREA]) & (
        num_sharp >= _MIN_SHARP_SHARE * length
    )
    kept[0] = False
    return np.asarray(kept[labels], bool)
