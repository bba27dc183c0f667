"""How the camera moved between two pictures, from the still part of the scene."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.masks import Mask
from tubelet.model.tracking.exposure import FloatImage

Affine = NDArray[np.float64]
Grey = NDArray[np.uint8]

_MAX_NUM_POINTS = 200
_MIN_NUM_POINTS = 8
_MIN_INLIER_SHARE = 0.4
_INLIER_PX = 1.0
_STILL_PX = 0.5


def identity() -> Affine:
    """The (2, 3) matrix of a camera that did not move."""
    return np.eye(2, 3)


def to_grey(picture: FloatImage | NDArray[np.uint8]) -> Grey:
    """Brightness as 8 bit, (height, width)."""
    return np.asarray(np.rint(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)), np.uint8)


def estimate_step(before: Grey, after: Grey, still: Mask | None = None) -> Affine:
    """The similarity that takes points of the still scene in `before` to where `after` shows them.

    Corners are followed by pyramidal Lucas-Kanade, and a similarity is fitted by RANSAC.
    `still` marks pixels of `before` that may be used. The answer is the identity when the pictures hold
    too few corners, when most of them disagree, or when no corner of the picture moves by half a pixel.
    """
    height, width = before.shape
    if min(height, width) < 16:
        return identity()
    usable = None if still is None else still.astype(np.uint8)
    spacing = max(4.0, 0.02 * max(height, width))
    points = cv2.goodFeaturesToTrack(before, _MAX_NUM_POINTS, 0.01, spacing, mask=usable)
    if points is None or len(points) < _MIN_NUM_POINTS:
        return identity()
    there = np.zeros_like(points)
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, there, winSize=(15, 15), maxLevel=3)
    kept = found.ravel().astype(bool)
    if kept.sum() < _MIN_NUM_POINTS:
        return identity()
    matrix, inliers = cv2.estimateAffinePartial2D(
        points[kept], there[kept], method=cv2.RANSAC, ransacReprojThreshold=_INLIER_PX
    )
    if matrix is None or inliers.mean() < _MIN_INLIER_SHARE:
        return identity()
    return identity() if is_still(matrix, height, width) else np.asarray(matrix, np.float64)


def is_still(matrix: Affine, height: int, width: int) -> bool:
    """Whether the matrix moves every corner of the picture by less than half a pixel."""
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
    return bool(np.abs(corners @ matrix.T - corners[:, :2]).max() < _STILL_PX)


def chain(first: Affine, then: Affine) -> Affine:
    """The matrix that applies `first`, then `then`."""
    return np.asarray(then @ np.vstack([first, [0.0, 0.0, 1.0]]), np.float64)


def invert(matrix: Affine) -> Affine:
    """The matrix that undoes `matrix`."""
    return np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def move_points(matrix: Affine, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply the matrix to (num_points, 2)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def warp(picture: NDArray[np.float32], matrix: Affine) -> NDArray[np.float32]:
    """The picture as the moved camera sees it; what was out of view repeats the edge."""
    size = picture.shape[1::-1]
    moved = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
