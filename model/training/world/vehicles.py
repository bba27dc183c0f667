"""Cars, vans, pickups, SUVs, buses and trucks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tubelet.model.training.world.solids import GLOSSY, GLOWING, Builder, Geometry, Rgb, Solid, shade

_GLASS: Rgb = (34, 42, 52)
_TYRE: Rgb = (24, 24, 26)
_TRIM: Rgb = (30, 31, 34)

MATTE_PAINT = 0.4
"""Sheet metal that shines a little."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is drawn as one, and its place on the ground: x0, x1, y0, y1 in metres."""

    geometry: Geometry
    footprint: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Body:
    """A rigid body: its units, which upright planes part, and its length, width and height in metres."""

    units: tuple[Unit, ...]
    size: tuple[float, float, float]
    attributes: dict[str, str]


def build_vehicle(generator: np.random.Generator, category: str, paint: Rgb, second: Rgb | None) -> Body:
    """A vehicle; `second` colours a truck's cab, a bus's or van's stripe, or a car's roof."""
    builders = {
        "car": _build_car,
        "suv": _build_suv,
        "van": _build_van,
        "pickup": _build_pickup,
        "bus": _build_bus,
        "truck": _build_truck,
    }
    return builders[category](generator, paint, second)


def _make_body(builder: Builder, size: tuple[float, float, float], attributes: dict[str, str]) -> Body:
    length, width, _ = size
    whole = Unit(builder.build(), (-length / 2, length / 2, -width / 2, width / 2))
    return Body((whole,), size, attributes)


def _glass(generator: np.random.Generator) -> Rgb:
    level = float(generator.uniform(0.7, 1.7))
    return shade(_GLASS, level)


def _add_wheels(
    builder: Builder,
    generator: np.random.Generator,
    xs: list[float],
    half: float,
    radius: float,
    width: float = 0.22,
) -> None:
    hub = shade((150, 152, 156), float(generator.uniform(0.35, 1.2)))
    for x in xs:
        for side in (-1, 1):
            inner, outer = sorted((side * (half - width), side * (half - 0.01)))
            builder.add_block(
                (x - radius * 0.9, x + radius * 0.9),
                (inner, outer),
                (0.0, radius * 1.2),
                _TYRE,
                inset=(radius * 0.2, radius * 0.2, 0),
                layer=-1,
                detail=True,
            )
            spot = (x, side * (half + 0.012), radius)
            builder.add_disc(spot, radius * 1.16, shade(_TRIM, 0.6), side=side, layer=0.55, detail=True)
            builder.add_disc(spot, radius, _TYRE, side=side, layer=0.6)
            builder.add_disc(spot, radius * 0.62, hub, side=side, layer=0.65, detail=True)


def _add_lamps(
    builder: Builder, solid: Solid, v: tuple[float, float], inset: float = 0.03, width: float = 0.17
) -> None:
    for face, rgb in (("front", (246, 244, 226)), ("rear", (176, 16, 20))):
        for left, right in ((inset, inset + width), (1 - inset - width, 1 - inset)):
            builder.add_patch(solid, face, (left, right), v, rgb, finish=GLOWING)
        builder.add_patch(
            solid, face, (0.38, 0.62), (v[0] - 0.25, v[0] - 0.08), (214, 214, 206), finish=GLOWING
        )


def _build_car(generator: np.random.Generator, paint: Rgb, second: Rgb | None) -> Body:
    kind = str(generator.choice(["sedan", "hatchback", "coupe", "wagon"], p=[0.4, 0.3, 0.12, 0.18]))
    length = {"sedan": 4.6, "hatchback": 4.05, "coupe": 4.4, "wagon": 4.7}[kind] * generator.uniform(
        0.95, 1.06
    )
    half = generator.uniform(0.86, 0.93)
    belt, top = generator.uniform(0.84, 0.94), generator.uniform(1.38, 1.52) - 0.08 * (kind == "coupe")
    builder, glass = Builder(), _glass(generator)
    back, front = -length / 2, length / 2
    builder.add_block(
        (back + 0.15, front - 0.15), (-half + 0.1, half - 0.1), (0.12, 0.3), shade(_TRIM, 0.5), layer=-2
    )
    body = builder.add_block(
        (back, front),
        (-half, half),
        (0.24, belt),
        paint,
        inset=(0.10, 0.06, 0.06),
        finish=GLOSSY,
    )
    nose = {"sedan": 0.30, "hatchback": 0.27, "coupe": 0.34, "wagon": 0.29}[kind] * length
    tail = {"sedan": 0.17, "hatchback": 0.03, "coupe": 0.11, "wagon": 0.02}[kind] * length
    lean = {"sedan": 0.50, "hatchback": 0.32, "coupe": 0.75, "wagon": 0.28}[kind]
    cabin = builder.add_block(
        (back + tail, front - nose),
        (-half + 0.07, half - 0.07),
        (belt, top),
        paint,
        inset=(generator.uniform(0.55, 0.75), lean, 0.16),
        layer=1,
        finish=GLOSSY,
        top_rgb=second,
    )
    _glaze_cabin(builder, cabin, glass, pillar=0.5)
    builder.add_side_patches(body, (0.02, 0.98), (0.0, 0.1), shade(paint, 0.55))
    builder.add_side_patches(body, (0.5, 0.506), (0.15, 0.95), shade(paint, 0.6))
    builder.add_patch(body, "front", (0.24, 0.76), (0.25, 0.6), _TRIM)
    _add_lamps(builder, body, (0.55, 0.82))
    _add_mirrors(builder, front - nose - 0.35, half, belt, paint)
    _add_wheels(builder, generator, [back + 0.19 * length, front - 0.19 * length], half, 0.32)
    return _make_body(builder, (length, 2 * half, top), {"type": kind})


def _glaze_cabin(builder: Builder, cabin: Solid, glass: Rgb, pillar: float) -> None:
    builder.add_patch(cabin, "front", (0.05, 0.95), (0.06, 0.92), glass, finish=GLOSSY, detail=False)
    builder.add_patch(cabin, "rear", (0.08, 0.92), (0.12, 0.88), glass, finish=GLOSSY, detail=False)
    builder.add_side_patches(cabin, (0.07, pillar - 0.015), (0.1, 0.86), glass, finish=GLOSSY, detail=False)
    builder.add_side_patches(cabin, (pillar + 0.015, 0.94), (0.1, 0.86), glass, finish=GLOSSY, detail=False)


def _add_mirrors(builder: Builder, x: float, half: float, z: float, paint: Rgb) -> None:
    for side in (-1, 1):
        low, high = sorted((side * half, side * (half + 0.16)))
        builder.add_block((x - 0.07, x + 0.07), (low, high), (z, z + 0.13), paint, layer=1.2, detail=True)


def _build_suv(generator: np.random.Generator, paint: Rgb, second: Rgb | None) -> Body:
    length, half = generator.uniform(4.45, 5.0), generator.uniform(0.94, 1.0)
    belt, top = generator.uniform(1.05, 1.15), generator.uniform(1.72, 1.9)
    builder, glass = Builder(), _glass(generator)
    back, front = -length / 2, length / 2
    builder.add_block((back + 0.2, front - 0.2), (-half + 0.1, half - 0.1), (0.2, 0.42), _TRIM, layer=-2)
    body = builder.add_block(
        (back, front), (-half, half), (0.34, belt), paint, inset=(0.10, 0.04, 0.04), finish=GLOSSY
    )
    nose = 0.26 * length
    cabin = builder.add_block(
        (back + 0.04, front - nose),
        (-half + 0.05, half - 0.05),
        (belt, top),
        paint,
        inset=(0.42, 0.2, 0.12),
        layer=1,
        finish=GLOSSY,
        top_rgb=second,
    )
    _glaze_cabin(builder, cabin, glass, pillar=0.58)
    builder.add_side_patches(cabin, (0.28, 0.31), (0.08, 0.9), paint, finish=GLOSSY, above=0.6)
    builder.add_side_patches(body, (0.0, 1.0), (0.0, 0.16), _TRIM)
    builder.add_side_patches(body, (0.52, 0.526), (0.2, 0.95), shade(paint, 0.6))
    builder.add_patch(body, "front", (0.2, 0.8), (0.3, 0.68), _TRIM)
    builder.add_patch(body, "front", (0.0, 1.0), (0.0, 0.2), _TRIM)
    _add_lamps(builder, body, (0.6, 0.84))
    for side in (-1, 1):
        y = side * (half - 0.28)
        builder.add_capsule(
            (back + 0.4, y, top + 0.05), (front - nose - 0.6, y, top + 0.05), 0.03, _TRIM, layer=2
        )
    _add_mirrors(builder, front - nose - 0.3, half, belt, paint)
    _add_wheels(builder, generator, [back + 0.19 * length, front - 0.19 * length], half, 0.39, 0.26)
    return _make_body(builder, (length, 2 * half, top), {"type": "suv"})


def _build_van(generator: np.random.Generator, paint: Rgb, second: Rgb | None) -> Body:
    cargo = bool(generator.random() < 0.55)
    length, half, top = (
        generator.uniform(4.9, 5.9),
        generator.uniform(0.98, 1.03),
        generator.uniform(2.05, 2.5),
    )
    builder, glass = Builder(), _glass(generator)
    back, front = -length / 2, length / 2
    builder.add_block((back + 0.2, front - 0.2), (-half + 0.1, half - 0.1), (0.15, 0.36), _TRIM, layer=-2)
    belt = 1.12
    body = builder.add_block(
        (back, front), (-half, half), (0.3, belt), paint, inset=(0.12, 0.0, 0.02), finish=GLOSSY
    )
    box = builder.add_block(
        (back, front - 0.62),
        (-half + 0.02, half - 0.02),
        (belt, top),
        paint,
        inset=(0.62, 0.05, 0.1),
        layer=1,
        finish=GLOSSY,
    )
    if second is not None:
        builder.add_side_patches(body, (0.0, 1.0), (0.45, 0.8), second, finish=GLOSSY, detail=False)
    builder.add_patch(box, "front", (0.05, 0.95), (0.08, 0.75), glass, finish=GLOSSY, detail=False)
    builder.add_side_patches(box, (0.74, 0.96), (0.08, 0.62), glass, finish=GLOSSY, detail=False)
    if not cargo:
        builder.add_side_patches(box, (0.04, 0.36), (0.1, 0.64), glass, finish=GLOSSY, detail=False)
        builder.add_side_patches(box, (0.39, 0.70), (0.1, 0.64), glass, finish=GLOSSY, detail=False)
    builder.add_patch(box, "rear", (0.1, 0.46), (0.2, 0.7), glass, finish=GLOSSY)
    builder.add_patch(box, "rear", (0.54, 0.9), (0.2, 0.7), glass, finish=GLOSSY)
    builder.add_patch(box, "rear", (0.49, 0.51), (0.0, 1.0), shade(paint, 0.6))
    builder.add_side_patches(body, (0.66, 0.667), (0.05, 1.0), shade(paint, 0.6))
    builder.add_side_patches(body, (0.4, 0.407), (0.05, 1.0), shade(paint, 0.6))
    builder.add_patch(body, "front", (0.2, 0.8), (0.35, 0.62), _TRIM)
    builder.add_patch(body, "front", (0.0, 1.0), (0.0, 0.22), _TRIM)
    _add_lamps(builder, body, (0.55, 0.8))
    _add_mirrors(builder, front - 1.1, half, belt + 0.1, _TRIM)
    _add_wheels(builder, generator, [back + 0.2 * length, front - 0.17 * length], half, 0.34)
    return _make_body(builder, (length, 2 * half, top), {"type": "cargo van" if cargo else "minibus"})


def _build_pickup(generator: np.random.Generator, paint: Rgb, second: Rgb | None) -> Body:
    length, half = generator.uniform(5.1, 5.7), generator.uniform(0.95, 1.02)
    belt, top = generator.uniform(1.05, 1.15), generator.uniform(1.75, 1.92)
    builder, glass = Builder(), _glass(generator)
    back, front = -length / 2, length / 2
    builder.add_block((back + 0.2, front - 0.2), (-half + 0.1, half - 0.1), (0.22, 0.46), _TRIM, layer=-2)
    body = builder.add_block(
        (back, front), (-half, half), (0.38, belt), paint, inset=(0.08, 0.0, 0.03), finish=GLOSSY
    )
    bed = generator.uniform(0.36, 0.45)
    nose = 0.24 * length
    builder.add_patch(body, "top", (0.02, bed - 0.02), (0.08, 0.92), (38, 38, 40), detail=False)
    builder.add_patch(body, "top", (0.04, bed * 0.55), (0.12, 0.88), (54, 54, 56), above=0.52)
    cabin = builder.add_block(
        (back + bed * length, front - nose),
        (-half + 0.06, half - 0.06),
        (belt, top),
        paint,
        inset=(0.5, 0.14, 0.13),
        layer=1,
        finish=GLOSSY,
    )
    _glaze_cabin(builder, cabin, glass, pillar=0.5)
    load = generator.random()
    if load < 0.3:
        cargo = (float(generator.uniform(90, 190)), 120.0, 80.0) if second is None else second
        builder.add_block(
            (back + 0.4, back + 0.4 + bed * length * 0.55),
            (-0.5, 0.5),
            (belt - 0.05, belt + generator.uniform(0.1, 0.3)),
            cargo,
            layer=0.9,
        )
    builder.add_side_patches(body, (bed, bed + 0.007), (0.1, 1.0), shade(paint, 0.6))
    builder.add_side_patches(body, (0.0, 1.0), (0.0, 0.12), _TRIM)
    builder.add_patch(body, "front", (0.2, 0.8), (0.3, 0.7), _TRIM)
    builder.add_patch(body, "front", (0.0, 1.0), (0.0, 0.2), (150, 150, 152))
    _add_lamps(builder, body, (0.6, 0.84), width=0.13)
    _add_mirrors(builder, front - nose - 0.4, half, belt, _TRIM)
    _add_wheels(builder, generator, [back + 0.2 * length, front - 0.18 * length], half, 0.4, 0.28)
    return _make_body(
        builder, (length, 2 * half, top), {"type": "pickup", "load": "crate" if load < 0.3 else "none"}
    )


def _build_bus(generator: np.random.Generator, paint: Rgb, second: Rgb | None) -> Body:
    length, half, top = generator.uniform(9.5, 12.2), 1.26, generator.uniform(2.95, 3.25)
    builder, glass = Builder(), _glass(generator)
    back, front = -length / 2, length / 2
    builder.add_block((back + 0.2, front - 0.2), (-half + 0.1, half - 0.1), (0.15, 0.36), _TRIM, layer=-2)
    body = builder.add_block(
        (back, front), (-half, half), (0.32, top), paint, inset=(0.12, 0.05, 0.05), finish=GLOSSY
    )
    if second is not None:
        builder.add_side_patches(body, (0, 1), (0.05, 0.3), second, detail=False, finish=GLOSSY)
        builder.add_patch(body, "rear", (0, 1), (0.05, 0.3), second, detail=False, finish=GLOSSY)
        builder.add_patch(body, "front", (0, 1), (0.05, 0.24), second, detail=False, finish=GLOSSY)
    num = int(generator.integers(5, 8))
    for k in range(num):
        left, right = 0.03 + 0.94 * k / num, 0.03 + 0.94 * (k + 1) / num - 0.012
        builder.add_side_patches(
            body, (left, right), (0.46, 0.82), glass, finish=GLOSSY, detail=False, above=0.6
        )
    for place in (0.9, 0.5):
        builder.add_patch(
            body, "right", (place - 0.05, place + 0.05), (0.04, 0.8), shade(glass, 1.3), above=0.65
        )
    builder.add_patch(
        body, "front", (0.05, 0.95), (0.36, 0.82), glass, finish=GLOSSY, detail=False, above=0.6
    )
    builder.add_patch(body, "front", (0.2, 0.8), (0.86, 0.95), (250, 176, 40), finish=GLOWING, above=0.6)
    builder.add_patch(body, "rear", (0.1, 0.9), (0.55, 0.85), glass, finish=GLOSSY, detail=False, above=0.6)
    _add_lamps(builder, body, (0.14, 0.2), width=0.14)
    for x in (-0.25, 0.2):
        builder.add_block(
            (x * length, x * length + 1.6), (-0.7, 0.7), (top, top + 0.22), shade(paint, 0.9), layer=1,
            inset=(0.15, 0.15, 0.1), detail=True,
        )  # fmt: skip
    _add_wheels(builder, generator, [back + 0.24 * length, front - 0.22 * length], half, 0.48, 0.3)
    return _make_body(builder, (length, 2 * half, top), {"type": "bus"})


def _build_truck(generator: np.random.Generator, paint: Rgb, second: Rgb | None) -> Body:
    kind = str(generator.choice(["box truck", "tipper", "flatbed", "tanker"], p=[0.52, 0.18, 0.15, 0.15]))
    length, half = generator.uniform(6.8, 10.5), generator.uniform(1.15, 1.26)
    cab_top, cab_length = generator.uniform(2.4, 2.9), generator.uniform(1.9, 2.3)
    load_top = {"box truck": generator.uniform(3.1, 3.7), "tipper": 2.3, "flatbed": 1.5, "tanker": 2.8}[kind]
    cab = paint if second is None else second
    front_part, builder, glass = Builder(), Builder(), _glass(generator)
    back, front = -length / 2, length / 2
    builder.add_block((back + 0.1, front - 2.0), (-half + 0.35, half - 0.35), (0.5, 0.95), _TRIM, layer=-2)
    step = front - cab_length
    low = front_part.add_block(
        (step, front), (-half, half), (0.5, 1.4), cab, inset=(0.04, 0, 0), finish=GLOSSY, layer=0
    )
    high = front_part.add_block(
        (step, front - 0.04),
        (-half, half),
        (1.4, cab_top),
        cab,
        inset=(0.3, 0.05, 0.1),
        finish=GLOSSY,
        layer=0.7,
    )
    front_part.add_patch(
        high, "front", (0.05, 0.95), (0.08, 0.78), glass, finish=GLOSSY, detail=False, above=0.2
    )
    front_part.add_side_patches(high, (0.3, 0.9), (0.1, 0.72), glass, finish=GLOSSY, detail=False, above=0.2)
    front_part.add_patch(low, "front", (0.18, 0.82), (0.35, 0.8), _TRIM, above=0.2)
    front_part.add_patch(low, "front", (0.0, 1.0), (0.0, 0.24), (70, 70, 74), above=0.2)
    for left in (0.04, 0.8):
        front_part.add_patch(
            low, "front", (left, left + 0.16), (0.28, 0.5), (246, 244, 226), finish=GLOWING, above=0.3
        )
    x = (back, step - 0.25)
    if kind == "box truck":
        load = builder.add_block(x, (-half, half), (1.0, load_top), paint, layer=0, finish=MATTE_PAINT)
        builder.add_patch(load, "rear", (0.49, 0.51), (0, 1), shade(paint, 0.6), above=0.3)
        for k in range(1, int(generator.integers(1, 6))):
            builder.add_side_patches(load, (k / 6, k / 6 + 0.006), (0, 1), shade(paint, 0.75), above=0.3)
    elif kind == "tipper":
        load = builder.add_block(
            x, (-half, half), (1.0, load_top), paint, inset=(-0.1, -0.1, -0.05), layer=0, finish=MATTE_PAINT
        )
        builder.add_patch(load, "top", (0.03, 0.97), (0.06, 0.94), (112, 96, 76), detail=False, above=0.3)
        for k in range(1, 6):
            builder.add_side_patches(load, (k / 6, k / 6 + 0.03), (0, 1), shade(paint, 0.75), above=0.3)
    elif kind == "flatbed":
        load = builder.add_block(x, (-half, half), (0.95, load_top), paint, layer=0, finish=MATTE_PAINT)
        builder.add_patch(load, "top", (0.03, 0.97), (0.05, 0.95), (104, 88, 70), detail=False, above=0.3)
    else:
        builder.add_block(x, (-half + 0.1, half - 0.1), (0.9, 1.15), _TRIM, layer=-0.5)
        middle, tall = (x[0] + x[1]) / 2, (load_top - 1.1) / 2
        builder.add_capsule(
            (x[0] + tall, 0, 1.1 + tall), (x[1] - tall, 0, 1.1 + tall), min(half, tall), paint, layer=0
        )
        builder.add_block(
            (middle - 0.4, middle + 0.4), (-0.3, 0.3), (load_top - 0.05, load_top + 0.15), _TRIM, layer=0.3
        )
    frame = builder.add_block((back, back + 0.15), (-half, half), (0.55, 0.95), _TRIM, layer=-0.6)
    for left in (0.04, 0.82):
        builder.add_patch(frame, "rear", (left, left + 0.14), (0.3, 0.8), (190, 18, 22), finish=GLOWING)
    axles = [front - 1.2, back + 1.1] + ([back + 2.2] if length > 8 else [])
    _add_wheels(builder, generator, axles[1:], half, 0.5, 0.32)
    _add_wheels(front_part, generator, axles[:1], half, 0.5, 0.32)
    units = (
        Unit(builder.build(), (back, step - 0.2, -half, half)),
        Unit(front_part.build(), (step - 0.1, front, -half, half)),
    )
    return Body(units, (length, 2 * half, max(cab_top, load_top)), {"type": kind})
