"""Paths as a tracker gives them: boxes that are off for a while, objects half hidden, a camera misjudged.

How large the errors are was measured on tracks of `sam2-small` in rendered clips (docs/training-describe.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tubelet.records import CameraStep

SIZE_SPREAD = 0.06
"""Standard deviation of how much too large or small all boxes of an object are, as a share of its side."""

SIDE_SPREAD = 0.04
"""The same for each side by itself: a mask that leaves out a roof does so in every frame."""

JITTER = 0.01
"""Of each side in each frame, whatever it was in the frame before."""

DRIFT, DRIFT_SPREAD, DRIFT_MEMORY = 0.03, 0.8, 0.6
"""Of a side that is off for some frames: the median over objects, the standard deviation of its logarithm,
and the correlation from one frame to the next. Most objects are followed well, and some badly."""

HIDDEN_SHARE = 0.25
"""How many objects are partly hidden for a while, by 0.2 to 0.5 of their side."""

CAMERA, CAMERA_SPREAD, CAMERA_MEMORY = 0.0008, 1.0, 0.3
"""Of a camera's step, in widths of the frame, as of a side's drift."""

CAMERA_BEND = 1.5
"""How much the error changes over the frame's width, as a multiple of the error at its middle."""

_MIN_HIDDEN_FRAMES = 5


def spoil_boxes(
    boxes_N4: NDArray[np.float32], frame_size: tuple[int, int], generator: np.random.Generator
) -> NDArray[np.float64]:
    """The boxes (N, 4) of one object as a tracker's masks would give them, inside the frame."""
    boxes = boxes_N4.astype(np.float64)
    sides_N4 = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    grown_4 = np.array([-1.0, -1.0, 1.0, 1.0]) * generator.normal(0, SIZE_SPREAD) / 2
    drift = DRIFT * np.exp(generator.normal(0, DRIFT_SPREAD))
    off_N4 = generator.normal(0, JITTER, boxes.shape) + drift * _wander(boxes.shape, DRIFT_MEMORY, generator)
    boxes += sides_N4 * (grown_4 + generator.normal(0, SIDE_SPREAD, 4) + off_N4)
    if len(boxes) >= _MIN_HIDDEN_FRAMES and generator.random() < HIDDEN_SHARE:
        _hide(boxes, sides_N4, generator)
    boxes = np.clip(boxes, 0, np.tile(np.array(frame_size, np.float64), 2))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    return boxes


def spoil_camera(
    camera: Sequence[CameraStep], frame_size: tuple[int, int], generator: np.random.Generator
) -> tuple[CameraStep, ...]:
    """The steps of a camera as they would be estimated. One that stands is known to stand."""
    width, height = frame_size
    size = CAMERA * np.exp(generator.normal(0, CAMERA_SPREAD))
    spoilt = []
    for step, error_6 in zip(camera, size * _wander((len(camera), 6), CAMERA_MEMORY, generator), strict=True):
        bend_22 = error_6[:4].reshape(2, 2) * CAMERA_BEND
        middle_2 = width * error_6[4:] - bend_22 @ (width / 2, height / 2)
        matrix_23 = np.array(step.matrix).reshape(2, 3) + np.column_stack([bend_22, middle_2])
        a, b, c, d, e, f = matrix_23.ravel().tolist()
        spoilt.append(replace(step, matrix=(a, b, c, d, e, f)))
    return tuple(spoilt)


def _hide(
    boxes_N4: NDArray[np.float64], sides_N4: NDArray[np.float64], generator: np.random.Generator
) -> None:
    """Push one side inwards for some frames, in place."""
    start = int(generator.integers(0, len(boxes_N4) - 2))
    end = start + int(generator.integers(2, max(3, len(boxes_N4) // 2)))
    side = int(generator.integers(4))
    inwards = 1.0 if side < 2 else -1.0
    boxes_N4[start:end, side] += inwards * generator.uniform(0.2, 0.5) * sides_N4[start:end, side]


def _wander(shape: tuple[int, ...], memory: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Noise of spread 1 in columns, each value correlated by `memory` with the one before (AR(1))."""
    steps = generator.normal(size=shape)
    for place in range(1, len(steps)):
        steps[place] = memory * steps[place - 1] + np.sqrt(1 - memory**2) * steps[place]
    return steps
