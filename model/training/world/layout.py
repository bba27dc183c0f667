"""Where things can be: roads, junctions, car parks, lawns and squares, and how their ground looks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.textures import Rgb, Texture, make_surface

Polygon = list[tuple[float, float]]

ROAD_PLACES = ("road", "crossroads", "t-junction", "car-park")
OPEN_PLACES = ("plaza", "lawn", "path", "floor")
REACH_M = 140.0

_ASPHALT: tuple[Rgb, ...] = ((104, 104, 106), (84, 85, 88), (128, 126, 122), (68, 70, 74), (148, 146, 142))
_GREEN: tuple[Rgb, ...] = ((92, 118, 66), (74, 104, 52), (120, 130, 78), (104, 124, 84), (138, 134, 92))
_PAVING: tuple[Rgb, ...] = (
    (162, 158, 150),
    (140, 138, 136),
    (176, 164, 148),
    (150, 132, 120),
    (186, 182, 176),
)
_FLOOR: tuple[Rgb, ...] = (
    (150, 118, 86),
    (178, 170, 158),
    (120, 104, 92),
    (96, 100, 112),
    (200, 194, 184),
    (130, 70, 60),
)
_EARTH: tuple[Rgb, ...] = ((158, 138, 108), (176, 164, 136), (138, 118, 92), (204, 188, 152))


@dataclass(frozen=True, slots=True)
class Road:
    """A straight road through the origin. `heading` is 0 (along x) or 90 degrees, in radians."""

    heading: float
    num_lanes: int
    lane_width: float
    verge: float = 0.0

    @property
    def half(self) -> float:
        """Half of its width, with the strip where cars are parked."""
        return self.num_lanes * self.lane_width + self.verge


@dataclass(slots=True)
class Area:
    """A piece of ground of one surface; no polygon means everywhere."""

    polygons: list[Polygon]
    base: Rgb
    contrast: float
    kind: str


@dataclass(slots=True)
class Layout:
    """A place: `side` is 1 where one drives on the right, -1 on the left."""

    place: str
    side: int
    roads: list[Road] = field(default_factory=list)
    arms: list[float] = field(default_factory=list)
    slots: list[tuple[float, float, float]] = field(default_factory=list)
    pavement: float = 2.5
    areas: list[Area] = field(default_factory=list)
    marks: list[tuple[Polygon, Rgb]] = field(default_factory=list)

    def is_road(self, x: float, y: float, margin: float = 0.0) -> bool:
        """Whether a point lies on a carriageway."""
        return any(abs(y if road.heading == 0 else x) < road.half + margin for road in self.roads)


def make_layout(generator: np.random.Generator, place: str) -> Layout:
    """Draw a place of one of ROAD_PLACES or OPEN_PLACES."""
    layout = Layout(place, side=1 if generator.random() < 0.72 else -1)
    if place in ("road", "crossroads", "t-junction"):
        _lay_roads(generator, layout)
    elif place == "car-park":
        _lay_car_park(generator, layout)
    else:
        _lay_open(generator, layout)
    _scatter_stains(generator, layout)
    return layout


def paint_ground(
    generator: np.random.Generator,
    layout: Layout,
    centre: tuple[float, float],
    extent: float,
    side_px: int,
    photograph: Texture | None = None,
) -> Texture:
    """The ground (px, px, 4) of a square of `extent` metres, row 0 at the least y; channel 4 is 0."""
    scale = side_px / extent
    origin = np.array([centre[0] - extent / 2, centre[1] - extent / 2])
    ground: Texture | None = None
    for place, area in enumerate(layout.areas):
        if place and not any(_touches(polygon, origin, extent) for polygon in area.polygons):
            continue
        surface = make_surface(generator, area.base, area.contrast, area.kind, side_px, side_px)
        if place == 0 and photograph is not None:
            surface = np.asarray(cv2.resize(photograph, (side_px, side_px)), dtype=np.uint8)
        if ground is None:
            ground = surface
            continue
        mask = np.zeros((side_px, side_px), np.uint8)
        for polygon in area.polygons:
            _fill(mask, polygon, origin, scale, 255)
        cv2.copyTo(surface, mask, ground)
    assert ground is not None
    _draw_marks(ground, layout, origin, scale)
    result = np.zeros((side_px, side_px, 4), np.uint8)
    cv2.mixChannels([ground], [result], [0, 0, 1, 1, 2, 2])
    return result


def _draw_marks(picture: Texture, layout: Layout, origin: NDArray[np.float64], scale: float) -> None:
    """All marks that touch the map, in their order; the arithmetic is done for all corners at once."""
    if not layout.marks:
        return
    counts = [len(polygon) for polygon, _ in layout.marks]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    corners = np.array([point for polygon, _ in layout.marks for point in polygon])
    extent = picture.shape[0] / scale
    low, high = np.minimum.reduceat(corners, starts), np.maximum.reduceat(corners, starts)
    touching = ((high > origin) & (low < origin + extent)).all(axis=1)
    fixed = np.clip((corners - origin) * scale * 16, -4e5, 4e5).round().astype(np.int32)
    for place in np.flatnonzero(touching).tolist():
        polygon = fixed[starts[place] : starts[place] + counts[place]]
        cv2.fillPoly(picture, [polygon], layout.marks[place][1], cv2.LINE_AA, 4)


def _fill(
    picture: Texture, polygon: Polygon, origin: NDArray[np.float64], scale: float, rgb: Rgb | int
) -> None:
    if not _touches(polygon, origin, picture.shape[0] / scale):
        return
    corners = (np.asarray(polygon) - origin) * scale
    fixed = np.clip(corners * 16, -4e5, 4e5).round().astype(np.int32)
    cv2.fillPoly(picture, [fixed], rgb, cv2.LINE_AA, 4)


def _touches(polygon: Polygon, origin: NDArray[np.float64], extent: float) -> bool:
    """Whether the box around a polygon meets the square of a map."""
    x, y = float(origin[0]), float(origin[1])
    return (
        max(p[0] for p in polygon) > x
        and min(p[0] for p in polygon) < x + extent
        and max(p[1] for p in polygon) > y
        and min(p[1] for p in polygon) < y + extent
    )


def turn_polygon(polygon: Polygon, heading: float) -> Polygon:
    """The polygon turned about the origin."""
    c, s = math.cos(heading), math.sin(heading)
    return [(c * x - s * y, s * x + c * y) for x, y in polygon]


def _rectangle(x0: float, x1: float, y0: float, y1: float) -> Polygon:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _pick(generator: np.random.Generator, options: tuple[Rgb, ...], spread: float = 14) -> Rgb:
    base = np.array(options[int(generator.integers(len(options)))])
    shifted = np.clip(base + generator.uniform(-spread, spread) + generator.uniform(-5, 5, 3), 20, 235)
    return (float(shifted[0]), float(shifted[1]), float(shifted[2]))


def _lay_roads(generator: np.random.Generator, layout: Layout) -> None:
    lanes = int(generator.choice([1, 2, 3], p=[0.5, 0.4, 0.1]))
    width = float(generator.uniform(3.0, 3.7))
    verge = 2.2 if layout.place == "road" and generator.random() < 0.5 else 0.0
    layout.roads.append(Road(0.0, lanes, width, verge))
    layout.arms = [0.0, math.pi]
    if layout.place != "road":
        layout.roads.append(Road(math.pi / 2, int(generator.choice([1, 2], p=[0.6, 0.4])), width))
        layout.arms += [-math.pi / 2] if layout.place == "t-junction" else [math.pi / 2, -math.pi / 2]
    layout.pavement = float(generator.uniform(1.8, 3.4))
    outside = _GREEN if generator.random() < 0.55 else (_PAVING if generator.random() < 0.7 else _EARTH)
    layout.areas.append(Area([], _pick(generator, outside), float(generator.uniform(0.1, 0.3)), "mixed"))
    paving: list[Polygon] = []
    road: list[Polygon] = []
    kerb: list[Polygon] = []
    for arm in layout.arms:
        half = next(r.half for r in layout.roads if abs(math.sin(r.heading - arm)) < 0.1)
        for shapes, extra in ((paving, layout.pavement), (kerb, 0.18), (road, 0.0)):
            reach = REACH_M
            shapes.append(turn_polygon(_rectangle(-half - extra, reach, -half - extra, half + extra), arm))
    layout.areas.append(
        Area(paving, _pick(generator, _PAVING), float(generator.uniform(0.05, 0.16)), "rough")
    )
    layout.areas.append(Area(kerb, _pick(generator, _PAVING, 30), 0.05, "fine"))
    layout.areas.append(Area(road, _pick(generator, _ASPHALT), float(generator.uniform(0.06, 0.2)),
                             str(generator.choice(["rough", "mixed", "fine"]))))  # fmt: skip
    white = float(generator.uniform(190, 240))
    for arm in layout.arms:
        _mark_arm(generator, layout, arm, (white, white, white - 4))


def _mark_arm(generator: np.random.Generator, layout: Layout, arm: float, white: Rgb) -> None:
    road = next(r for r in layout.roads if abs(math.sin(r.heading - arm)) < 0.1)
    crossing = [r.half for r in layout.roads if r is not road]
    start = (crossing[0] + 1.2) if crossing else 0.0
    yellow = generator.random() < 0.25
    middle: Rgb = (222, 180, 60) if yellow else white
    zebra = bool(crossing) and generator.random() < 0.6
    if zebra:
        stripe = -road.half + 0.3
        while stripe < road.half - 0.6:
            layout.marks.append(
                (turn_polygon(_rectangle(start, start + 2.6, stripe, stripe + 0.5), arm), white)
            )
            stripe += 1.0
        start += 3.2
    if crossing:
        sign = -layout.side
        low, high = sorted((0.0, -sign * road.half))
        layout.marks.append((turn_polygon(_rectangle(start, start + 0.4, low, high), arm), white))
    for lane in range(-road.num_lanes, road.num_lanes + 1):
        y = lane * road.lane_width
        if abs(lane) == road.num_lanes:
            layout.marks.append((turn_polygon(_rectangle(start, REACH_M, y - 0.06, y + 0.06), arm), white))
        elif lane == 0 and road.num_lanes > 1:
            for shift in (-0.12, 0.12):
                layout.marks.append(
                    (
                        turn_polygon(_rectangle(start, REACH_M, y + shift - 0.05, y + shift + 0.05), arm),
                        middle,
                    )
                )
        else:
            x = start + 0.5
            while x < 75:
                layout.marks.append((turn_polygon(_rectangle(x, x + 2.4, y - 0.07, y + 0.07), arm), middle))
                x += 6.0


def _lay_car_park(generator: np.random.Generator, layout: Layout) -> None:
    layout.areas.append(Area([], _pick(generator, _ASPHALT), float(generator.uniform(0.06, 0.2)), "mixed"))
    layout.roads.append(Road(0.0, 1, 3.4))
    layout.arms = [0.0, math.pi]
    white: Rgb = (214, 214, 208)
    grass: list[Polygon] = []
    for row in (-1, 1):
        near, far = row * 3.6, row * 8.8
        low, high = sorted((near, far))
        grass.append(_rectangle(-60, 60, *sorted((far + row * 0.6, far + row * 30))))
        for k in range(-16, 17):
            x = k * 2.7
            layout.marks.append((_rectangle(x - 0.06, x + 0.06, low, high), white))
            heading = math.copysign(math.pi / 2, row) * (1 if generator.random() < 0.6 else -1)
            layout.slots.append((x + 1.35, (near + far) / 2, heading))
    layout.areas.append(Area(grass, _pick(generator, _GREEN), 0.2, "mixed"))


def _lay_open(generator: np.random.Generator, layout: Layout) -> None:
    place = layout.place
    options = {"plaza": _PAVING, "lawn": _GREEN, "path": _GREEN, "floor": _FLOOR}[place]
    kind = {"plaza": "rough", "lawn": "mixed", "path": "mixed", "floor": "cloudy"}[place]
    layout.areas.append(Area([], _pick(generator, options), float(generator.uniform(0.08, 0.3)), kind))
    if place in ("path", "lawn") and generator.random() < 0.75:
        half, angle = float(generator.uniform(1.2, 3)), float(generator.uniform(0, math.pi))
        shapes = [turn_polygon(_rectangle(-REACH_M, REACH_M, -half, half), angle)]
        layout.areas.append(Area(shapes, _pick(generator, _EARTH + _PAVING), 0.14, "rough"))
    if place in ("plaza", "floor") and generator.random() < 0.7:
        size = float(generator.choice([0.6, 1.0, 2.0]))
        tone = float(generator.uniform(0.72, 1.12))
        base = layout.areas[0].base
        joint: Rgb = (base[0] * tone, base[1] * tone, base[2] * tone)
        for k in range(-18, 19):
            p = k * size
            layout.marks.append((_rectangle(p - 0.02, p + 0.02, -18 * size, 18 * size), joint))
            layout.marks.append((_rectangle(-18 * size, 18 * size, p - 0.02, p + 0.02), joint))
    if place == "floor" and generator.random() < 0.4:
        x, y, w, h = generator.uniform(-3, 3, 2).tolist() + generator.uniform(1.5, 4, 2).tolist()
        layout.marks.append((_rectangle(x - w, x + w, y - h, y + h), _pick(generator, _FLOOR, 40)))


def _scatter_stains(generator: np.random.Generator, layout: Layout) -> None:
    """Patches, puddles, covers and leaves: shapes on the ground that are no objects."""
    base = np.array(layout.areas[-1].base)
    for _ in range(int(generator.integers(0, 14))):
        x, y = generator.normal(0, 9, 2)
        size = float(np.exp(generator.uniform(np.log(0.15), np.log(1.6))))
        count = int(generator.integers(4, 9))
        angles = np.sort(generator.uniform(0, math.tau, count))
        radii = size * generator.uniform(0.5, 1.0, count)
        polygon = [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]
        rgb = base * generator.uniform(0.7, 1.25)
        if generator.random() < 0.15:
            rgb = generator.uniform(30, 230, 3)
        rgb = np.clip(rgb, 10, 245)
        layout.marks.append((polygon, (float(rgb[0]), float(rgb[1]), float(rgb[2]))))
