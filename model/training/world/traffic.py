"""Vehicles and cycles on roads and in car parks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.actors import Actor, Looks, draw_looks
from tubelet.model.training.world.layout import Layout, Road
from tubelet.model.training.world.paths import Drive, WayBuilder, drive_steadily, stand
from tubelet.model.training.world.spec import Category
from tubelet.model.training.world.stage import (
    Stage,
    add_follower,
    draw_speed,
    lay_circle,
    stop_or_start,
    turn_way,
)

Array = NDArray[np.float64]


_APPROACH_M = 90.0
_OVERTAKEN: tuple[Category, ...] = ("truck", "bus", "bicycle", "van", "car")


def add_on_road(stage: Stage, category: Category, key_s: float, allow_lasting: bool) -> None:
    generator, layout = stage.generator, stage.layout
    if allow_lasting and generator.random() < (0.5 if layout.slots else 0.14):
        _park(stage, category)
        return
    junction = len(layout.roads) > 1
    options = {
        "straight": 2.2,
        "turn-left": 2.4 if junction else 0,
        "turn-right": 2.4 if junction else 0,
        "u-turn": 0.8 if category not in ("bus", "truck") else 0,
        "stop": 0.7 if allow_lasting else 0,
        "start": 0.7 if allow_lasting else 0,
        "stop-start": 0.5,
        "lane-change": 2.2 if layout.roads[0].num_lanes > 1 else 0,
        "overtake": 1.8 if not junction and not layout.slots else 0,
        "follow": 1.0,
        "circle": 2.0 if layout.slots and category in ("car", "suv", "motorbike", "bicycle") else 0,
    }
    names = list(options)
    weights = np.array(list(options.values()))
    action = names[int(generator.choice(len(names), p=weights / weights.sum()))]
    looks = draw_looks(generator, category)
    if action == "follow":
        add_follower(stage, looks)
    elif action == "overtake":
        _add_overtaking(stage, looks, key_s)
    elif action == "circle":
        way, key = lay_circle(generator, stage, radius=float(generator.uniform(4.5, 7)))
        stage.add(Actor(looks, drive_steadily(way, 4.5, key, key_s, (0, stage.duration_s))))
    else:
        drive = _make_drive(stage, looks, action, key_s)
        if drive is not None:
            stage.add(Actor(looks, drive))


def _lane_y(layout: Layout, road: Road, lane: int) -> float:
    """Sideways place of a lane's middle for one who drives along +x: negative is to the right."""
    return -layout.side * (lane + 0.5) * road.lane_width


@dataclass(frozen=True, slots=True)
class _Approach:
    """A way towards the middle: heading in radians, road, crossing road, lane, and focus along it."""

    heading: float
    road: Road
    cross: Road | None
    lane: int
    focus_x: float
    start_x: float


def _make_drive(stage: Stage, looks: Looks, action: str, key_s: float) -> Drive | None:
    """How a lane user does something; None where the place does not allow it."""
    generator, layout = stage.generator, stage.layout
    arm = layout.arms[int(generator.integers(len(layout.arms)))]
    heading = arm + math.pi
    road = next(r for r in layout.roads if abs(math.sin(r.heading - arm)) < 0.1)
    cross = next((r for r in layout.roads if r is not road), None)
    speed = draw_speed(generator, looks.category)
    c, s = math.cos(heading), math.sin(heading)
    focus_x = c * stage.focus[0] + s * stage.focus[1] + float(generator.uniform(-0.6, 0.6)) * stage.radius
    lane = int(generator.integers(road.num_lanes))
    approach = _Approach(heading, road, cross, lane, focus_x, -_APPROACH_M + min(0.0, focus_x))
    if action in ("turn-left", "turn-right") and cross is not None:
        return _turn_off(stage, looks, approach, left=action == "turn-left", speed=speed, key_s=key_s)
    if not any(math.cos(heading - other) > 0.9 for other in layout.arms):
        return None
    if action == "u-turn":
        return _turn_round(stage, approach, speed, key_s)
    y = _lane_y(layout, road, lane) + float(generator.normal(0, 0.15))
    if looks.category in ("bicycle", "motorbike") and generator.random() < 0.6:
        y -= layout.side * 0.9
    if action == "lane-change":
        return _change_lane(stage, approach, y, speed, key_s)
    builder = WayBuilder(approach.start_x, y, 0.0)
    key = focus_x - builder.x
    if action in ("stop", "start", "stop-start") and cross is not None:
        key = -(cross.half + 4.6 + looks.size[0] / 2) - builder.x
    way = turn_way(builder.go(2 * _APPROACH_M + abs(focus_x)).build(), heading)
    if action == "straight":
        return drive_steadily(way, speed, key, key_s, (0, stage.duration_s))
    return stop_or_start(stage, way, min(speed, 9.0), key, key_s, action)


def _turn_off(
    stage: Stage, looks: Looks, approach: _Approach, *, left: bool, speed: float, key_s: float
) -> Drive | None:
    """Into the crossing road."""
    generator, layout, road, cross = stage.generator, stage.layout, approach.road, approach.cross
    assert cross is not None
    target = approach.heading + math.copysign(math.pi / 2, left - 0.5)
    if not any(math.cos(target - other) > 0.9 for other in layout.arms):
        return None
    near_side = left != (layout.side == 1)
    y = _lane_y(layout, road, road.num_lanes - 1 if near_side else 0)
    goal = _lane_y(layout, cross, cross.num_lanes - 1 if near_side else 0)
    radius = float(generator.uniform(4.2, 6.0) if near_side else generator.uniform(6.0, 9.0))
    radius += 2.0 if looks.category in ("bus", "truck") else 0.0
    builder = WayBuilder(approach.start_x, y, 0.0)
    builder.go((-goal if left else goal) - radius - builder.x)
    if left:
        builder.bend(radius, math.pi / 2, "turn-left")
    else:
        builder.bend(radius, -math.pi / 2, "turn-right")
    _, start, end = builder.parts[1]
    way = turn_way(builder.go(_APPROACH_M).build(), approach.heading)
    speed = min(speed, float(generator.uniform(4.5, 7.0)))
    return drive_steadily(way, speed, (start + end) / 2, key_s, (0, stage.duration_s))


def _turn_round(stage: Stage, approach: _Approach, speed: float, key_s: float) -> Drive:
    """Back on the other side of the road."""
    lane = 0 if stage.generator.random() < 0.6 else approach.road.num_lanes - 1
    y = _lane_y(stage.layout, approach.road, lane)
    builder = WayBuilder(approach.start_x, y, 0.0)
    builder.go(approach.focus_x - builder.x).bend(max(abs(y), 2.4), stage.layout.side * math.pi, "u-turn")
    _, start, end = builder.parts[1]
    way = turn_way(builder.go(_APPROACH_M).build(), approach.heading)
    return drive_steadily(way, min(speed, 4.5), (start + end) / 2, key_s, (0, stage.duration_s))


def _change_lane(stage: Stage, approach: _Approach, y: float, speed: float, key_s: float) -> Drive | None:
    """Into a neighbouring lane of the same direction."""
    road, lane, generator = approach.road, approach.lane, stage.generator
    if road.num_lanes < 2:
        return None
    outward = lane == 0 or (lane < road.num_lanes - 1 and generator.random() < 0.5)
    sideways = _lane_y(stage.layout, road, lane + 1 if outward else lane - 1) - y
    length = speed * float(generator.uniform(1.6, 2.4))
    builder = WayBuilder(approach.start_x, y, 0.0)
    builder.go(approach.focus_x - length / 2 - builder.x)
    builder.shift(sideways, length, "lane-change-left" if sideways > 0 else "lane-change-right")
    _, start, end = builder.parts[1]
    way = turn_way(builder.go(_APPROACH_M).build(), approach.heading)
    return drive_steadily(way, speed, (start + end) / 2, key_s, (0, stage.duration_s))


def _park(stage: Stage, category: Category) -> None:
    generator, layout = stage.generator, stage.layout
    looks = draw_looks(generator, category, parked=category in ("bicycle", "motorbike"))
    length = looks.size[0]
    if layout.slots and length < 6:
        slots = sorted(layout.slots, key=lambda s: math.hypot(s[0] - stage.focus[0], s[1] - stage.focus[1]))
        x, y, heading = slots[min(int(generator.exponential(6)), len(slots) - 1)]
        stage.add(Actor(looks, stand(x, y, heading + float(generator.normal(0, 0.03)))))
        return
    road = layout.roads[0]
    along = stage.focus[0] + float(generator.uniform(-1, 1)) * stage.radius
    if len(layout.roads) > 1 and abs(along) < layout.roads[1].half + 5:
        along = math.copysign(layout.roads[1].half + 6 + length, along)
    edge = road.half - 1.1 if road.verge else road.half + looks.size[1] / 2 + 0.1
    far = 1 if generator.random() < 0.5 else -1
    heading = (0.0 if far == -layout.side else math.pi) + float(generator.normal(0, 0.02))
    stage.add(Actor(looks, stand(along, far * edge, heading)))


def _add_overtaking(stage: Stage, looks: Looks, key_s: float) -> None:
    generator, layout = stage.generator, stage.layout
    road = layout.roads[0]
    heading = layout.arms[int(generator.integers(2))] + math.pi
    lane = road.num_lanes - 1
    y = _lane_y(layout, road, lane)
    slow = draw_looks(generator, _OVERTAKEN[int(generator.integers(len(_OVERTAKEN)))])
    slow_speed = float(generator.uniform(2.5, 4.5))
    fast_speed = slow_speed + float(generator.uniform(4, 6.5))
    c, s = math.cos(heading), math.sin(heading)
    focus_x = c * stage.focus[0] + s * stage.focus[1]
    straight = turn_way(WayBuilder(-_APPROACH_M + focus_x, y, 0.0).go(2 * _APPROACH_M).build(), heading)
    span = (0.0, stage.duration_s)
    if not stage.add(Actor(slow, drive_steadily(straight, slow_speed, _APPROACH_M, key_s, span))):
        return
    passing = (slow.size[0] + looks.size[0] + 3) * fast_speed / (fast_speed - slow_speed)
    change = fast_speed * 1.3
    sideways = layout.side * road.lane_width
    builder = WayBuilder(-_APPROACH_M + focus_x, y, 0.0)
    builder.go(_APPROACH_M - passing / 2 - change).shift(sideways, change, "overtake").go(passing, "overtake")
    middle = (builder.parts[2][1] + builder.parts[2][2]) / 2
    way = turn_way(builder.shift(-sideways, change, "overtake").go(_APPROACH_M).build(), heading)
    target = len(stage.actors) - 1
    if not stage.add(Actor(looks, drive_steadily(way, fast_speed, middle, key_s, span), overtakes=target)):
        return
