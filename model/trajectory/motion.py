"""What a path says: heading, speed, turn, standing still, coming closer, entering and leaving the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from tubelet.model.trajectory.ground import lay_on_ground
from tubelet.model.trajectory.path import (
    STILL_LENGTHS_PER_S,
    Array,
    Flags,
    SmoothPath,
    compose_camera,
    find_cut_sides,
    follow_sides,
    measure_zoom,
    smooth_path,
    straighten_slivers,
    unpack_boxes,
)
from tubelet.records import CameraStep, Heading, Motion, Observation, Side, Turn

TURN_DEG, U_TURN_DEG, LOOP_DEG = 35.0, 135.0, 225.0
"""Change of heading from which a path turns, turns back (U), and turns on past that (left or right again)."""

CHORD_LENGTHS, CHORD_JITTERS = 0.4, 8.0
"""Distance between the points whose connecting lines give the heading: own lengths, and times the jitter."""

GROWTH = 1.25
"""An object that grows by this factor approaches; one that shrinks by it leaves."""

GROWTH_PER_S = 1.04
_GROWTH_SAMPLES = 4
_GROWTH_S = 0.8
_GROWTH_MAX_SAMPLES = 120
_SIDE_WINDOW_S = 1.0
_SIDE_REACH_S = 0.25
_SIDE_REACH_SAMPLES = 2
_HEADINGS = get_args(Heading)[:8]
_SIDES: tuple[Side, ...] = ("left", "top", "right", "bottom")


def measure_motion(
    observations: Sequence[Observation],
    camera: Sequence[CameraStep],
    *,
    frame_width: int,
    frame_height: int,
) -> Motion:
    """How an object moved over its observations, which are in rising time order and not empty.

    `camera` holds the steps between all sampled frames (others than the object's may be among them); an
    empty one means a fixed camera.
    """
    path = smooth_path(observations, camera, frame_width=frame_width, frame_height=frame_height)
    times, boxes_n4 = unpack_boxes(observations)
    cut_n4 = find_cut_sides(boxes_n4, frame_width, frame_height)
    growth = _measure_growth(times, boxes_n4, cut_n4, measure_zoom(compose_camera(times, camera)))
    grows, shrinks = growth >= GROWTH, growth <= 1 / GROWTH
    moves = measure_moving_share(path) > 0.5
    turn_deg = measure_turn(path) if moves else 0.0
    heading_deg = _measure_heading(path) if moves else None
    no_camera = np.broadcast_to(np.eye(3), (len(times), 3, 3))
    on_screen = straighten_slivers(times, follow_sides(boxes_n4, cut_n4, no_camera), boxes_n4, cut_n4)
    frame = (frame_width, frame_height)
    return Motion(
        heading="none" if heading_deg is None else name_heading(heading_deg),
        heading_deg=heading_deg,
        speed=_measure_speed(path) if moves else 0.0,
        turn=name_turn(turn_deg),
        turn_deg=turn_deg,
        stopped=not (moves or grows or shrinks),
        approaching=grows,
        leaving=shrinks,
        entry_side=_find_entry(times, boxes_n4, cut_n4, on_screen, path.length_px, frame),
        exit_side=_find_entry(
            -times[::-1], boxes_n4[::-1], cut_n4[::-1], on_screen[::-1], path.length_px, frame
        ),
    )


def measure_as_moving(
    motion: Motion,
    observations: Sequence[Observation],
    camera: Sequence[CameraStep],
    *,
    frame_width: int,
    frame_height: int,
) -> Motion:
    """The motion of a path that was measured to stand, were its jitter a way that the object goes.

    Heading, speed and turn are those of the whole path, as `measure_motion` takes them of its moving part.
    A single observation shows no way, and stands.
    """
    if len(observations) < 2:
        return motion
    path = smooth_path(observations, camera, frame_width=frame_width, frame_height=frame_height)
    path = replace(path, moving=np.ones_like(path.moving))
    heading_deg, turn_deg = _measure_heading(path), measure_turn(path)
    return replace(
        motion,
        heading=name_heading(heading_deg),
        heading_deg=heading_deg,
        speed=_measure_speed(path),
        turn=name_turn(turn_deg),
        turn_deg=turn_deg,
        stopped=False,
    )


def name_heading(heading_deg: float) -> Heading:
    """The nearest of eight directions; 0 is right, 90 up."""
    name: Heading = _HEADINGS[round(heading_deg / 45) % 8]
    return name


def name_turn(turn_deg: float) -> Turn:
    """The word for a change of heading in degrees, positive to the left."""
    size = abs(turn_deg)
    if size < TURN_DEG:
        return "none"
    if U_TURN_DEG <= size < LOOP_DEG:
        return "u"
    return "left" if turn_deg > 0 else "right"


def measure_moving_share(path: SmoothPath) -> float:
    """Share of the time in which the object moves, 0..1."""
    if len(path.times) == 1:
        return 0.0
    weight = np.gradient(path.times)
    return float(weight @ path.moving / weight.sum())


def measure_turn(path: SmoothPath) -> float:
    """Change of heading on the ground along the path in degrees, positive to the left (counter-clockwise)."""
    headings = measure_headings(path)
    if len(headings) < 2:
        return 0.0
    ends = max(1, len(headings) // 8)
    return float(headings[-ends:].mean() - headings[:ends].mean())


def measure_headings(path: SmoothPath) -> Array:
    """Headings on the ground in degrees, unwrapped, of chords that are equal in the picture: (k).

    k is 0 when the path hardly moves. The ground is that of `lay_on_ground`.
    """
    chords = np.diff(lay_on_ground(resample_path(path), *path.frame_size), axis=0)
    return np.degrees(np.unwrap(np.arctan2(-chords[:, 1], chords[:, 0])))


def resample_path(path: SmoothPath) -> Array:
    """Points at equal distances along the moving path, the ends of its k chords: (k + 1, 2) pixels.

    Drift while standing is left out, so that the points lie where the path is on average.
    """
    steps = path.steps
    along = path.measure_distance()
    num_chords = int(along[-1] / max(CHORD_LENGTHS * path.length_px, CHORD_JITTERS * path.jitter_px))
    points = np.concatenate([[[0.0, 0.0]], np.cumsum(steps, axis=0)])
    points += (path.points - points).mean(axis=0)
    at = np.linspace(0, along[-1], num_chords + 1)
    return np.stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)], axis=1)


def _measure_heading(path: SmoothPath) -> float:
    """Direction from the moving path's start to its end; of its last chord when it comes back."""
    total = path.steps.sum(axis=0)
    if np.hypot(*total) < 0.3 * path.measure_distance()[-1]:
        points = resample_path(path)
        total = points[-1] - points[-2] if len(points) > 1 else total
    return float(np.degrees(np.arctan2(-total[1], total[0]))) % 360 % 360  # twice: -1e-20 % 360 is 360


def _measure_speed(path: SmoothPath) -> float:
    """Distance along the moving path over the whole time, in own lengths a second."""
    distance = float(path.measure_distance()[-1])
    return distance / path.length_px / float(path.times[-1] - path.times[0])


def _measure_growth(times: Array, boxes_n4: Array, cut_n4: Flags, zoom: Array) -> float:
    """Factor by which the object's size in the picture changes, from the frames that show it whole.

    Theil-Sen line through the logarithm of width and of height over time, the two averaged.
    """
    from scipy.stats import theilslopes  # a second to import, and not every process measures motion

    slopes = []
    for low, high in ((0, 2), (1, 3)):
        extent = (boxes_n4[:, high] - boxes_n4[:, low]) * zoom
        whole = np.flatnonzero(~(cut_n4[:, low] | cut_n4[:, high]) & (extent > 0))
        if len(whole) < _GROWTH_SAMPLES or times[whole[-1]] - times[whole[0]] < _GROWTH_S:
            continue
        kept = whole[np.linspace(0, len(whole) - 1, min(len(whole), _GROWTH_MAX_SAMPLES)).round().astype(int)]
        slope = float(theilslopes(np.log(extent[kept]), times[kept]).slope)
        slopes.append((slope, float(times[whole[-1]] - times[whole[0]])))
    if not slopes or abs(np.mean([slope for slope, _ in slopes])) < np.log(GROWTH_PER_S):
        return 1.0
    return float(np.exp(np.mean([slope * duration for slope, duration in slopes])))


def _find_entry(
    times: Array,
    boxes_n4: Array,
    cut_n4: Flags,
    on_screen: Array,
    length_px: float,
    frame: tuple[int, int],
) -> Side | None:
    """The side at which the object came in: it touches it, or did moments ago, and moves away from it.

    Works on the picture as it is, camera motion included. Time reversed, it finds the side it leaves by.
    """
    if len(times) < 2:
        return None
    window = max(2, int(np.searchsorted(times, times[0] + _SIDE_WINDOW_S, side="right")))
    velocity = (on_screen[window - 1] - on_screen[0]) / (times[window - 1] - times[0])
    inward = np.concatenate([velocity, -velocity])
    x0, y0, x1, y1 = boxes_n4[0]
    gap = np.array([x0, y0, frame[0] - x1, frame[1] - y1])
    reach_s = max(_SIDE_REACH_S, _SIDE_REACH_SAMPLES * float(np.median(np.diff(times))))
    came_in = (inward > STILL_LENGTHS_PER_S * length_px) & (cut_n4[0] | (gap < inward * reach_s))
    if not came_in.any():
        return None
    return _SIDES[int(np.argmax(np.where(came_in, inward, -np.inf)))]
