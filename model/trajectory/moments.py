"""Cutting an object's life into moments: stretches of one motion, the unit of search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil

import numpy as np

from tubelet.model.trajectory.motion import TURN_DEG, measure_headings, measure_motion
from tubelet.model.trajectory.path import Array, SmoothPath, smooth_path
from tubelet.records import CameraStep, Motion, Observation

MAX_MOMENT_S = 10.0
MIN_MOMENT_S = 1.5

TURN_WINDOW_LENGTHS = 2.0
TURN_DEG_PER_LENGTH = 6.0
"""A path bends where its heading changes faster than this over the window (radius under 9.5 own lengths)."""

_TURN_MARGIN_S = 0.75
"""What a turn keeps of the straight before and after it, so that its two headings are seen."""

Span = tuple[int, int]


def measure_moments(
    observations: Sequence[Observation],
    camera: Sequence[CameraStep],
    *,
    frame_width: int,
    frame_height: int,
    max_moment_s: float = MAX_MOMENT_S,
    min_moment_s: float = MIN_MOMENT_S,
) -> list[tuple[Span, Motion]]:
    """The moments of `split_moments`, each with its motion.

    Only the first can enter the frame and only the last can leave it.
    """
    spans = split_moments(
        observations,
        camera,
        frame_width=frame_width,
        frame_height=frame_height,
        max_moment_s=max_moment_s,
        min_moment_s=min_moment_s,
    )
    moments = []
    for start, end in spans:
        motion = measure_motion(
            observations[start:end], camera, frame_width=frame_width, frame_height=frame_height
        )
        entry_side = motion.entry_side if start == 0 else None
        exit_side = motion.exit_side if end == len(observations) else None
        moments.append(((start, end), replace(motion, entry_side=entry_side, exit_side=exit_side)))
    return moments


def split_moments(
    observations: Sequence[Observation],
    camera: Sequence[CameraStep],
    *,
    frame_width: int,
    frame_height: int,
    max_moment_s: float = MAX_MOMENT_S,
    min_moment_s: float = MIN_MOMENT_S,
) -> list[Span]:
    """Index ranges (start, end), end exclusive, in order and covering all observations.

    Cuts where the object starts or stops, and between a turn and a long straight stretch, then cuts what is
    longer than `max_moment_s` into equal parts. A turn that fits into one moment stays whole.
    """
    if not 0 < 2 * min_moment_s <= max_moment_s:
        raise ValueError(f"min_moment_s {min_moment_s} must be positive and at most half of {max_moment_s}")
    path = smooth_path(observations, camera, frame_width=frame_width, frame_height=frame_height)
    spans: list[Span] = []
    for stretch in _split_stops(path, min_moment_s):
        turns = _find_turns(path, stretch)
        for part in _split_turns(path.times, stretch, turns, min_moment_s):
            spans.extend(_split_long(path.times, part, turns, min_moment_s, max_moment_s))
    return spans


def _split_stops(path: SmoothPath, min_moment_s: float) -> list[Span]:
    """Stretches of moving and standing; those shorter than a moment join the neighbours around them."""
    changes = np.flatnonzero(np.diff(path.moving)) + 1
    bounds = [0, *(int(change) for change in changes), len(path.times)]
    while len(bounds) > 2:
        durations = [_duration(path.times, span) for span in pairwise(bounds)]
        shortest = int(np.argmin(durations))
        if durations[shortest] >= min_moment_s:
            break
        # States alternate, so a stretch that flips joins both its neighbours: both its bounds go.
        bounds = [
            bound
            for place, bound in enumerate(bounds)
            if place in (0, len(bounds) - 1) or place not in (shortest, shortest + 1)
        ]
    return list(pairwise(bounds))


def _find_turns(path: SmoothPath, stretch: Span) -> list[Span]:
    """Where the moving path bends one way by TURN_DEG or more, in order: index ranges inside `stretch`."""
    start, end = stretch
    part = path.cut(start, end)
    headings = measure_headings(part)
    if len(headings) < 2:
        return []
    along = part.measure_distance() / part.length_px
    chord = along[-1] / len(headings)
    middles = chord * (np.arange(len(headings)) + 0.5)
    half = TURN_WINDOW_LENGTHS / 2
    lower, upper = np.maximum(middles - half, middles[0]), np.minimum(middles + half, middles[-1])
    change = np.interp(upper, middles, headings) - np.interp(lower, middles, headings)
    bend = np.sign(change) * (np.abs(change) > TURN_DEG_PER_LENGTH * (upper - lower))
    bounds = [0, *(int(place) + 1 for place in np.flatnonzero(np.diff(bend))), len(bend)]
    return [
        (
            start + int(np.searchsorted(along, middles[low])),
            start + int(np.searchsorted(along, middles[high - 1])),
        )
        for low, high in pairwise(bounds)
        if bend[low] != 0 and abs(headings[high - 1] - headings[low]) >= TURN_DEG
    ]


def _split_turns(times: Array, stretch: Span, turns: Sequence[Span], min_moment_s: float) -> list[Span]:
    """Cut long straights off the turns, and one turn off the next."""
    if not turns:
        return [stretch]
    start, end = stretch
    cuts: list[float] = []
    for (_, straight_start), (straight_end, _) in pairwise([(start, start), *turns, (end - 1, end - 1)]):
        from_s, to_s = float(times[straight_start]), float(times[straight_end])
        margins_s = [
            0.0 if straight_start == start else _TURN_MARGIN_S,
            0.0 if straight_end == end - 1 else _TURN_MARGIN_S,
        ]
        if to_s - from_s >= 2 * min_moment_s + sum(margins_s):
            cuts += [from_s + margins_s[0]] * (margins_s[0] > 0) + [to_s - margins_s[1]] * (margins_s[1] > 0)
        elif all(margins_s):
            cuts.append((from_s + to_s) / 2)
    bounds = [start]
    for cut in (int(np.searchsorted(times, cut_s)) for cut_s in cuts):
        if min(_duration(times, (bounds[-1], cut)), _duration(times, (cut, end))) >= min_moment_s:
            bounds.append(cut)
    return list(pairwise([*bounds, end]))


def _split_long(
    times: Array, span: Span, turns: Sequence[Span], min_moment_s: float, max_moment_s: float
) -> list[Span]:
    """Cut a span into nearly equal parts of at most `max_moment_s`, beside its turns if they fit into one.

    For a turn's sake a part may be as short as half of `min_moment_s`.
    """
    start, end = span
    duration_s = _duration(times, span)
    if duration_s <= max_moment_s or end - start < 2:
        return [span]
    target_s = float(times[start]) + duration_s / ceil(duration_s / max_moment_s)
    cut = min(max(int(np.searchsorted(times, target_s)), start + 1), end - 1)
    for turn_start, turn_end in turns:
        if turn_start < cut <= turn_end:
            beside = [
                edge
                for edge in (turn_start, turn_end + 1)
                if start < edge < end
                and min(_duration(times, (start, edge)), _duration(times, (edge, end))) >= min_moment_s / 2
            ]
            cut = min(beside, key=lambda edge: abs(float(times[edge]) - target_s), default=cut)
    first = _split_long(times, (start, cut), turns, min_moment_s, max_moment_s)
    return first + _split_long(times, (cut, end), turns, min_moment_s, max_moment_s)


def _duration(times: Array, span: Span) -> float:
    """Seconds from a span's first sample to its last."""
    return float(times[span[1] - 1] - times[span[0]])
