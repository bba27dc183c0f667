"""Ways along the ground and how they are driven: positions, headings and what happens when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.spec import Action, Phase

Array = NDArray[np.float64]

_STEP_M = 0.35
_GRID_S = 0.1


@dataclass(frozen=True, slots=True)
class Way:
    """A curve on the ground. `along_N` is its arc length, `headings_N` unwrapped radians, ccw from x.

    `parts` name stretches of arc length by what is done there. Beyond its ends it goes straight on.
    """

    points_N2: Array
    along_N: Array
    headings_N: Array
    parts: tuple[tuple[Action, float, float], ...]


@dataclass(slots=True)
class WayBuilder:
    """Lays straights, arcs and sideways shifts one after the other from a starting pose."""

    x: float
    y: float
    heading: float
    length: float = 0.0
    points: list[tuple[float, float, float, float]] = field(default_factory=list)
    parts: list[tuple[Action, float, float]] = field(default_factory=list)

    def go(self, length: float, action: Action = "straight") -> WayBuilder:
        """A straight of some metres."""
        if length > 0:
            self._mark()
            self.x += length * math.cos(self.heading)
            self.y += length * math.sin(self.heading)
            self._advance(length, action)
        return self

    def bend(self, radius: float, angle: float, action: Action) -> WayBuilder:
        """An arc by `angle` radians, positive to the left."""
        side = math.copysign(1.0, angle)
        cx = self.x - side * radius * math.sin(self.heading)
        cy = self.y + side * radius * math.cos(self.heading)
        start, total = self.length, abs(angle) * radius
        count = max(4, int(total / _STEP_M))
        first = self.heading
        for k in range(count + 1):
            heading = first + angle * k / count
            self.x = cx + side * radius * math.sin(heading)
            self.y = cy - side * radius * math.cos(heading)
            self.points.append((self.x, self.y, heading, start + total * k / count))
        self.heading = first + angle
        self.length = start + total
        self.parts.append((action, start, self.length))
        return self

    def shift(self, sideways: float, length: float, action: Action) -> WayBuilder:
        """Change by `sideways` metres to the left over `length` metres, along a cosine."""
        start, x, y = self.length, self.x, self.y
        count = max(6, int(length / _STEP_M))
        c, s = math.cos(self.heading), math.sin(self.heading)
        previous = (0.0, 0.0)
        along = start
        for k in range(count + 1):
            u = length * k / count
            v = sideways * (1 - math.cos(math.pi * k / count)) / 2
            slope = sideways * math.pi / (2 * length) * math.sin(math.pi * k / count)
            along += math.hypot(u - previous[0], v - previous[1])
            previous = (u, v)
            self.points.append((x + c * u - s * v, y + s * u + c * v, self.heading + math.atan(slope), along))
        self.x, self.y = x + c * length - s * sideways, y + s * length + c * sideways
        self.length = along
        self.parts.append((action, start, along))
        return self

    def build(self) -> Way:
        """The finished way."""
        self._mark()
        rows = np.array(self.points)
        kept = np.concatenate([[True], np.diff(rows[:, 3]) > 1e-9])
        rows = rows[kept]
        return Way(rows[:, :2], rows[:, 3], rows[:, 2], tuple(self.parts))

    def _mark(self) -> None:
        self.points.append((self.x, self.y, self.heading, self.length))

    def _advance(self, length: float, action: Action) -> None:
        self.parts.append((action, self.length, self.length + length))
        self.length += length
        self._mark()


@dataclass(frozen=True, slots=True)
class Places:
    """Where something is at T times: metres, radians; `speed_T` in m/s, `along_T` metres travelled."""

    x_T: Array
    y_T: Array
    z_T: Array
    heading_T: Array
    along_T: Array
    speed_T: Array


@dataclass(frozen=True, slots=True)
class Drive:
    """A way and how fast it is driven: at `times_K` seconds, `along_K` metres of it lie behind.

    `overrides` name stretches of time, and win over the way's own parts. `drop` is (start, height, bounce)
    of a fall.
    """

    way: Way
    times_K: Array
    along_K: Array
    overrides: tuple[Phase, ...] = ()
    drop: tuple[float, float, float] | None = None

    def locate(self, times: Array) -> Places:
        """Places at the given times."""
        along = np.interp(times, self.times_K, self.along_K)
        way = self.way
        x = np.interp(along, way.along_N, way.points_N2[:, 0])
        y = np.interp(along, way.along_N, way.points_N2[:, 1])
        heading = np.interp(along, way.along_N, way.headings_N)
        beyond = np.maximum(along - way.along_N[-1], 0) + np.minimum(along - way.along_N[0], 0)
        x = x + beyond * np.cos(heading)
        y = y + beyond * np.sin(heading)
        later = np.interp(times + _GRID_S, self.times_K, self.along_K)
        z = np.zeros_like(along) if self.drop is None else _fall(times, *self.drop)
        return Places(x, y, z, heading, along, np.abs(later - along) / _GRID_S)

    def list_phases(self, start_s: float, end_s: float) -> list[Phase]:
        """What is done from start_s to end_s, in order and without gaps."""
        grid = np.arange(start_s, end_s + 1e-9, 0.05)
        if len(grid) == 0 or grid[-1] < end_s:
            grid = np.append(grid, end_s)
        along = np.interp(grid, self.times_K, self.along_K)
        names: list[Action] = []
        for time, position in zip(grid.tolist(), along.tolist(), strict=True):
            names.append(self._name(time, position))
        phases: list[Phase] = []
        first = 0
        for k in range(1, len(names) + 1):
            if k == len(names) or names[k] != names[first]:
                stop = end_s if k == len(names) else float(grid[k])
                phases.append(Phase(names[first], float(grid[first]), stop))
                first = k
        return phases

    def _name(self, time: float, position: float) -> Action:
        for phase in self.overrides:
            if phase.start_s <= time < phase.end_s:
                return phase.action
        for action, low, high in self.way.parts:
            if low <= position < high:
                return action
        return self.way.parts[0 if position < 0 else -1][0]


def drive_steadily(
    way: Way, speed: float, key_along: float, key_s: float, span: tuple[float, float]
) -> Drive:
    """Constant speed, at `key_along` metres of the way at the time `key_s`."""
    times = np.array([span[0] - 1, span[1] + 1])
    return Drive(way, times, key_along + (times - key_s) * speed)


def drive_with_stop(
    way: Way,
    speed: float,
    key_along: float,
    key_s: float,
    span: tuple[float, float],
    *,
    stops: bool,
    starts: bool,
    wait_s: float,
    brake_s: float,
) -> Drive:
    """Brake to a halt at `key_along`, reached at `key_s`, wait, and pull away; either half may be missing."""
    times = np.arange(span[0] - 1, span[1] + 1 + _GRID_S, _GRID_S)
    speeds = np.full(len(times), speed)
    leave_s = key_s + (wait_s if starts else math.inf)
    if stops:
        speeds = np.minimum(speeds, speed * np.clip((key_s - times) / brake_s, 0, 1))
    else:
        speeds[times < leave_s] = 0
    if starts:
        pulled = speed * np.clip((times - leave_s) / brake_s, 0, 1)
        speeds = np.where(times >= leave_s, pulled, speeds)
    along = np.concatenate([[0.0], np.cumsum((speeds[1:] + speeds[:-1]) / 2 * _GRID_S)])
    along += key_along - np.interp(key_s, times, along)
    overrides: list[Phase] = []
    if stops:
        overrides.append(Phase("stop", key_s - brake_s, leave_s))
    else:
        overrides.append(Phase("parked", -math.inf, leave_s))
    if starts:
        overrides.append(Phase("start", leave_s, leave_s + brake_s))
    return Drive(way, times, along, tuple(overrides))


def stand(x: float, y: float, heading: float) -> Drive:
    """No movement at all."""
    c, s = math.cos(heading), math.sin(heading)
    way = Way(
        np.array([[x, y], [x + c, y + s]]),
        np.array([0.0, 1.0]),
        np.array([heading, heading]),
        (("parked", 0, 1),),
    )
    return Drive(way, np.array([0.0, 1.0]), np.zeros(2))


def measure_turn_deg(headings: Sequence[float] | Array) -> float:
    """Change of an unwrapped heading in degrees, positive to the left."""
    values = np.asarray(headings, dtype=np.float64)
    return float(np.degrees(values[-1] - values[0])) if len(values) else 0.0


def _fall(times: Array, start_s: float, height: float, bounce: float) -> Array:
    """Height above the ground of something that is let go at start_s and bounces a few times."""
    gravity = 9.81
    after = times - start_s
    z = np.where(after < 0, height, 0.0)
    first = math.sqrt(2 * height / gravity)
    z = np.where((after >= 0) & (after < first), height - gravity * after**2 / 2, z)
    begin, peak = first, height
    for _ in range(4):
        peak *= bounce
        if peak < 0.02:
            break
        lasts = 2 * math.sqrt(2 * peak / gravity)
        local = after - begin
        flying = (local >= 0) & (local < lasts)
        z = np.where(flying, math.sqrt(2 * gravity * peak) * local - gravity * local**2 / 2, z)
        begin += lasts
    return np.asarray(np.maximum(z, 0))
