"""What moves by itself before a moving camera: flow that the camera's movement does not explain."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.frame import Image
from tubelet.model.masks import Mask
from tubelet.model.tracking.camera import Affine, Grey, estimate_step, identity, invert, to_grey
from tubelet.model.tracking.foreground import fill_outlines
from tubelet.model.tracking.scene import Sight

_MIN_RESIDUE_PX = 1.5
_RESIDUE_SHARE = 0.2
_MAX_FOREGROUND_SHARE = 0.35
_GRID_PX = 8
_MIN_MISMATCH = 15
_MIN_PIECE_SHARE = 0.005
_NUM_FIT_ROUNDS = 6


class FlowScene:
    """A moving camera: dense optical flow (DIS) back to the previous picture, less a fitted affine flow.

    Objects are seen while they move against the scene. Near things that stand still move against a far
    scene too (parallax), and cannot be told apart here.
    """

    def __init__(self) -> None:
        self._grey: Grey | None = None
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def look(self, picture: Image, step_s: float) -> Sight:
        grey = to_grey(picture)
        before, self._grey = self._grey, grey
        even = picture.astype(np.float32)
        if before is None or min(grey.shape) < 2 * _GRID_PX:
            return Sight(np.zeros(grey.shape, bool), identity(), even)
        step = estimate_step(before, grey)
        flow = np.asarray(self._flow.calc(grey, before, np.zeros((*grey.shape, 2), np.float32)), np.float32)
        own, expected = _explain(flow, invert(step))
        limit = np.maximum(_MIN_RESIDUE_PX, _RESIDUE_SHARE * np.linalg.norm(expected, axis=2))
        moving = np.linalg.norm(own, axis=2) > limit
        foreground = fill_outlines(moving & _find_mismatch(before, grey, expected), moving)
        foreground = _drop_small(foreground)
        if foreground.mean() > _MAX_FOREGROUND_SHARE:
            foreground = np.zeros_like(foreground)
        return Sight(foreground, step, even)


def _drop_small(mask: Mask) -> Mask:
    """Drop pieces so small that they are parallax as likely as objects."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= _MIN_PIECE_SHARE * mask.size
    kept[0] = False
    return np.asarray(kept[labels], bool)


def _find_mismatch(before: Grey, grey: Grey, expected: NDArray[np.float32]) -> Mask:
    """Pixels that look otherwise than where the camera's movement says they come from.

    On plain ground flow is guesswork and any movement explains the picture: nothing is claimed there.
    """
    height, width = grey.shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    carried = cv2.remap(
        before,
        xs + expected[..., 0],
        ys + expected[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(cv2.blur(cv2.absdiff(carried, grey), (3, 3)) > _MIN_MISMATCH, bool)


def _explain(flow: NDArray[np.float32], start: Affine) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit an affine flow to most of the picture: what it leaves over, and the fit, both (h, w, 2).

    Reweighted least squares from the camera's step, so that objects do not pull the fit.
    """
    height, width = flow.shape[:2]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    places = np.stack([xs, ys, np.ones_like(xs)], axis=2)
    sample = np.s_[_GRID_PX // 2 :: _GRID_PX, _GRID_PX // 2 :: _GRID_PX]
    design, target = places[sample].reshape(-1, 3), flow[sample].reshape(-1, 2)
    fit = (start - np.eye(2, 3)).T.astype(np.float32)
    for _ in range(_NUM_FIT_ROUNDS):
        error = np.linalg.norm(target - design @ fit, axis=1)
        spread = max(0.3, 1.4826 * float(np.median(error)))
        weight = np.square(np.clip(1.0 - np.square(error / (3.0 * spread)), 0.0, 1.0))[:, None]
        normal = design.T @ (weight * design) + 1e-3 * np.eye(3, dtype=np.float32)
        fit = np.linalg.solve(normal, design.T @ (weight * target) + 1e-3 * fit).astype(np.float32)
    expected = places @ fit
    return flow - expected, expected
