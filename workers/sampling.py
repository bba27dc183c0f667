"""Which frames of a video are looked at: one grid of times for the whole video, whatever the window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOLERANCE_S = 0.001
"""How late a frame may be for a grid time: Matroska rounds timestamps to milliseconds."""


def sample_positions(
    times_s: NDArray[np.float64], sample_fps: float, nominal_frame_rate: float, duration_s: float
) -> NDArray[np.int64]:
    """Positions of the frames shown at k / sample_fps, k = 0, 1, 2 …, each position once, rising.

    `times_s` are all frames' times in rising order, the first 0. At or above the video's own rate every
    frame is a sample.
    """
    if sample_fps >= nominal_frame_rate:
        return np.arange(len(times_s))
    num_samples = int(np.ceil(duration_s * sample_fps))
    grid_s = np.arange(max(1, num_samples)) / sample_fps
    shown = np.searchsorted(times_s, grid_s + TOLERANCE_S, side="right") - 1
    return np.unique(shown)


def glance_positions(
    times_s: NDArray[np.float64], key_positions: NDArray[np.int64], start_s: float, end_s: float, num: int
) -> NDArray[np.int64]:
    """Positions of about `num` frames spread over a window, each position once, rising.

    A key frame stands in for the wanted one when it is nearer than half the spacing: it decodes alone.
    """
    spacing_s = (end_s - start_s) / num
    positions = []
    for wanted_s in start_s + (np.arange(num) + 0.5) * spacing_s:
        if len(key_positions):
            key = key_positions[np.abs(times_s[key_positions] - wanted_s).argmin()]
            if abs(times_s[key] - wanted_s) <= spacing_s / 2 and start_s <= times_s[key] < end_s:
                positions.append(int(key))
                continue
        positions.append(max(0, int(np.searchsorted(times_s, wanted_s + TOLERANCE_S, side="right")) - 1))
    return np.unique(np.array(positions, dtype=np.int64))


def fit_size(width: int, height: int, longest_px: int) -> tuple[int, int]:
    """Width and height of a picture whose longer side is at most `longest_px`; it is never enlarged."""
    scale = min(1.0, longest_px / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
