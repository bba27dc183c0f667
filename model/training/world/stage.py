"""A scene being filled, and what walkers and lane users have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.actors import Actor, Looks
from tubelet.model.training.world.layout import Layout
from tubelet.model.training.world.paths import Drive, Way, WayBuilder, drive_with_stop
from tubelet.model.training.world.spec import VEHICLES, Category

Array = NDArray[np.float64]

SPEEDS: dict[Category, tuple[float, float]] = {
    "car": (6, 12),
    "suv": (6, 11),
    "van": (5, 10),
    "pickup": (6, 11),
    "bus": (4.5, 8),
    "truck": (4.5, 8.5),
    "motorbike": (6, 12),
    "bicycle": (3, 6),
    "person": (1.0, 1.7),
    "dog": (1.0, 3.0),
    "ball": (1.5, 5.0),
    "box": (0.4, 1.2),
}
LANE_USERS: tuple[Category, ...] = (*VEHICLES, "motorbike", "bicycle")


@dataclass(slots=True)
class Stage:
    """A scene being filled: `focus` is where things should happen, within `radius` metres."""

    generator: np.random.Generator
    layout: Layout
    focus: tuple[float, float]
    radius: float
    duration_s: float
    actors: list[Actor] = field(default_factory=list)
    _discs: list[tuple[Array, float]] = field(default_factory=list)

    def add(self, actor: Actor) -> bool:
        """Take an actor in unless it would run into another."""
        grid = self._grid()
        places = actor.drive.locate(grid)
        length, width, _ = actor.looks.size
        reach = max(0.0, (length - width) / 2)
        shift = np.array([-1.0, 0.0, 1.0]) * reach
        spots = np.stack(
            [
                places.x_T[:, None] + np.cos(places.heading_T)[:, None] * shift,
                places.y_T[:, None] + np.sin(places.heading_T)[:, None] * shift,
            ],
            axis=-1,
        )
        for other, radius in self._discs:
            gaps = spots[:, :, None] - other[:, None, :]
            if (gaps[..., 0] ** 2 + gaps[..., 1] ** 2).min() < (radius + width / 2 + 0.15) ** 2:
                return False
        self._discs.append((spots, width / 2))
        self.actors.append(actor)
        return True

    def _grid(self) -> Array:
        return np.arange(-0.5, self.duration_s + 0.51, 0.35 if self.duration_s < 12 else 0.5)


def draw_speed(generator: np.random.Generator, category: Category) -> float:
    low, high = SPEEDS[category]
    if category == "person" and generator.random() < 0.15:
        return float(generator.uniform(2.4, 4.0))
    return float(generator.uniform(low, high))


def stop_or_start(stage: Stage, way: Way, speed: float, key: float, key_s: float, action: str) -> Drive:
    generator = stage.generator
    waits = float(generator.uniform(0.8, 2.5))
    return drive_with_stop(
        way, speed, key, key_s - (waits / 2 if action == "stop-start" else 0), (0, stage.duration_s),
        stops=action != "start", starts=action != "stop", wait_s=waits if action == "stop-start" else 0.0,
        brake_s=float(generator.uniform(1.0, 2.0)),
    )  # fmt: skip


def turn_way(way: Way, heading: float, dx: float = 0.0, dy: float = 0.0) -> Way:
    c, s = math.cos(heading), math.sin(heading)
    points = way.points_N2 @ np.array([[c, s], [-s, c]]) + (dx, dy)
    return Way(points, way.along_N, way.headings_N + heading, way.parts)


def add_follower(stage: Stage, looks: Looks) -> None:
    """Behind a moving lane user or walker, on its way and at its speed."""
    generator = stage.generator
    road_user = looks.category in LANE_USERS
    options = [
        k
        for k, actor in enumerate(stage.actors)
        if (actor.looks.category in LANE_USERS) == road_user
        and actor.overtakes < 0
        and np.ptp(actor.drive.along_K) > 2
        and not any(other.follows == k for other in stage.actors)
    ]
    if not options:
        return
    leader = options[int(generator.integers(len(options)))]
    drive = stage.actors[leader].drive
    gap = (looks.size[0] + stage.actors[leader].looks.size[0]) / 2
    gap += float(generator.uniform(2.5, 6) if road_user else generator.uniform(0.6, 1.6))
    parts = tuple(
        ("follow" if part[0] == "straight" else part[0], part[1], part[2]) for part in drive.way.parts
    )
    way = replace(drive.way, parts=parts)
    stage.add(Actor(looks, replace(drive, way=way, along_K=drive.along_K - gap), follows=leader))


def lay_circle(generator: np.random.Generator, stage: Stage, radius: float) -> tuple[Way, float]:
    loops = max(1.5, stage.duration_s / 4)
    side = 1 if generator.random() < 0.5 else -1
    builder = WayBuilder(0.0, 0.0, 0.0).go(0.3).bend(radius, side * math.tau * loops, "circle").go(30)
    part = builder.parts[1]
    x, y = draw_spot(stage)
    turn = float(generator.uniform(0, math.tau))
    c, s = math.cos(turn), math.sin(turn)
    u, v = 0.3, side * radius
    way = turn_way(builder.build(), turn, x - (c * u - s * v), y - (s * u + c * v))
    return way, (part[1] + part[2]) / 2


def draw_spot(stage: Stage) -> tuple[float, float]:
    distance = stage.radius * math.sqrt(float(stage.generator.uniform(0, 0.75)))
    angle = float(stage.generator.uniform(0, math.tau))
    return stage.focus[0] + distance * math.cos(angle), stage.focus[1] + distance * math.sin(angle)
