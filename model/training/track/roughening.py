"""Rough masks: what is left of an object's mask one frame later, for the network to set right.

Between two frames an object moves, turns, comes nearer, is half covered or seen whole again, and the mask
that was drawn of it was not exact to begin with. All of that is made up here, on single pictures.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.track.clips import Bytes

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_SHIFT, _MAX_SHIFT = 0.15, 0.45
_ZOOM, _TURN_DEG = 0.1, 6.0
_SQUEEZED, _CUT = 0.4, 0.25
"""How often a mask is made thinner or fatter, and how often a part of it is missing."""


def roughen(mask_SS: Bools, generator: np.random.Generator, grid: int) -> Floats:
    """The mask moved, turned, resized and worn, as shares of the cells of a (grid, grid) picture."""
    whole = mask_SS.astype(np.float32)
    rows, columns = np.flatnonzero(mask_SS.any(1)), np.flatnonzero(mask_SS.any(0))
    if len(rows) == 0:
        return np.zeros((grid, grid), np.float32)
    high, wide = float(rows[-1] + 1 - rows[0]), float(columns[-1] + 1 - columns[0])
    centre = (float(columns[0]) + wide / 2, float(rows[0]) + high / 2)
    turn = cv2.getRotationMatrix2D(
        centre, float(generator.normal(0, _TURN_DEG)), math.exp(float(generator.normal(0, _ZOOM)))
    )
    shift = generator.normal(0, _SHIFT, 2).clip(-_MAX_SHIFT, _MAX_SHIFT)
    turn = np.asarray(turn, np.float64)
    turn[:, 2] = turn[:, 2] + shift * (wide, high)
    side = mask_SS.shape[0]
    moved = np.asarray(cv2.warpAffine(whole, turn, (side, side)), np.float32)
    if generator.random() < _SQUEEZED:
        reach = max(1, round(float(generator.uniform(0.03, 0.15)) * min(high, wide)))
        kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        change = cv2.dilate if generator.random() < 0.5 else cv2.erode
        changed = np.asarray(change(moved, kernel), np.float32)
        moved = changed if changed.max() >= 0.5 else moved
    if generator.random() < _CUT:
        moved = _cut(moved, generator)
    return np.asarray(cv2.resize(moved, (grid, grid), interpolation=cv2.INTER_AREA), np.float32)


def misplace(labels_SS: Bytes, generator: np.random.Generator) -> Bools:
    """The mask of an object, at a place where no object is; empty where there is no room."""
    numbers = np.unique(labels_SS[labels_SS > 0])
    if len(numbers) == 0:
        return np.zeros(labels_SS.shape, bool)
    mask = labels_SS == generator.choice(numbers)
    for _ in range(8):
        shift = generator.integers(0, labels_SS.shape[0], 2)
        moved = np.roll(mask, tuple(shift.tolist()), (0, 1))
        if not (moved & (labels_SS > 0)).any():
            return np.asarray(moved)
    return np.zeros(labels_SS.shape, bool)


def _cut(mask: Floats, generator: np.random.Generator) -> Floats:
    """Without what lies on one side of a line through the object."""
    rows, columns = np.nonzero(mask > 0.5)
    if len(rows) == 0:
        return mask
    at = int(generator.integers(len(rows)))
    angle = generator.uniform(0, 2 * math.pi)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    kept = (x - columns[at]) * math.cos(angle) + (y - rows[at]) * math.sin(angle) <= 0
    rest: Floats = np.asarray(mask * kept, np.float32)
    return rest if (rest > 0.5).sum() >= 0.3 * len(rows) else mask
