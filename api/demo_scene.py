"""A junction seen from above, rendered: something to index when no video is at hand.

Every vehicle follows a drawn path, so what is true of the clip is known exactly. Deterministic by seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.frame import Image
from tubelet.records import Box
from tubelet.workers.video_writer import VideoWriter

WIDTH, HEIGHT, FRAME_RATE, DURATION_S = 640, 360, 25, 26
LENGTH_PX, BREADTH_PX = 56, 26
FRACTION_BITS = 4
NUM_GRAINS = 8


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One vehicle: its paint, its way in pixels, its speed and when it sets off.

    The way's one bend is rounded off; the vehicle waits `wait_s` when it has driven `wait_after_px`.
    """

    name: str
    rgb: tuple[int, int, int]
    way: tuple[tuple[float, float], ...]
    start_s: float
    speed_px_s: float = 130.0
    wait_after_px: float = math.inf
    wait_s: float = 0.0


VEHICLES = (
    Vehicle("red, turns left", (196, 24, 32), ((340, 420), (340, 160), (-60, 160)), 0.5),
    Vehicle("white, straight", (238, 238, 236), ((-60, 200), (700, 200)), 6.5),
    Vehicle("blue, turns right", (28, 62, 176), ((340, 420), (340, 200), (700, 200)), 11.0),
    Vehicle("red, straight", (188, 20, 28), ((300, -60), (300, 420)), 14.0),
    Vehicle("yellow, stops", (238, 196, 20), ((700, 160), (-60, 160)), 15.5, wait_after_px=250, wait_s=3.0),
)


def render_scene(path: Path, *, duration_s: float = DURATION_S, seed: int = 0) -> None:
    """Write the clip, or its first seconds, to `path` as H.264 in MP4: 640 x 360, 25 frames a second."""
    generator = np.random.default_rng(seed)
    ground = _draw_ground(generator)
    grain = generator.normal(0, 2.5, (NUM_GRAINS, HEIGHT, WIDTH, 1)).astype(np.float32)
    with VideoWriter(path, width=WIDTH, height=HEIGHT, frame_rate=FRAME_RATE) as writer:
        for number in range(round(duration_s * FRAME_RATE)):
            picture = _draw_frame(ground, number / FRAME_RATE)
            writer.write(np.clip(picture + grain[number % NUM_GRAINS], 0, 255).astype(np.uint8))


def true_boxes(time_s: float) -> Iterator[tuple[Vehicle, Box]]:
    """Where each vehicle is at a time, as the upright box around it; only those in the picture."""
    for vehicle in VEHICLES:
        corners = _corners(vehicle, time_s)
        if corners is None:
            continue
        x0, y0 = np.maximum(corners.min(axis=0), 0)
        x1, y1 = np.minimum(corners.max(axis=0), (WIDTH, HEIGHT))
        if x1 - x0 > 1 and y1 - y0 > 1:
            yield vehicle, Box(float(x0), float(y0), float(x1), float(y1))


def _draw_ground(generator: np.random.Generator) -> Image:
    ground = np.empty((HEIGHT, WIDTH, 3), np.float32)
    ground[:] = (92, 118, 74)
    for area in (np.s_[120:240, :], np.s_[:, 260:380]):
        ground[area] = (104, 104, 106)
    coarse = cv2.resize(generator.normal(0, 9, (45, 80)).astype(np.float32), (WIDTH, HEIGHT))
    ground += coarse[:, :, None] + generator.normal(0, 4, (HEIGHT, WIDTH, 1)).astype(np.float32)
    for x in range(0, WIDTH, 40):
        if not 240 <= x <= 380:
            ground[179:182, x : x + 20] = 205
    for y in range(0, HEIGHT, 40):
        if not 100 <= y <= 240:
            ground[y : y + 20, 319:322] = 205
    return np.clip(ground, 0, 255).astype(np.uint8)


def _draw_frame(ground: Image, time_s: float) -> Image:
    picture = ground.copy()
    for vehicle in VEHICLES:
        corners = _corners(vehicle, time_s)
        if corners is not None:
            _draw_vehicle(picture, corners, vehicle.rgb)
    return picture


def _draw_vehicle(picture: Image, corners: NDArray[np.float64], rgb: tuple[int, int, int]) -> None:
    origin, along, across = corners[0], corners[1] - corners[0], corners[3] - corners[0]

    def fill(u0: float, u1: float, v0: float, v1: float, colour: tuple[int, ...], shift: float = 0) -> None:
        points = [
            origin + u * along + v * across + shift for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))
        ]
        fixed = (np.array(points) * 2**FRACTION_BITS).round().astype(np.int32)
        cv2.fillConvexPoly(picture, fixed, colour, cv2.LINE_AA, FRACTION_BITS)

    shadow = picture.copy()
    fill(0, 1, 0, 1, (40, 40, 44), shift=5)
    cv2.addWeighted(picture, 0.6, shadow, 0.4, 0, dst=picture)
    darker = tuple(int(channel * 0.78) for channel in rgb)
    fill(0, 1, 0, 1, darker)
    fill(0.02, 0.98, 0.08, 0.92, rgb)
    fill(0.62, 0.76, 0.14, 0.86, (38, 46, 56))
    fill(0.14, 0.24, 0.16, 0.84, (38, 46, 56))
    for v in (0.10, 0.80):
        fill(0.95, 1.0, v, v + 0.1, (250, 246, 214))
        fill(0.0, 0.04, v, v + 0.1, (150, 12, 16))


def _corners(vehicle: Vehicle, time_s: float) -> NDArray[np.float64] | None:
    """The four corners, rear left first and along the left side; None before the start and after the end."""
    driven = (time_s - vehicle.start_s) * vehicle.speed_px_s
    if driven > vehicle.wait_after_px:
        driven = max(vehicle.wait_after_px, driven - vehicle.wait_s * vehicle.speed_px_s)
    place = _point_on(vehicle.way, driven)
    if place is None:
        return None
    (x, y), heading = place
    along = np.array([math.cos(heading), math.sin(heading)]) * LENGTH_PX
    across = np.array([-math.sin(heading), math.cos(heading)]) * BREADTH_PX
    rear_left = np.array([x, y]) - along / 2 - across / 2
    return np.array([rear_left, rear_left + along, rear_left + along + across, rear_left + across])


def _point_on(
    way: tuple[tuple[float, float], ...], driven: float, corner_px: float = 42.0
) -> tuple[tuple[float, float], float] | None:
    """Position and heading (radians, y down) after `driven` pixels; the one bend is an arc."""
    if driven < 0:
        return None
    points = [np.array(point, float) for point in way]
    first = points[1] - points[0]
    first_length = float(np.hypot(*first))
    heading = math.atan2(first[1], first[0])
    straight = first_length - (corner_px if len(points) == 3 else 0)
    if driven <= straight:
        x, y = points[0] + first / first_length * driven
        return (float(x), float(y)), heading
    if len(points) == 2:
        return None
    second = points[2] - points[1]
    second_length = float(np.hypot(*second))
    sign = 1.0 if first[0] * second[1] - first[1] * second[0] > 0 else -1.0
    arc = corner_px * math.pi / 2
    driven -= straight
    if driven <= arc:
        angle = driven / corner_px
        start = points[0] + first / first_length * straight
        centre = start + corner_px * sign * np.array([-math.sin(heading), math.cos(heading)])
        turned = heading + sign * angle
        x, y = centre + corner_px * sign * np.array([math.sin(turned), -math.cos(turned)])
        return (float(x), float(y)), turned
    driven -= arc - corner_px
    if driven > second_length:
        return None
    x, y = points[1] + second / second_length * driven
    return (float(x), float(y)), math.atan2(second[1], second[0])
