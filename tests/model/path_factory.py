"""Constructed object paths for the motion tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tubelet.model.trajectory.path import Array
from tubelet.records import Box, CameraStep, Observation

FRAME_WIDTH, FRAME_HEIGHT = 1920, 1080


@dataclass(frozen=True)
class Walk:
    """A way through the picture: where an object's centre is after some distance, in pixels."""

    at: Callable[[float], tuple[float, float]]
    distance: float


def straight(start: tuple[float, float], heading_deg: float, distance: float) -> Walk:
    angle = np.radians(heading_deg)
    return Walk(lambda s: (start[0] + s * np.cos(angle), start[1] - s * np.sin(angle)), distance)


def bend(
    start: tuple[float, float], heading_deg: float, straight_px: float, radius_px: float, turn_deg: float
) -> Walk:
    """A straight, an arc of `turn_deg` (positive to the left, counter-clockwise on screen), a straight."""
    angle, turn = np.radians(heading_deg), np.radians(turn_deg)
    arc_px = radius_px * abs(turn)

    def at(s: float) -> tuple[float, float]:
        on_arc = min(max(s - straight_px, 0.0), arc_px)
        swept = on_arc / radius_px * np.sign(turn)
        after = max(s - straight_px - arc_px, 0.0)
        forward = min(s, straight_px) + radius_px * np.sin(abs(swept)) + after * np.cos(swept)
        leftward = np.sign(turn) * radius_px * (1 - np.cos(swept)) + after * np.sin(swept)
        x = start[0] + forward * np.cos(angle) - leftward * np.sin(angle)
        y = start[1] - forward * np.sin(angle) - leftward * np.cos(angle)
        return float(x), float(y)

    return Walk(at, 2 * straight_px + arc_px)


def observe(
    walk: Walk,
    *,
    speed_px: float,
    rate: float,
    size: tuple[float, float] = (80.0, 80.0),
    noise_px: float = 0.0,
    seed: int = 0,
    growth: float = 1.0,
) -> list[Observation]:
    """What a tracker sees: boxes with jitter on each side, cut by the frame, none while outside."""
    generator = np.random.default_rng(seed)
    num = max(2, int(walk.distance / speed_px * rate) + 1)
    seen = []
    for index in range(num):
        time_s = index / rate
        x, y = walk.at(time_s * speed_px)
        scale = growth ** (index / (num - 1))
        half_width, half_height = size[0] * scale / 2, size[1] * scale / 2
        jitter = generator.uniform(-noise_px, noise_px, 4)
        box = Box(
            float(np.clip(x - half_width + jitter[0], 0, FRAME_WIDTH)),
            float(np.clip(y - half_height + jitter[1], 0, FRAME_HEIGHT)),
            float(np.clip(x + half_width + jitter[2], 0, FRAME_WIDTH)),
            float(np.clip(y + half_height + jitter[3], 0, FRAME_HEIGHT)),
        )
        if box.width > 4 and box.height > 4:
            seen.append(Observation(time_s, box, 0.9))
    return seen


def stand(
    seconds: float, *, rate: float, noise_px: float, seed: int, size: tuple[float, float]
) -> list[Observation]:
    """An object in the middle of the frame that does not move, with jitter."""
    here = Walk(lambda s: (FRAME_WIDTH / 2, FRAME_HEIGHT / 2), seconds)
    return observe(here, speed_px=1.0, rate=rate, size=size, noise_px=noise_px, seed=seed)


def join(*parts: list[Observation], rate: float) -> list[Observation]:
    """Parts one after the other in time, one sample interval apart."""
    joined: list[Observation] = []
    for part in parts:
        offset = joined[-1].time_s + 1 / rate - part[0].time_s if joined else 0.0
        joined += [Observation(o.time_s + offset, o.box, o.score) for o in part]
    return joined


def transform(seen: list[Observation], change: Callable[[Box], Box]) -> list[Observation]:
    return [Observation(o.time_s, change(o.box), o.score) for o in seen]


def mirror(seen: list[Observation]) -> list[Observation]:
    """The same scene in a mirror: left and right swapped."""
    return transform(seen, lambda b: Box(FRAME_WIDTH - b.x1, b.y0, FRAME_WIDTH - b.x0, b.y1))


def reverse(seen: list[Observation]) -> list[Observation]:
    """The same scene played backwards."""
    end_s = seen[-1].time_s
    return [Observation(end_s - o.time_s, o.box, o.score) for o in reversed(seen)]


def film_moving(
    seen: list[Observation], step: Array, rate: float, *, zoom: float = 1.0
) -> tuple[list[Observation], list[CameraStep]]:
    """The same scene from a camera that shifts the picture by `step` pixels and zooms it, every sample."""
    steps, filmed = [], []
    matrix = np.eye(3)
    move = np.array([[zoom, 0.0, step[0]], [0.0, zoom, step[1]], [0.0, 0.0, 1.0]])
    last = round(seen[-1].time_s * rate)
    by_index = {round(o.time_s * rate): o for o in seen}
    for index in range(last + 1):
        if index:
            matrix = move @ matrix
        a, b, c = (float(value) for value in move[0])
        d, e, f = (float(value) for value in move[1])
        steps.append(CameraStep(index / rate, (a, b, c, d, e, f)))
        if index in by_index:
            o = by_index[index]
            x0, y0, _ = matrix @ [o.box.x0, o.box.y0, 1.0]
            x1, y1, _ = matrix @ [o.box.x1, o.box.y1, 1.0]
            filmed.append(Observation(o.time_s, Box(float(x0), float(y0), float(x1), float(y1)), o.score))
    return filmed, steps


def seen_by_camera(walk: Walk, elevation_deg: float, fov_deg: float) -> Walk:
    """A way over level ground as a camera sees it that looks down by an angle, at the middle of the frame.

    `walk` is the way as seen from straight above; in the middle of the frame it is as large.
    """
    focal_px = FRAME_WIDTH / 2 / np.tan(np.radians(fov_deg) / 2)
    sine, cosine = np.sin(np.radians(elevation_deg)), np.cos(np.radians(elevation_deg))

    def at(s: float) -> tuple[float, float]:
        x, y = walk.at(s)
        right, away = x - FRAME_WIDTH / 2, FRAME_HEIGHT / 2 - y
        depth = 1 + away * cosine / focal_px
        return float(FRAME_WIDTH / 2 + right / depth), float(FRAME_HEIGHT / 2 - away * sine / depth)

    return Walk(at, walk.distance)
