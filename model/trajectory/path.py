"""An object's path: boxes in, smooth positions and velocities out, camera motion removed.

Shape suffixes: n samples of one object, 2 is (x, y) with y down, 4 is a box (x0, y0, x1, y1).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tubelet.records import CameraStep, Observation

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

BORDER_SHARE = 0.01
"""A box side this near to the frame's border (share of that frame side) counts as cut by it."""

SLIVER_SHARE = 0.85
"""Of an object that shows less than this share of its width, the height is not its own (and the converse)."""

SMOOTHING_S = 0.5
"""Half width of the smoothing window; it grows until it holds 2 samples on each side."""

STILL_LENGTHS_PER_S = 0.15
"""Slower than this is standing. A walker does about 1.4 own lengths a second, a sway 0.1."""

_SURE = 3.0
"""How many standard errors a speed must have to be believed."""

_LEAST_JITTER = 0.001
"""Share of the frame's diagonal that boxes are never trusted below (0.9 pixel at 768 x 432)."""

_SAME_TIME_S = 1e-6


@dataclass(frozen=True, slots=True)
class SmoothPath:
    """Where an object was, in pixels of its first frame, as if the camera had stood still.

    `points` (n, 2) are the object's centre and follow the sides that the frame does not cut;
    `velocities` (n, 2) are pixels a second; `moving` (n) is False where the speed is below
    `STILL_LENGTHS_PER_S` or could come from the box's jitter alone. `length_px` is the object's own length,
    `jitter_px` the standard deviation of its box's position around the path, `frame_size` (width, height).
    """

    times: Array
    points: Array
    velocities: Array
    moving: Flags
    length_px: float
    jitter_px: float
    frame_size: tuple[int, int]

    @property
    def steps(self) -> Array:
        """Displacement from each sample to the next while moving, zero while standing: (n - 1, 2)."""
        both = self.moving[1:] & self.moving[:-1]
        steps: Array = np.diff(self.points, axis=0) * both[:, None]
        return steps

    def measure_distance(self) -> Array:
        """Pixels travelled while moving, up to each sample: (n)."""
        steps = self.steps
        return np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])

    def cut(self, start: int, end: int) -> SmoothPath:
        """The part from sample `start` to before `end`."""
        return SmoothPath(
            self.times[start:end],
            self.points[start:end],
            self.velocities[start:end],
            self.moving[start:end],
            self.length_px,
            self.jitter_px,
            self.frame_size,
        )


def smooth_path(
    observations: Sequence[Observation],
    camera: Sequence[CameraStep],
    *,
    frame_width: int,
    frame_height: int,
) -> SmoothPath:
    """The path of one object's observations, which are in rising time order and not empty."""
    times, boxes_n4 = unpack_boxes(observations)
    cut_n4 = find_cut_sides(boxes_n4, frame_width, frame_height)
    still = compose_camera(times, camera)
    length_px = measure_length(boxes_n4, cut_n4, measure_zoom(still))
    raw = straighten_slivers(times, follow_sides(boxes_n4, cut_n4, still), boxes_n4, cut_n4)
    points, velocities, error_per_px = _smooth(times, _drop_spikes(raw))
    jitter_px = max(_measure_jitter(raw - points), _LEAST_JITTER * float(np.hypot(frame_width, frame_height)))
    speed = np.hypot(velocities[:, 0], velocities[:, 1])
    moving = speed > np.maximum(STILL_LENGTHS_PER_S * length_px, _SURE * jitter_px * error_per_px)
    frame_size = frame_width, frame_height
    return SmoothPath(times, points, velocities, moving, length_px, jitter_px, frame_size)


def unpack_boxes(observations: Sequence[Observation]) -> tuple[Array, Array]:
    """Times (n) and boxes (n, 4). Raises ValueError when there are none or times do not rise."""
    times = np.array([observation.time_s for observation in observations], dtype=np.float64)
    if len(times) == 0 or np.any(np.diff(times) <= 0):
        raise ValueError("an object needs at least one observation, in rising time order")
    return times, np.array([observation.box for observation in observations], dtype=np.float64)


def find_cut_sides(boxes_n4: Array, frame_width: int, frame_height: int) -> Flags:
    """Which sides (x0, y0, x1, y1) lie on the frame's border, where the true side cannot be seen: (n, 4)."""
    margin_x, margin_y = BORDER_SHARE * frame_width, BORDER_SHARE * frame_height
    x0, y0, x1, y1 = boxes_n4.T
    return np.stack(
        [x0 <= margin_x, y0 <= margin_y, x1 >= frame_width - margin_x, y1 >= frame_height - margin_y], axis=1
    )


def compose_camera(times: Array, camera: Sequence[CameraStep]) -> Array:
    """For each sample, the map from its frame's pixels back to those of the first sample: (n, 3, 3).

    Steps compose as G = M_k ... M_1 over first < step time <= sample time; the map is the inverse of G.
    """
    maps = np.empty((len(times), 3, 3))
    total = np.eye(3)
    steps = iter(camera[bisect_right(camera, times[0] + _SAME_TIME_S, key=lambda step: step.time_s) :])
    step = next(steps, None)
    for index, time_s in enumerate(times):
        while step is not None and step.time_s <= time_s + _SAME_TIME_S:
            a, b, c, d, e, f = step.matrix
            total = np.array([[a, b, c], [d, e, f], [0.0, 0.0, 1.0]]) @ total
            step = next(steps, None)
        maps[index] = np.linalg.inv(total)
    return maps


def measure_zoom(still: Array) -> Array:
    """By how much each map of `compose_camera` enlarges lengths: (n)."""
    zoom: Array = np.sqrt(np.abs(np.linalg.det(still[:, :2, :2])))
    return zoom


def measure_length(boxes_n4: Array, cut_n4: Flags, zoom: Array) -> float:
    """The object's own length in pixels: root of median width times median height, seen uncut if ever."""
    sides = []
    for low, high in ((0, 2), (1, 3)):
        extent = (boxes_n4[:, high] - boxes_n4[:, low]) * zoom
        whole = ~(cut_n4[:, low] | cut_n4[:, high])
        sides.append(float(np.median(extent[whole]) if whole.any() else extent.max()))
    return max(float(np.sqrt(sides[0] * sides[1])), 1e-6)


def follow_sides(boxes_n4: Array, cut_n4: Flags, still: Array) -> Array:
    """Positions (n, 2) summed from step to step, each measured on the sides that both its frames show whole.

    A box that the border cuts grows or shrinks on one side only, so its centre would move at half speed. On
    average over the boxes that show the whole object the positions are their centres.
    """
    before, after = np.empty((len(boxes_n4) - 1, 2)), np.empty((len(boxes_n4) - 1, 2))
    for axis in (0, 1):
        low, high = boxes_n4[:, axis], boxes_n4[:, axis + 2]
        low_seen, high_seen = (~(cut_n4[1:, side] | cut_n4[:-1, side]) for side in (axis, axis + 2))
        # How far from low to high the followed point lies: a side when only that is seen, else the centre.
        share = np.where(low_seen == high_seen, 0.5, np.where(high_seen, 1.0, 0.0))
        before[:, axis] = low[:-1] + share * (high - low)[:-1]
        after[:, axis] = low[1:] + share * (high - low)[1:]
    steps = move_points(still[1:], after) - move_points(still[:-1], before)
    way = np.concatenate([[[0.0, 0.0]], np.cumsum(steps, axis=0)])
    whole = ~cut_n4.any(axis=1)
    known = whole if whole.any() else np.ones_like(whole)
    centres = move_points(still, (boxes_n4[:, :2] + boxes_n4[:, 2:]) / 2)
    way += (centres - way)[known].mean(axis=0)
    return way


def straighten_slivers(times: Array, points: Array, boxes_n4: Array, cut_n4: Flags) -> Array:
    """Positions (n, 2) that at either end keep their course along a border while the frame cuts the object.

    Of someone who walks out on the right, the last that shows is a foot: the box's top falls, the person does
    not. So along that border the course goes on by the line through the samples before (and likewise after).
    """
    straight = points.copy()
    for axis in (0, 1):
        extent = boxes_n4[:, axis + 2] - boxes_n4[:, axis]
        cut = cut_n4[:, axis] | cut_n4[:, axis + 2]
        along = 1 - axis
        first = _find_clear(extent, cut)
        last = len(times) - 1 - _find_clear(extent[::-1], cut[::-1])
        if last - first < 2:
            continue
        reach_s = 2 * SMOOTHING_S + _SAME_TIME_S
        indices = np.arange(len(times))
        inside = (indices >= first) & (indices <= last)
        near_first = inside & ((times <= times[first] + reach_s) | (indices <= first + 2))
        near_last = inside & ((times >= times[last] - reach_s) | (indices >= last - 2))
        for sliver, near in ((slice(None, first), near_first), (slice(last + 1, None), near_last)):
            offset = times[near] - times[near].mean()
            slope = float(offset @ points[near, along] / (offset @ offset))
            straight[sliver, along] = points[near, along].mean() + slope * (
                times[sliver] - times[near].mean()
            )
    return straight


def _find_clear(extent: Array, cut: Flags) -> int:
    """The first sample that shows most of the object's extent, compared with the first uncut samples."""
    uncut = np.flatnonzero(~cut)[:3]
    whole = float(np.median(extent[uncut]) if len(uncut) else extent.max())
    return int(np.argmax(~cut | (extent >= SLIVER_SHARE * whole)))


def move_points(maps: Array, points: Array) -> Array:
    """Each of the points (n, 2) by its map (n, 3, 3)."""
    moved: Array = np.einsum("nij,nj->ni", maps[:, :2, :2], points) + maps[:, :2, 2]
    return moved


def _drop_spikes(points: Array) -> Array:
    """Median of three neighbours, which removes a single wrong box and keeps straight lines as they are."""
    if len(points) < 5:
        return points
    inner = np.median(np.stack([points[:-2], points[1:-1], points[2:]]), axis=0)
    return np.concatenate([points[:1], inner, points[-1:]])


def _smooth(times: Array, points: Array) -> tuple[Array, Array, Array]:
    """Local line fit with tricube weights (Cleveland 1979) at every sample.

    Gives smooth points (n, 2), velocities (n, 2), and the velocities' errors for each pixel of jitter (n).
    """
    num = len(times)
    smooth, velocities, error = points.copy(), np.zeros_like(points), np.zeros(num)
    if num == 1:
        return smooth, velocities, error
    reach = 2 if num >= 5 else 1
    for index, time_s in enumerate(times):
        neighbour = min(
            time_s - times[index - reach] if index >= reach else np.inf,
            times[index + reach] - time_s if index + reach < num else np.inf,
        )
        if not np.isfinite(neighbour):
            neighbour = times[-1] - times[0]
        half_width = 1.05 * max(SMOOTHING_S, float(neighbour))
        first, last = np.searchsorted(times, [time_s - half_width, time_s + half_width])
        offset = times[first:last] - time_s
        weight = (1 - np.abs(offset / half_width) ** 3) ** 3
        weight /= weight.sum()
        mean_offset = weight @ offset
        spread = weight @ (offset - mean_offset) ** 2
        mean_point = weight @ points[first:last]
        slope_weight = weight * (offset - mean_offset) / spread
        velocities[index] = slope_weight @ points[first:last]
        smooth[index] = mean_point - velocities[index] * mean_offset
        error[index] = np.sqrt(slope_weight @ slope_weight)
    return smooth, velocities, error


def _measure_jitter(residuals: Array) -> float:
    """Standard deviation of the jitter, from the median absolute residual."""
    return 1.4826 * float(np.median(np.abs(residuals)))
