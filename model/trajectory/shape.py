"""A path as a fixed count of numbers: what a classifier of turns reads.

From eye level a turn hardly bends on the screen, and no formula tells it from a straight way without knowing
the camera. Where in the picture a path lies, how its box grows and where the border cuts it tell together, to
something that has seen many paths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tubelet.model.trajectory.path import (
    compose_camera,
    find_cut_sides,
    measure_length,
    measure_zoom,
    move_points,
    unpack_boxes,
)
from tubelet.records import CameraStep, Motion, Observation

NUM_SAMPLES = 16
"""A path is read at so many times, evenly spread over it."""

NUM_NUMBERS = 8 * NUM_SAMPLES - 2 + 15


def tell_shape(
    observations: Sequence[Observation],
    camera: Sequence[CameraStep],
    motion: Motion,
    *,
    frame_width: int,
    frame_height: int,
) -> NDArray[np.float32]:
    """The numbers of a path whose observations are in rising time order: (NUM_NUMBERS,), none far from 1.

    In the first sample's picture, the camera removed: where the middle of the lower edge lies in the frame,
    its steps, its way in own lengths, and the logarithms of width and height. Then how often each side was
    cut, how long it took, and what `measure_motion` makes of it.
    """
    times, boxes_n4 = unpack_boxes(observations)
    still = compose_camera(times, camera)
    cut_n4 = find_cut_sides(boxes_n4, frame_width, frame_height)
    zoom = measure_zoom(still)
    feet_n2 = move_points(still, np.stack([boxes_n4[:, [0, 2]].mean(axis=1), boxes_n4[:, 3]], axis=1))
    sides_n2 = (boxes_n4[:, 2:] - boxes_n4[:, :2]) * zoom[:, None] / (frame_width, frame_height)
    even = np.linspace(times[0], times[-1], NUM_SAMPLES)

    def read(values_n2: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.interp(even, times, values) for values in values_n2.T])

    feet_2s, diagonal = read(feet_n2), np.hypot(frame_width, frame_height)
    turn = np.radians(motion.turn_deg)
    numbers = (
        feet_2s / np.array([[frame_width], [frame_height]]) - 0.5,
        np.diff(feet_2s) * 20 / diagonal,
        (feet_2s - feet_2s[:, :1]) / measure_length(boxes_n4, cut_n4, zoom) / 4,
        np.log(np.maximum(read(sides_n2), 1e-3)),
        cut_n4.mean(axis=0),
        [times[-1] - times[0]],
        [np.sin(turn), np.cos(turn), np.clip(motion.turn_deg / 90, -4, 4), motion.speed / 3],
        [motion.turn == name for name in ("left", "right", "u")],
        [motion.stopped, motion.approaching, motion.leaving],
    )
    shape: NDArray[np.float32] = np.concatenate([np.ravel(part) for part in numbers]).astype(np.float32)
    return np.clip(shape, -20, 20)


def measure_drift(shape_F: NDArray[np.float32]) -> float:
    """How far to the right a path of these numbers leads, in widths of the frame, the camera removed."""
    return float(shape_F[NUM_SAMPLES - 1] - shape_F[0])


def mirror_shape(shape_F: NDArray[np.float32]) -> NDArray[np.float32]:
    """The numbers of the same path seen in a mirror: left is right."""
    return shape_F[_MIRROR_PLACES] * _MIRROR_SIGNS


def _make_mirror() -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each number of a mirrored path its place in the other, and its sign: as `tell_shape` lists them."""
    across_and_down = [-1.0] * NUM_SAMPLES + [1.0] * NUM_SAMPLES
    steps = [-1.0] * (NUM_SAMPLES - 1) + [1.0] * (NUM_SAMPLES - 1)
    sizes, cuts, length = [1.0] * (2 * NUM_SAMPLES), [1.0] * 4, [1.0]
    angles, turns, states = [-1.0, 1.0, -1.0, 1.0], [1.0] * 3, [1.0] * 3
    signs = np.array(
        [*across_and_down, *steps, *across_and_down, *sizes, *cuts, *length, *angles, *turns, *states],
        np.float32,
    )
    places = np.arange(NUM_NUMBERS)
    cut_left = len(across_and_down) * 2 + len(steps) + len(sizes)
    turns_left = cut_left + len(cuts) + len(length) + len(angles)
    for left, right in ((cut_left, cut_left + 2), (turns_left, turns_left + 1)):
        places[[left, right]] = places[[right, left]]
    return places, signs


_MIRROR_PLACES, _MIRROR_SIGNS = _make_mirror()
