"""Where points of a picture lie on the ground, for a camera of which nothing is known.

Seen from the side a turn hardly bends on the screen: all that is in front is squeezed into few rows. Laid on
the ground it bends as the road does. The map is a homography, so whatever the true camera is, straight paths
stay straight and left stays left; only how far a path turns depends on the camera that is assumed.
"""

from __future__ import annotations

import math

import numpy as np

from tubelet.model.trajectory.path import Array

ELEVATION_DEG = 25.0
"""How far down the camera is taken to look. What to expect of other values: docs/motion.md."""

FIELD_OF_VIEW_DEG = 60.0
"""Of the longer side of the frame, as of most cameras that watch a scene."""

_NEAREST_HORIZON = 0.05
"""Rows nearer to the horizon than this share of the focal length, or above it, count as this near."""


def lay_on_ground(points_n2: Array, frame_width: int, frame_height: int) -> Array:
    """Pixels to metres on level ground, with the camera one metre above it: (n, 2), y towards the camera."""
    focal_px = max(frame_width, frame_height) / 2 / math.tan(math.radians(FIELD_OF_VIEW_DEG) / 2)
    sine, cosine = math.sin(math.radians(ELEVATION_DEG)), math.cos(math.radians(ELEVATION_DEG))
    right_n, down_n = ((points_n2 - np.array([frame_width, frame_height]) / 2) / focal_px).T
    drop_n = np.maximum(sine + cosine * down_n, _NEAREST_HORIZON)
    return np.stack([right_n / drop_n, (sine * down_n - cosine) / drop_n], axis=1)
