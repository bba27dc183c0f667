"""What stands around and is no object: buildings, walls, trees, posts, bins, benches and signs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tubelet.model.training.world.layout import Layout
from tubelet.model.training.world.solids import GLOWING, Builder, Geometry, Rgb
from tubelet.model.training.world.textures import Texture, draw_bricks, make_facade, make_surface


@dataclass(frozen=True, slots=True)
class Wall:
    """A textured upright rectangle: lower left corner seen from outside, run along the ground, height."""

    corner: tuple[float, float]
    run: tuple[float, float]
    height: float
    texture: Texture


@dataclass(frozen=True, slots=True)
class Static:
    """Something fixed: where it stands, its parts, and its place on the ground in its own frame."""

    x: float
    y: float
    heading: float
    geometry: Geometry
    footprint: tuple[float, float, float, float]
    walls: tuple[Wall, ...] = ()
    height: float = 3.0


def place_statics(
    generator: np.random.Generator,
    layout: Layout,
    focus: tuple[float, float],
    azimuth: float,
    reach: float,
    photographs: list[Texture],
) -> list[Static]:
    """Furnish a place around the focus; `azimuth` is where the camera looks, `reach` what it sees, metres."""
    result: list[Static] = []
    _place_backdrop(generator, layout, focus, azimuth, result, photographs)
    count = int(generator.integers(0, 7))
    for _ in range(count):
        distance = reach * math.sqrt(generator.uniform(0.01, 1.4))
        angle = generator.uniform(0, math.tau)
        x, y = focus[0] + distance * math.cos(angle), focus[1] + distance * math.sin(angle)
        if layout.is_road(x, y, 0.5) or any(math.hypot(x - s[0], y - s[1]) < 3 for s in layout.slots):
            continue
        kinds = ["tree", "post", "bin", "bench", "sign", "bush", "bollard", "lamp", "table", "cone"]
        weights = np.array([3, 2, 1.5, 1.2, 1.2, 2, 1.5, 1.5, 0.6, 0.6])
        if layout.place == "floor":
            weights = np.array([0, 2, 2, 2, 0, 0, 1, 1, 4, 0.5])
        kind = str(generator.choice(kinds, p=weights / weights.sum()))
        result.append(_make(generator, kind, x, y))
    return result


def _make(generator: np.random.Generator, kind: str, x: float, y: float) -> Static:
    b = Builder()
    grey = float(generator.uniform(40, 170))
    metal: Rgb = (grey, grey, grey + 3)
    size, height = 0.15, 3.0
    if kind == "tree":
        height = _add_tree(generator, b)
    elif kind == "bush":
        height, size = 1.2, 0.7
        leaf = _leaf(generator)
        for _ in range(5):
            dx, dy = generator.uniform(-0.5, 0.5, 2)
            r = float(generator.uniform(0.35, 0.6))
            b.add_blob((dx, dy, r), (r, r, r), _vary(generator, leaf, 14))
    elif kind in ("post", "lamp"):
        height = float(generator.uniform(2.2, 3.4) if kind == "post" else generator.uniform(4, 7))
        b.add_capsule((0, 0, 0), (0, 0, height), float(generator.uniform(0.04, 0.12)), metal)
        if kind == "lamp":
            b.add_capsule((0, 0, height), (1.1, 0, height + 0.15), 0.05, metal)
            b.add_blob((1.2, 0, height + 0.1), (0.3, 0.14, 0.1), (226, 226, 214))
    elif kind == "bin":
        r, height = float(generator.uniform(0.24, 0.36)), float(generator.uniform(0.7, 1.1))
        b.add_column((0, 0), (0, height), ((r * 0.85, r * 0.85), (r, r)), _any(generator))
        size = r
    elif kind == "bench":
        wood: Rgb = (float(generator.uniform(90, 160)), 90, 60)
        for z in (0.42,):
            b.add_block((-0.9, 0.9), (-0.22, 0.22), (z, z + 0.07), wood, layer=1)
        b.add_block((-0.9, 0.9), (0.2, 0.27), (0.5, 0.9), wood, layer=1)
        for px in (-0.7, 0.7):
            b.add_block((px - 0.05, px + 0.05), (-0.2, 0.2), (0, 0.42), metal)
        size, height = 0.9, 0.9
    elif kind == "sign":
        height = 2.5
        b.add_capsule((0, 0, 0), (0, 0, 2.0), 0.04, metal)
        face = b.add_block((-0.03, 0.03), (-0.35, 0.35), (1.9, 2.55), _any(generator), layer=1)
        b.add_patch(face, "front", (0.15, 0.85), (0.15, 0.85), _any(generator), finish=GLOWING)
        b.add_patch(face, "rear", (0.15, 0.85), (0.15, 0.85), (150, 150, 150))
    elif kind == "bollard":
        height = 0.9
        b.add_capsule((0, 0, 0), (0, 0, height), 0.09, metal)
    elif kind == "cone":
        height = 0.7
        b.add_column((0, 0), (0, 0.04), ((0.25, 0.25), (0.25, 0.25)), (200, 80, 30))
        b.add_column((0, 0), (0.04, 0.7), ((0.17, 0.17), (0.03, 0.03)), (232, 92, 30), layer=0.1)
    else:
        height, size = 0.75, 0.8
        top = _any(generator)
        for px in (-0.7, 0.7):
            for py in (-0.35, 0.35):
                b.add_capsule((px, py, 0), (px, py, 0.7), 0.03, metal)
        b.add_block((-0.8, 0.8), (-0.45, 0.45), (0.7, 0.76), top, layer=1)
    heading = float(generator.uniform(0, math.tau))
    return Static(x, y, heading, b.build(), (-size, size, -size, size), height=height)


def _add_tree(generator: np.random.Generator, b: Builder) -> float:
    trunk, crown = float(generator.uniform(1.6, 3)), float(generator.uniform(1.0, 2.2))
    bark = float(generator.uniform(50, 110))
    b.add_capsule(
        (0, 0, 0), (0, 0, trunk + 0.5), 0.12 * crown + 0.05, (bark, bark * 0.8, bark * 0.62), end_radius=0.1
    )
    leaf = _leaf(generator)
    if generator.random() < 0.25:
        for k in range(4):
            r = crown * (0.9 - 0.2 * k)
            z = trunk * 0.5 + k * 0.9 * crown * 0.7
            b.add_column(
                (0, 0), (z, z + crown), ((r, r), (0.05, 0.05)), _vary(generator, leaf, 8), layer=1 + k
            )
        return trunk + 4 * crown
    for _ in range(int(generator.integers(5, 10))):
        dx, dy = generator.uniform(-0.7, 0.7, 2) * crown
        r = crown * float(generator.uniform(0.4, 0.75))
        b.add_blob(
            (dx, dy, trunk + crown * float(generator.uniform(0.2, 1.3))),
            (r, r, r * 0.85),
            _vary(generator, leaf, 16),
        )
    return trunk + 2 * crown


def _place_backdrop(
    generator: np.random.Generator,
    layout: Layout,
    focus: tuple[float, float],
    azimuth: float,
    result: list[Static],
    photographs: list[Texture],
) -> None:
    """Buildings or walls on the far side, along roads or across the view."""
    if generator.random() < 0.2:
        return
    if layout.roads and layout.place != "car-park":
        street = layout.roads[0].half + layout.pavement
        cross = layout.roads[1].half + layout.pavement if len(layout.roads) > 1 else 0.0
        far = 1 if math.sin(azimuth) > 0 else -1
        gap = float(generator.uniform(0.5, 6))
        for direction in (-1, 1):
            x = cross + gap if len(layout.roads) > 1 else -2.0 if direction > 0 else 2.0
            for _ in range(int(generator.integers(1, 4))):
                width, depth = float(generator.uniform(7, 16)), float(generator.uniform(6, 10))
                height = float(generator.uniform(3, 12))
                centre = direction * (x + width / 2)
                row = street + gap + depth / 2
                if generator.random() < 0.75:
                    result.append(
                        _make_building(generator, centre, far * row, 0.0, width, depth, height, photographs)
                    )
                x += width + float(generator.uniform(0, 5))
        return
    distance = float(generator.uniform(6, 20)) if layout.place != "floor" else float(generator.uniform(3, 9))
    x, y = focus[0] + distance * math.cos(azimuth), focus[1] + distance * math.sin(azimuth)
    height = float(generator.uniform(1.0, 4.0) if layout.place != "floor" else generator.uniform(2.5, 4))
    heading = azimuth + math.pi / 2 + float(generator.normal(0, 0.15))
    x, y = x + 2 * math.cos(azimuth), y + 2 * math.sin(azimuth)
    width = float(generator.uniform(18, 50))
    result.append(_make_building(generator, x, y, heading, width, 1.0, height, photographs, plain=True))


def _make_building(
    generator: np.random.Generator,
    x: float,
    y: float,
    heading: float,
    width: float,
    depth: float,
    height: float,
    photographs: list[Texture],
    plain: bool = False,
) -> Static:
    if photographs and generator.random() < 0.5:
        texture = photographs[int(generator.integers(len(photographs)))]
    elif plain:
        base = tuple(
            float(v) for v in np.clip(generator.uniform(70, 215) + generator.uniform(-25, 25, 3), 20, 235)
        )
        texture = make_surface(generator, (base[0], base[1], base[2]), 0.12, "mixed", 128, 512)
        if generator.random() < 0.5:
            draw_bricks(texture, (base[0] * 0.8, base[1] * 0.8, base[2] * 0.8), 16, 48)
        for _ in range(int(generator.integers(0, 5))):  # posters, pictures, doors
            u, v = int(generator.integers(0, 480)), int(generator.integers(0, 90))
            w, h = int(generator.integers(8, 50)), int(generator.integers(8, 60))
            texture[v : v + h, u : u + w] = generator.uniform(20, 235, 3).astype(np.uint8)
    else:
        texture = make_facade(generator, max(1, int(height / 3)), max(2, int(width / 3)))
    c, s = math.cos(heading), math.sin(heading)

    def spot(u: float, v: float) -> tuple[float, float]:
        return (x + c * u - s * v, y + s * u + c * v)

    a, d = width / 2, depth / 2
    corners = [spot(-a, -d), spot(a, -d), spot(a, d), spot(-a, d)]
    walls = []
    for k in range(4):
        p, q = corners[k], corners[(k + 1) % 4]
        walls.append(Wall(p, (q[0] - p[0], q[1] - p[1]), height, texture))
    b = Builder()
    roof = float(generator.uniform(70, 150))
    b.faces.append(
        (
            ((-a, -d, height), (a, -d, height), (a, d, height), (-a, d, height)),
            (roof, roof, roof),
            1,
            0,
            False,
        )
    )
    return Static(x, y, heading, b.build(), (-a, a, -d, d), tuple(walls), height)


def _leaf(generator: np.random.Generator) -> Rgb:
    options: tuple[Rgb, ...] = ((70, 104, 48), (52, 84, 42), (104, 124, 56), (150, 110, 44), (84, 110, 70))
    return _vary(generator, options[int(generator.integers(len(options)))], 12)


def _vary(generator: np.random.Generator, rgb: Rgb, spread: float) -> Rgb:
    values = np.clip(np.array(rgb) + generator.uniform(-spread, spread), 5, 250)
    return (float(values[0]), float(values[1]), float(values[2]))


def _any(generator: np.random.Generator) -> Rgb:
    values = generator.uniform(25, 225, 3)
    return (float(values[0]), float(values[1]), float(values[2]))
