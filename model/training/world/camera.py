"""Cameras: from where they look, and how they move."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.spec import CameraKind, CameraPose, Split

Array = NDArray[np.float64]

VIEWS = ("overhead", "high", "street", "eye-level")

ELEVATION_BANDS: dict[Split, dict[str, tuple[tuple[float, float], ...]]] = {
    "train": {
        "eye-level": ((2.5, 6.0), (9.5, 12.0)),
        "street": ((12.5, 17.0), (23.0, 29.0)),
        "high": ((31.0, 38.0), (45.0, 54.0)),
        "overhead": ((58.0, 66.0), (74.0, 86.0)),
    },
    "held-out": {
        "eye-level": ((7.3, 8.2),),
        "street": ((18.5, 21.5),),
        "high": ((39.5, 43.5),),
        "overhead": ((67.5, 72.5),),
    },
}
"""Degrees below the horizontal. Between the splits lies more than any movement of the camera adds."""

FOV_BANDS: dict[Split, tuple[tuple[float, float], ...]] = {
    "train": ((36.0, 48.0), (56.0, 76.0)),
    "held-out": ((50.0, 54.0),),
}

MAX_TILT_DEG = 0.6
"""Most that a hand changes the elevation."""


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """The kind of camera and its poses."""

    kind: CameraKind
    view: str
    poses: tuple[CameraPose, ...]


@dataclass(frozen=True, slots=True)
class Lens:
    """A pose ready for projection: position (3), rows right, down, forward (3, 3), focal length in pixels."""

    position: Array
    axes: Array
    focal: float
    width: int
    height: int

    @property
    def matrix(self) -> Array:
        """Camera matrix (3, 3)."""
        return np.array(
            [[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1]], dtype=np.float64
        )

    def map_plane(self, origin: Array, along: Array, across: Array) -> Array:
        """Homography (3, 3) from coordinates of a plane to pixels."""
        columns = np.stack([along, across, origin - self.position], axis=1)
        return np.asarray(self.matrix @ (self.axes @ columns))


def make_lens(pose: CameraPose, width: int, height: int) -> Lens:
    """Projection of a pose onto a picture of width x height pixels."""
    a, e, r = (math.radians(v) for v in (pose.azimuth_deg, pose.elevation_deg, pose.roll_deg))
    forward = np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), -math.sin(e)])
    right = np.array([math.sin(a), -math.cos(a), 0.0])
    down = np.cross(forward, right)
    c, s = math.cos(r), math.sin(r)
    axes = np.stack([c * right + s * down, c * down - s * right, forward])
    focal = width / 2 / math.tan(math.radians(pose.fov_deg) / 2)
    return Lens(np.array([pose.x, pose.y, pose.z]), axes, focal, width, height)


def draw_band(generator: np.random.Generator, bands: tuple[tuple[float, float], ...]) -> float:
    """A value from bands, the wider ones more often."""
    widths = np.array([high - low for low, high in bands])
    low, high = bands[int(generator.choice(len(bands), p=widths / widths.sum()))]
    return float(generator.uniform(low, high))


def aim_camera(
    generator: np.random.Generator,
    split: Split,
    view: str,
    focus: tuple[float, float, float],
    coverage_m: float,
    azimuth_deg: float,
    min_height_m: float,
) -> CameraPose:
    """A pose that shows `coverage_m` metres across at the focus, never lower than `min_height_m`."""
    elevation = draw_band(generator, ELEVATION_BANDS[split][view])
    fov = draw_band(generator, FOV_BANDS[split])
    distance = coverage_m / 2 / math.tan(math.radians(fov) / 2)
    e, a = math.radians(elevation), math.radians(azimuth_deg)
    distance = max(distance, (min_height_m - focus[2]) / math.sin(e))
    return CameraPose(
        x=focus[0] - distance * math.cos(e) * math.cos(a),
        y=focus[1] - distance * math.cos(e) * math.sin(a),
        z=focus[2] + distance * math.sin(e),
        azimuth_deg=azimuth_deg,
        elevation_deg=elevation,
        roll_deg=float(generator.normal(0, 0.8)) if generator.random() < 0.4 else 0.0,
        fov_deg=fov,
    )


def move_camera(
    generator: np.random.Generator,
    kind: CameraKind,
    view: str,
    start: CameraPose,
    times: Array,
    drift: tuple[float, float],
) -> CameraPlan:
    """Poses at the given times, `start` in the middle; `drift` is a translation's velocity in m/s."""
    middle = times - times.mean()
    azimuth, tilt, roll = np.zeros_like(times), np.zeros_like(times), np.zeros_like(times)
    x, y = np.zeros_like(times), np.zeros_like(times)
    if kind == "pan":
        rate = float(generator.choice([-1, 1]) * generator.uniform(1.0, 5.0)) * min(
            1.0, 8 / max(np.ptp(times), 1)
        )
        azimuth = middle * rate * start.fov_deg / 55
    elif kind == "translate":
        x, y = middle * drift[0], middle * drift[1]
    if kind == "handheld" or (kind != "fixed" and generator.random() < 0.4):
        size = float(generator.uniform(0.08, 0.3))
        for values, scale in ((azimuth, 1.0), (tilt, 1.0), (roll, 0.8)):
            for rate in (0.35, 0.9, 2.1):
                phase = float(generator.uniform(0, math.tau))
                values += size * scale / (0.6 + rate) * np.sin(math.tau * rate * times + phase)
    tilt = np.clip(tilt, -MAX_TILT_DEG, MAX_TILT_DEG)
    poses = tuple(
        CameraPose(
            start.x + float(x[k]),
            start.y + float(y[k]),
            start.z,
            start.azimuth_deg + float(azimuth[k]),
            start.elevation_deg + float(tilt[k]),
            start.roll_deg + float(roll[k]),
            start.fov_deg,
        )
        for k in range(len(times))
    )
    return CameraPlan(kind, view, poses)
