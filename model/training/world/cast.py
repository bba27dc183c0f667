"""Who is in a scene and what each one does."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.actors import Actor, draw_looks
from tubelet.model.training.world.paths import Way, WayBuilder, drive_steadily, stand
from tubelet.model.training.world.spec import MAX_NUMBER, Category, Phase
from tubelet.model.training.world.stage import (
    LANE_USERS,
    Stage,
    add_follower,
    draw_speed,
    draw_spot,
    lay_circle,
    stop_or_start,
    turn_way,
)
from tubelet.model.training.world.traffic import add_on_road

Array = NDArray[np.float64]

_TRIES = 5
_EPISODE_S = 7.0
_APPROACH_M = 90.0


def fill_stage(stage: Stage, theme_people: float, max_objects: int) -> None:
    """Cast up to `max_objects` at a time; `theme_people` is the share of people, dogs and things."""
    generator = stage.generator
    episodes = max(1, round(stage.duration_s / _EPISODE_S))
    at_once = int(generator.integers(max(1, max_objects // 3), max_objects + 1))
    lasting = 0
    for episode in range(episodes):
        wanted = at_once if episode == 0 else max(1, at_once - lasting)
        low = stage.duration_s * episode / episodes
        high = stage.duration_s * (episode + 1) / episodes
        end = min(len(stage.actors) + wanted, MAX_NUMBER)
        for _ in range(_TRIES * wanted):
            if len(stage.actors) >= end:
                break
            key_s = float(generator.uniform(low + 0.2 * (high - low), low + 0.8 * (high - low)))
            before = len(stage.actors)
            _add_someone(stage, key_s, theme_people, allow_lasting=episode == 0)
            if episode == 0 and len(stage.actors) > before:
                lasting += int(np.ptp(stage.actors[-1].drive.along_K) < 1)


def _add_someone(stage: Stage, key_s: float, theme_people: float, *, allow_lasting: bool) -> None:
    generator = stage.generator
    if stage.layout.roads and generator.random() > theme_people:
        weights = np.array([5, 2, 2, 2, 1.7, 2, 1.6, 1.6])
        category = LANE_USERS[int(generator.choice(len(LANE_USERS), p=weights / weights.sum()))]
        add_on_road(stage, category, key_s, allow_lasting)
        return
    categories: tuple[Category, ...] = ("person", "dog", "ball", "box", "bicycle", "car", "motorbike")
    weights = np.array([5, 2, 1.6, 1.6, 1.0, 0.0, 0.0])
    if stage.layout.roads:
        weights = np.array([6, 1.2, 0.6, 0.6, 0.0, 0.0, 0.0])
    elif stage.layout.place != "floor":
        weights[5:] = 0.35
    category = categories[int(generator.choice(len(categories), p=weights / weights.sum()))]
    _add_free(stage, category, key_s, allow_lasting)


def _add_free(stage: Stage, category: Category, key_s: float, allow_lasting: bool) -> None:
    """People, dogs and things on pavements, lawns and squares."""
    generator, layout = stage.generator, stage.layout
    x, y = draw_spot(stage)
    heading = float(generator.uniform(0, math.tau))
    span = (0.0, stage.duration_s)
    if layout.roads and category in ("person", "dog") and layout.place != "car-park":
        if generator.random() < 0.45:
            _add_crossing(stage, category, key_s)
            return
        row = layout.roads[0].half + float(generator.uniform(0.4, max(0.5, layout.pavement - 0.4)))
        y = math.copysign(row, y if abs(y) > 0.3 else 1)
        heading = (0.0 if generator.random() < 0.5 else math.pi) + float(generator.normal(0, 0.06))
        if len(layout.roads) > 1 and abs(x) < layout.roads[1].half:
            x = math.copysign(layout.roads[1].half + 1, x)
    elif layout.is_road(x, y, 0.3):
        y = math.copysign(layout.roads[0].half + 0.9 + abs(y) * 0.2, y)
    moving = generator.random() < {"person": 0.8, "dog": 0.85, "ball": 0.55, "box": 0.2}.get(category, 0.8)
    looks = draw_looks(generator, category, parked=not moving and category in ("bicycle", "motorbike"))
    if category in ("ball", "box") and generator.random() < 0.4:
        drop = (key_s - 0.4, float(generator.uniform(0.8, 3.0)), 0.62 if category == "ball" else 0.15)
        drive = stand(x, y, heading)
        stage.add(Actor(looks, replace(drive, drop=drop, overrides=_fall_phases(drop))))
        return
    if not moving:
        if allow_lasting:
            stage.add(Actor(looks, stand(x, y, heading)))
        return
    actions = [
        "straight",
        "turn-left",
        "turn-right",
        "u-turn",
        "stop",
        "start",
        "stop-start",
        "circle",
        "follow",
    ]
    weights = np.array([2.4, 1.6, 1.6, 1.0, 0.7, 0.7, 0.5, 0.8, 1.0])
    if category in ("ball", "box"):
        weights[3:] = 0
    if not allow_lasting:
        weights[4:6] = 0
    action = actions[int(generator.choice(len(actions), p=weights / weights.sum()))]
    speed = draw_speed(generator, category)
    if action == "follow":
        add_follower(stage, looks)
        return
    small = {"bicycle": (2.2, 4), "car": (4.5, 6), "motorbike": (4, 6), "dog": (0.5, 1.5)}.get(
        category, (0.5, 1.3)
    )
    radius = float(generator.uniform(*small))
    if action == "circle":
        way, key = lay_circle(generator, stage, radius)
        stage.add(Actor(looks, drive_steadily(way, speed, key, key_s, span)))
        return
    builder = WayBuilder(0.0, 0.0, 0.0).go(60)
    if action in ("turn-left", "turn-right"):
        angle = float(generator.uniform(math.radians(70), math.radians(115)))
        if action == "turn-left":
            builder.bend(radius, angle, "turn-left")
        else:
            builder.bend(radius, -angle, "turn-right")
    elif action == "u-turn":
        builder.bend(radius, math.pi * (1 if generator.random() < 0.5 else -1), "u-turn")
    key = builder.length if len(builder.parts) == 1 else (builder.parts[1][1] + builder.parts[1][2]) / 2
    way = _anchor(turn_way(builder.go(60).build(), heading), key, x, y)
    if action in ("stop", "start", "stop-start"):
        stage.add(Actor(looks, stop_or_start(stage, way, speed, key, key_s, action)))
    else:
        stage.add(Actor(looks, drive_steadily(way, speed, key, key_s, span)))


def _fall_phases(drop: tuple[float, float, float]) -> tuple[Phase, ...]:
    start, height, bounce = drop
    lasts = math.sqrt(2 * height / 9.81) * (1 + 2 * math.sqrt(bounce))
    return (Phase("fall", start - 0.05, start + lasts),)


def _anchor(way: Way, along: float, x: float, y: float) -> Way:
    """The way moved so that it passes (x, y) at `along`."""
    at = [np.interp(along, way.along_N, way.points_N2[:, axis]) for axis in (0, 1)]
    move = np.array([x - at[0], y - at[1]])
    return replace(way, points_N2=way.points_N2 + move)


def _add_crossing(stage: Stage, category: Category, key_s: float) -> None:
    """Across the road, at a junction beside it."""
    generator, layout = stage.generator, stage.layout
    road = layout.roads[0]
    x = stage.focus[0] + float(generator.uniform(-0.6, 0.6)) * stage.radius
    if len(layout.roads) > 1 and abs(x) < layout.roads[1].half + 1:
        x = math.copysign(layout.roads[1].half + float(generator.uniform(1.4, 3.2)), x)
    up = 1 if generator.random() < 0.5 else -1
    builder = WayBuilder(-road.half - 30, 0.0, 0.0).go(30).go(2 * road.half, "cross").go(30)
    way = turn_way(builder.build(), up * math.pi / 2 + float(generator.normal(0, 0.08)), x)
    looks = draw_looks(generator, category)
    speed = draw_speed(generator, category)
    key = 30 + 2 * road.half * float(generator.uniform(0.2, 0.8))
    stage.add(Actor(looks, drive_steadily(way, speed, key, key_s, (0.0, stage.duration_s))))
