"""How the camera moved between two pictures, from the still part of the scene."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.masks import Mask
from tubelet.model.tracking.exposure import FloatImage

Affine = NDArray[np.float64]
Grey = NDArray[np.uint8]

_CELLS_A_SIDE = 12
"""The longer side of a picture is cut into so many square cells."""

_CORNERS_A_CELL = 3
_MIN_CORNER = 1e-3
"""As a share of the best corner's strength: plain ground has only weak ones, and is most of what is still."""

_MIN_DISTANCE_PX = 5
_MAX_NUM_CORNERS = 1500
_MIN_NUM_POINTS = 8
_MIN_INLIER_SHARE = 0.15
_MAX_NUM_SHAKEN, _MIN_SHAKEN_SHARE = 200, 0.4
"""A fixed camera's shake is told by at most so many corners, if such a share of them agree."""

_INLIER_PX = 1.0
_MAX_RETURN_PX = 1.0
"""A corner that is followed there and back, and arrives farther off, was lost."""

_NUM_FIT_ROUNDS = 8
_STILL_PX = 0.5
_STILL_SHARE = 0.5
"""From so many still corners for each that moves with the most, the camera stands and objects move."""

_TRAVEL_SHARE = 0.5
_MIN_TRAVEL = 0.03
"""A camera travels that moves in such a share of the steps, and by so many of the picture's longer sides."""

_CLEARLY_LESS = 0.6
_MIN_EXPLAINED = 0.15
"""Of squared differences of brightness in a cell, and in how many more cells they have to be so much less."""


def identity() -> Affine:
    """The (2, 3) matrix of a camera that did not move."""
    return np.eye(2, 3)


def to_grey(picture: FloatImage | NDArray[np.uint8]) -> Grey:
    """Brightness as 8 bit, (height, width)."""
    return np.asarray(np.rint(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)), np.uint8)


def estimate_step(before: Grey, after: Grey, still: Mask | None = None) -> Affine:
    """The affine map that takes points of the still scene in `before` to where `after` shows them.

    Corners from all over the picture are followed by pyramidal Lucas-Kanade, there and back. RANSAC fits a
    similarity, so that the most of them that move as one decide, whatever moves otherwise; an affine map is
    fitted to these by reweighted least squares, since ground that is seen aslant is sheared as one turns.
    `still` marks pixels of `before` that may be used. The answer is the identity when the pictures hold
    too few corners, when most of them disagree or many stand still, or when no corner of the picture moves
    by half a pixel.
    """
    height, width = before.shape
    if min(height, width) < 16:
        return identity()
    points_n2 = _find_corners(before, still)
    if len(points_n2) >= _MIN_NUM_POINTS:
        points_n2, there_n2 = _follow(before, after, points_n2)
    if len(points_n2) < _MIN_NUM_POINTS:
        return identity()
    matrix, inliers = cv2.estimateAffinePartial2D(
        points_n2, there_n2, method=cv2.RANSAC, ransacReprojThreshold=_INLIER_PX
    )
    if matrix is None or inliers.sum() < max(_MIN_NUM_POINTS, _MIN_INLIER_SHARE * len(points_n2)):
        return identity()
    num_still = (np.linalg.norm(there_n2 - points_n2, axis=1) < _STILL_PX).sum()
    if num_still >= _STILL_SHARE * inliers.sum() or is_still(np.asarray(matrix), height, width):
        return identity()
    fitted = _fit_affine(points_n2, there_n2, np.asarray(matrix, np.float64))
    return identity() if is_still(fitted, height, width) else fitted


def estimate_shake(before: Grey, after: Grey) -> Affine:
    """The similarity by which a fixed camera has moved from `before` to `after`.

    Most of what it sees stands still, so the best corners of the picture must agree. The answer is the
    identity when the pictures hold too few corners, when most of them disagree, or when no corner of the
    picture moves by half a pixel.
    """
    height, width = before.shape
    if min(height, width) < 16:
        return identity()
    spacing = max(4.0, 0.02 * max(height, width))
    corners = cv2.goodFeaturesToTrack(before, _MAX_NUM_SHAKEN, 0.01, spacing)
    if corners is None or len(corners) < _MIN_NUM_POINTS:
        return identity()
    points_n2 = np.asarray(corners.reshape(-1, 2), np.float32)
    there_n2, kept = _seek(before, after, points_n2)
    if kept.sum() < _MIN_NUM_POINTS:
        return identity()
    matrix, inliers = cv2.estimateAffinePartial2D(
        points_n2[kept], there_n2[kept], method=cv2.RANSAC, ransacReprojThreshold=_INLIER_PX
    )
    if matrix is None or inliers.mean() < _MIN_SHAKEN_SHARE:
        return identity()
    similarity = np.asarray(matrix, np.float64)
    return identity() if is_still(similarity, height, width) else similarity


def has_travelled(pictures: Sequence[Grey]) -> bool:
    """Whether pictures in time order are a camera's that turns or goes on, not one's that stands or shakes.

    It is seen where pictures follow one another closely enough for corners to be found again.
    """
    height, width = pictures[0].shape
    middle_12 = np.array([[width / 2, height / 2]])
    num_steps = len(pictures) - 1
    num_still, so_far, farthest_px = 0, identity(), 0.0
    for before, after in pairwise(pictures):
        step = estimate_step(before, after)
        if is_still(step, height, width) or not _explains(step, before, after):
            num_still += 1
            if num_still > (1 - _TRAVEL_SHARE) * num_steps:
                return False
            continue
        so_far = chain(so_far, step)
        moved_px = float(np.linalg.norm(move_points(so_far, middle_12) - middle_12))
        farthest_px = max(farthest_px, moved_px)
    return bool(farthest_px >= _MIN_TRAVEL * max(height, width))


def _explains(step: Affine, before: Grey, after: Grey) -> bool:
    """Whether a picture that was moved so is more like the next one than it was, in clearly more cells than
    it is less like it: before plain ground a step may be that of the one object with corners, or noise's."""
    height, width = before.shape
    here, there = before.astype(np.float32), after.astype(np.float32)
    cell_px = max(height, width) / _CELLS_A_SIDE
    cells = max(1, round(width / cell_px)), max(1, round(height / cell_px))
    stood, moved = (
        cv2.resize(np.square(there - picture), cells, interpolation=cv2.INTER_AREA)
        for picture in (here, warp(here, step))
    )
    is_better, is_worse = moved < _CLEARLY_LESS * stood, stood < _CLEARLY_LESS * moved
    return bool(is_better.mean() - is_worse.mean() >= _MIN_EXPLAINED)


def _find_corners(grey: Grey, still: Mask | None) -> NDArray[np.float32]:
    """The best corners of each cell of the picture: (n, 2)."""
    usable = None if still is None else still.astype(np.uint8)
    corners = cv2.goodFeaturesToTrack(grey, _MAX_NUM_CORNERS, _MIN_CORNER, _MIN_DISTANCE_PX, mask=usable)
    if corners is None:
        return np.zeros((0, 2), np.float32)
    corners_n2 = corners.reshape(-1, 2)
    columns, rows = (corners_n2 * _CELLS_A_SIDE / max(grey.shape)).astype(int).T
    cells = rows * _CELLS_A_SIDE + columns
    order = np.argsort(cells, kind="stable")  # within a cell the best stay first
    ranks = np.arange(len(order)) - np.searchsorted(cells[order], cells[order])
    return np.asarray(corners_n2[order[ranks < _CORNERS_A_CELL]], np.float32)


def _follow(
    before: Grey, after: Grey, points_n2: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Those of the points that are found in the other picture and lead back from there, and where."""
    there_n2, found = _seek(before, after, points_n2)
    back_n2, found_back = _seek(after, before, there_n2)
    kept = found & found_back & (np.linalg.norm(back_n2 - points_n2, axis=1) < _MAX_RETURN_PX)
    return points_n2[kept], there_n2[kept]


def _seek(
    first: Grey, then: Grey, points_n2: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where Lucas-Kanade finds the points of the first picture in the other, and which it finds."""
    there_n2, found, _ = cv2.calcOpticalFlowPyrLK(
        first, then, points_n2, np.zeros_like(points_n2), winSize=(15, 15), maxLevel=3
    )
    return np.asarray(there_n2, np.float32), found.ravel().astype(bool)


def _fit_affine(points_n2: NDArray[np.float32], there_n2: NDArray[np.float32], start: Affine) -> Affine:
    """Reweighted least squares with Cauchy's weights of one inlier's width, from a first guess."""
    flat_n3 = np.column_stack([points_n2, np.ones(len(points_n2))])
    matrix_32 = start.T
    for _ in range(_NUM_FIT_ROUNDS):
        misses_n = np.linalg.norm(flat_n3 @ matrix_32 - there_n2, axis=1)
        weights_n1 = (1 / (1 + (misses_n / _INLIER_PX) ** 2))[:, None]
        matrix_32, *_ = np.linalg.lstsq(flat_n3 * weights_n1, there_n2 * weights_n1, rcond=None)
    return np.asarray(matrix_32.T, np.float64)


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
