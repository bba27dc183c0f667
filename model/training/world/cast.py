"""Who is in a scene and what each one does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.actors import Actor, Looks, draw_looks
from tubelet.model.training.world.layout import Layout, Road
from tubelet.model.training.world.paths import Drive, Way, WayBuilder, drive_steadily, drive_with_stop, stand
from tubelet.model.training.world.spec import MAX_NUMBER, VEHICLES, Category, Phase

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
_LANE_USERS: tuple[Category, ...] = (*VEHICLES, "motorbike", "bicycle")
_TRIES = 5
_EPISODE_S = 7.0
_APPROACH_M = 90.0


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
        category = _LANE_USERS[int(generator.choice(len(_LANE_USERS), p=weights / weights.sum()))]
        _add_on_road(stage, category, key_s, allow_lasting)
        return
    categories: tuple[Category, ...] = ("person", "dog", "ball", "box", "bicycle", "car", "motorbike")
    weights = np.array([5, 2, 1.6, 1.6, 1.0, 0.0, 0.0])
    if stage.layout.roads:
        weights = np.array([6, 1.2, 0.6, 0.6, 0.0, 0.0, 0.0])
    elif stage.layout.place != "floor":
        weights[5:] = 0.35
    category = categories[int(generator.choice(len(categories), p=weights / weights.sum()))]
    _add_free(stage, category, key_s, allow_lasting)


def _speed(generator: np.random.Generator, category: Category) -> float:
    low, high = SPEEDS[category]
    if category == "person" and generator.random() < 0.15:
        return float(generator.uniform(2.4, 4.0))
    return float(generator.uniform(low, high))


def _add_on_road(stage: Stage, category: Category, key_s: float, allow_lasting: bool) -> None:
    generator, layout = stage.generator, stage.layout
    if allow_lasting and generator.random() < (0.65 if layout.slots else 0.14):
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
        "lane-change": 1.4 if layout.roads[0].num_lanes > 1 else 0,
        "overtake": 0.9 if not junction and not layout.slots else 0,
        "follow": 1.0,
        "circle": 1.2 if layout.slots and category in ("car", "suv", "motorbike", "bicycle") else 0,
    }
    names = list(options)
    weights = np.array(list(options.values()))
    action = names[int(generator.choice(len(names), p=weights / weights.sum()))]
    looks = draw_looks(generator, category)
    if action == "follow":
        _add_follower(stage, looks)
    elif action == "overtake":
        _add_overtaking(stage, looks, key_s)
    elif action == "circle":
        way, key = _circle_way(generator, stage, radius=float(generator.uniform(4.5, 7)))
        stage.add(Actor(looks, drive_steadily(way, 4.5, key, key_s, (0, stage.duration_s))))
    else:
        drive = _make_drive(stage, looks, action, key_s)
        if drive is not None:
            stage.add(Actor(looks, drive))


def _lane_y(layout: Layout, road: Road, lane: int) -> float:
    """Sideways place of a lane's middle for one who drives along +x: negative is to the right."""
    return -layout.side * (lane + 0.5) * road.lane_width


def _make_drive(stage: Stage, looks: Looks, action: str, key_s: float) -> Drive | None:
    generator, layout = stage.generator, stage.layout
    arm = layout.arms[int(generator.integers(len(layout.arms)))]
    heading = arm + math.pi
    road = next(r for r in layout.roads if abs(math.sin(r.heading - arm)) < 0.1)
    cross = next((r for r in layout.roads if r is not road), None)
    lane = int(generator.integers(road.num_lanes))
    speed = _speed(generator, looks.category)
    c, s = math.cos(heading), math.sin(heading)
    focus_x = c * stage.focus[0] + s * stage.focus[1] + float(generator.uniform(-0.6, 0.6)) * stage.radius
    narrow = looks.category in ("bicycle", "motorbike")
    wander = float(generator.normal(0, 0.15)) + (
        -layout.side * 0.9 if narrow and generator.random() < 0.6 else 0
    )
    builder = WayBuilder(-_APPROACH_M + min(0.0, focus_x), 0.0, 0.0)
    if action in ("turn-left", "turn-right") and cross is not None:
        target = heading + (math.pi / 2 if action == "turn-left" else -math.pi / 2)
        if not any(math.cos(target - other) > 0.9 for other in layout.arms):
            return None
        near_side = (action == "turn-right") == (layout.side == 1)
        lane = road.num_lanes - 1 if near_side else 0
        y = _lane_y(layout, road, lane)
        goal = _lane_y(layout, cross, cross.num_lanes - 1 if near_side else 0)
        left = action == "turn-left"
        corner_x = -goal if left else goal
        radius = float(generator.uniform(4.2, 6.0) if near_side else generator.uniform(6.0, 9.0))
        radius += 2.0 if looks.category in ("bus", "truck") else 0.0
        builder.y = y
        builder.go(corner_x - radius - builder.x)
        builder.bend(radius, math.pi / 2 if left else -math.pi / 2, action)
        builder.go(_APPROACH_M)
        speed = min(speed, float(generator.uniform(4.5, 7.0)))
        key = builder.parts[1]
        return drive_steadily(
            _turn_way(builder.build(), heading), speed, (key[1] + key[2]) / 2, key_s, (0, stage.duration_s)
        )
    y = _lane_y(layout, road, lane)
    if action == "u-turn":
        lane = 0 if generator.random() < 0.6 else road.num_lanes - 1
        y = _lane_y(layout, road, lane)
        radius = max(abs(y), 2.4)
        builder.y = y
        builder.go(focus_x - builder.x).bend(radius, layout.side * math.pi, "u-turn").go(_APPROACH_M)
        part = builder.parts[1]
        way = _turn_way(builder.build(), heading)
        return drive_steadily(way, min(speed, 4.5), (part[1] + part[2]) / 2, key_s, (0, stage.duration_s))
    builder.y = y + wander
    if action == "lane-change":
        if road.num_lanes < 2:
            return None
        other = (
            lane + 1 if lane == 0 or (lane < road.num_lanes - 1 and generator.random() < 0.5) else lane - 1
        )
        sideways = _lane_y(layout, road, other) - y
        length = speed * float(generator.uniform(1.6, 2.4))
        builder.go(focus_x - length / 2 - builder.x)
        builder.shift(sideways, length, "lane-change-left" if sideways > 0 else "lane-change-right").go(
            _APPROACH_M
        )
        part = builder.parts[1]
        way = _turn_way(builder.build(), heading)
        return drive_steadily(way, speed, (part[1] + part[2]) / 2, key_s, (0, stage.duration_s))
    key = focus_x - builder.x
    if action in ("stop", "start", "stop-start") and cross is not None:
        key = -(cross.half + 4.6 + looks.size[0] / 2) - builder.x
    way = _turn_way(builder.go(2 * _APPROACH_M + abs(focus_x)).build(), heading)
    if action == "straight":
        return drive_steadily(way, speed, key, key_s, (0, stage.duration_s))
    return _stop_or_start(stage, way, min(speed, 9.0), key, key_s, action)


def _stop_or_start(stage: Stage, way: Way, speed: float, key: float, key_s: float, action: str) -> Drive:
    generator = stage.generator
    waits = float(generator.uniform(0.8, 2.5))
    return drive_with_stop(
        way, speed, key, key_s - (waits / 2 if action == "stop-start" else 0), (0, stage.duration_s),
        stops=action != "start", starts=action != "stop", wait_s=waits if action == "stop-start" else 0.0,
        brake_s=float(generator.uniform(1.0, 2.0)),
    )  # fmt: skip


def _turn_way(way: Way, heading: float, dx: float = 0.0, dy: float = 0.0) -> Way:
    c, s = math.cos(heading), math.sin(heading)
    points = way.points_N2 @ np.array([[c, s], [-s, c]]) + (dx, dy)
    return Way(points, way.along_N, way.headings_N + heading, way.parts)


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


def _add_follower(stage: Stage, looks: Looks) -> None:
    """Behind a moving lane user or walker, on its way and at its speed."""
    generator = stage.generator
    road_user = looks.category in _LANE_USERS
    options = [
        k
        for k, actor in enumerate(stage.actors)
        if (actor.looks.category in _LANE_USERS) == road_user
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


def _add_overtaking(stage: Stage, looks: Looks, key_s: float) -> None:
    generator, layout = stage.generator, stage.layout
    road = layout.roads[0]
    heading = layout.arms[int(generator.integers(2))] + math.pi
    lane = road.num_lanes - 1
    y = _lane_y(layout, road, lane)
    slow_category = ("truck", "bus", "bicycle", "van", "car")[int(generator.integers(5))]
    slow = draw_looks(generator, slow_category)
    slow_speed = float(generator.uniform(2.5, 4.5))
    fast_speed = slow_speed + float(generator.uniform(4, 6.5))
    c, s = math.cos(heading), math.sin(heading)
    focus_x = c * stage.focus[0] + s * stage.focus[1]
    straight = _turn_way(WayBuilder(-_APPROACH_M + focus_x, y, 0.0).go(2 * _APPROACH_M).build(), heading)
    span = (0.0, stage.duration_s)
    if not stage.add(Actor(slow, drive_steadily(straight, slow_speed, _APPROACH_M, key_s, span))):
        return
    passing = (slow.size[0] + looks.size[0] + 3) * fast_speed / (fast_speed - slow_speed)
    change = fast_speed * 1.3
    sideways = layout.side * road.lane_width
    builder = WayBuilder(-_APPROACH_M + focus_x, y, 0.0)
    builder.go(_APPROACH_M - passing / 2 - change).shift(sideways, change, "overtake").go(passing, "overtake")
    middle = (builder.parts[2][1] + builder.parts[2][2]) / 2
    way = _turn_way(builder.shift(-sideways, change, "overtake").go(_APPROACH_M).build(), heading)
    target = len(stage.actors) - 1
    if not stage.add(Actor(looks, drive_steadily(way, fast_speed, middle, key_s, span), overtakes=target)):
        return


def _circle_way(generator: np.random.Generator, stage: Stage, radius: float) -> tuple[Way, float]:
    loops = max(1.5, stage.duration_s / 4)
    side = 1 if generator.random() < 0.5 else -1
    builder = WayBuilder(0.0, 0.0, 0.0).go(0.3).bend(radius, side * math.tau * loops, "circle").go(30)
    part = builder.parts[1]
    x, y = _spot(stage)
    turn = float(generator.uniform(0, math.tau))
    c, s = math.cos(turn), math.sin(turn)
    u, v = 0.3, side * radius
    way = _turn_way(builder.build(), turn, x - (c * u - s * v), y - (s * u + c * v))
    return way, (part[1] + part[2]) / 2


def _spot(stage: Stage) -> tuple[float, float]:
    distance = stage.radius * math.sqrt(float(stage.generator.uniform(0, 0.75)))
    angle = float(stage.generator.uniform(0, math.tau))
    return stage.focus[0] + distance * math.cos(angle), stage.focus[1] + distance * math.sin(angle)


def _add_free(stage: Stage, category: Category, key_s: float, allow_lasting: bool) -> None:
    """People, dogs and things on pavements, lawns and squares."""
    generator, layout = stage.generator, stage.layout
    x, y = _spot(stage)
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
    speed = _speed(generator, category)
    if action == "follow":
        _add_follower(stage, looks)
        return
    small = {"bicycle": (2.2, 4), "car": (4.5, 6), "motorbike": (4, 6), "dog": (0.5, 1.5)}.get(
        category, (0.5, 1.3)
    )
    radius = float(generator.uniform(*small))
    if action == "circle":
        way, key = _circle_way(generator, stage, radius)
        stage.add(Actor(looks, drive_steadily(way, speed, key, key_s, span)))
        return
    builder = WayBuilder(0.0, 0.0, 0.0).go(60)
    if action in ("turn-left", "turn-right"):
        angle = float(generator.uniform(math.radians(70), math.radians(115)))
        builder.bend(radius, angle if action == "turn-left" else -angle, action)
    elif action == "u-turn":
        builder.bend(radius, math.pi * (1 if generator.random() < 0.5 else -1), "u-turn")
    key = builder.length if len(builder.parts) == 1 else (builder.parts[1][1] + builder.parts[1][2]) / 2
    way = _anchor(_turn_way(builder.go(60).build(), heading), key, x, y)
    if action in ("stop", "start", "stop-start"):
        stage.add(Actor(looks, _stop_or_start(stage, way, speed, key, key_s, action)))
    else:
        stage.add(Actor(looks, drive_steadily(way, speed, key, key_s, span)))


def _fall_phases(drop: tuple[float, float, float]) -> tuple[Phase, ...]:
    start, height, bounce = drop
    lasts = math.sqrt(2 * height / 9.81) * (1 + 2 * math.sqrt(bounce))
    return (Phase("fall", start - 0.05, start + lasts),)


def _anchor(way: Way, along: float, x: float, y: float) -> Way:
    """The way moved so that it passes (x, y) at `along`."""
    at = [np.interp(along, way.along_N, way.points_N2[:, axis]) for axis in (0, 1)]
    return replace(way, points_N2=way.points_N2 + (x - at[0], y - at[1]))


def _add_crossing(stage: Stage, category: Category, key_s: float) -> None:
    """Across the road, at a junction beside it."""
    generator, layout = stage.generator, stage.layout
    road = layout.roads[0]
    x = stage.focus[0] + float(generator.uniform(-0.6, 0.6)) * stage.radius
    if len(layout.roads) > 1 and abs(x) < layout.roads[1].half + 1:
        x = math.copysign(layout.roads[1].half + float(generator.uniform(1.4, 3.2)), x)
    up = 1 if generator.random() < 0.5 else -1
    builder = WayBuilder(-road.half - 30, 0.0, 0.0).go(30).go(2 * road.half, "cross").go(30)
    way = _turn_way(builder.build(), up * math.pi / 2 + float(generator.normal(0, 0.08)), x)
    looks = draw_looks(generator, category)
    speed = _speed(generator, category)
    key = 30 + 2 * road.half * float(generator.uniform(0.2, 0.8))
    stage.add(Actor(looks, drive_steadily(way, speed, key, key_s, (0.0, stage.duration_s))))
