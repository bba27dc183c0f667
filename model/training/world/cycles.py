"""Bicycles and motorbikes, with and without riders."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tubelet.model.training.world.figures import Outfit
from tubelet.model.training.world.solids import GLOSSY, Builder, Geometry, Point, Rgb


@dataclass(frozen=True, slots=True)
class Cycle:
    """A bicycle or a motorbike, with or without its rider."""

    is_motorbike: bool
    paint: Rgb
    rider: Outfit | None
    scale: float


def pose_cycle(cycle: Cycle, stride: float) -> Geometry:
    """A bicycle or motorbike; the cranks turn with the phase."""
    builder = Builder()
    if cycle.is_motorbike:
        _add_motorbike(builder, cycle)
    else:
        _add_bicycle(builder, cycle, stride)
    return builder.build()


def _add_bicycle(b: Builder, cycle: Cycle, stride: float) -> None:
    s, paint = cycle.scale, cycle.paint
    r = 0.345 * s
    rear, front, crank = (-0.52 * s, 0.0, r), (0.54 * s, 0.0, r), (-0.08 * s, 0.0, 0.29 * s)
    seat, head = (-0.2 * s, 0.0, 0.82 * s), (0.38 * s, 0.0, 0.84 * s)
    for wheel in (rear, front):
        b.add_ring(wheel, r, 0.045 * s, (26, 26, 28))
        b.add_ring(wheel, r * 0.1, 0.04 * s, (130, 130, 132))
    for start, end in (
        (crank, seat),
        (crank, head),
        (seat, head),
        (rear, crank),
        (rear, seat),
        (head, front),
    ):
        b.add_capsule(start, end, 0.026 * s, paint)
    b.add_capsule(head, (0.34 * s, 0, 1.0 * s), 0.02 * s, paint)
    b.add_capsule((0.38 * s, -0.25 * s, 1.02 * s), (0.38 * s, 0.25 * s, 1.02 * s), 0.02 * s, (30, 30, 32))
    b.add_capsule(
        (-0.32 * s, 0, 0.92 * s), (-0.1 * s, 0, 0.92 * s), 0.05 * s, (30, 30, 32), end_radius=0.03 * s
    )
    if cycle.rider is not None:
        feet = [
            (crank[0] + 0.16 * s * math.cos(a), y * 0.1 * s, crank[2] + 0.16 * s * math.sin(a))
            for y, a in ((-1, stride), (1, stride + math.pi))
        ]
        _add_rider(b, cycle.rider, (-0.2 * s, 0.0, 0.95 * s), (0.36 * s, 0.22 * s, 1.04 * s), feet, 0.32)


def _add_motorbike(b: Builder, cycle: Cycle) -> None:
    s, paint = cycle.scale, cycle.paint
    r = 0.31 * s
    for x in (-0.68 * s, 0.7 * s):
        b.add_ring((x, 0, r), r * 0.84, 0.13 * s, (24, 24, 26))
        b.add_capsule((x, -0.03, r), (x, 0.03, r), r * 0.4, (120, 120, 124))
    b.add_block((-0.3 * s, 0.32 * s), (-0.15 * s, 0.15 * s), (0.26 * s, 0.6 * s), (56, 56, 60))
    b.add_capsule((0.08 * s, 0, 0.76 * s), (0.36 * s, 0, 0.8 * s), 0.16 * s, paint, end_radius=0.14 * s)
    b.add_capsule((-0.7 * s, 0, 0.82 * s), (0.0, 0, 0.72 * s), 0.11 * s, (30, 30, 32), end_radius=0.14 * s)
    b.add_capsule((-0.92 * s, 0, 0.86 * s), (-0.5 * s, 0, 0.68 * s), 0.09 * s, paint, end_radius=0.16 * s)
    b.add_block(
        (0.42 * s, 0.78 * s),
        (-0.2 * s, 0.2 * s),
        (0.62 * s, 1.02 * s),
        paint,
        inset=(0.2 * s, 0.02, 0.07 * s),
        finish=GLOSSY,
    )
    b.add_capsule((0.5 * s, 0, 0.85 * s), (0.7 * s, 0, r), 0.05 * s, (110, 110, 114))
    b.add_capsule((0.48 * s, -0.34 * s, 1.05 * s), (0.48 * s, 0.34 * s, 1.05 * s), 0.03 * s, (30, 30, 32))
    b.add_capsule((-0.8 * s, -0.16 * s, 0.36 * s), (-0.2 * s, -0.16 * s, 0.3 * s), 0.06 * s, (150, 150, 154))
    b.add_blob((0.8 * s, 0, 0.84 * s), (0.04 * s, 0.09 * s, 0.09 * s), (250, 248, 230))
    b.add_blob((-0.97 * s, 0, 0.84 * s), (0.03 * s, 0.08 * s, 0.05 * s), (190, 16, 20))
    if cycle.rider is not None:
        feet = [(-0.05 * s, side * 0.2 * s, 0.36 * s) for side in (-1, 1)]
        _add_rider(b, cycle.rider, (-0.28 * s, 0.0, 0.9 * s), (0.46 * s, 0.3 * s, 1.06 * s), feet, 0.22)


def _add_rider(b: Builder, rider: Outfit, hip: Point, grip: Point, feet: list[Point], lean: float) -> None:
    w = 1.7 * rider.build
    chest = (hip[0] + lean * 0.95, 0.0, hip[2] + 0.46)
    for side, foot in zip((-1, 1), feet, strict=True):
        y = side * 0.09
        knee = ((hip[0] + foot[0]) / 2 + 0.27, y * 1.3, (hip[2] + foot[2]) / 2 + 0.1)
        b.add_capsule((hip[0], y, hip[2]), knee, 0.052 * w, rider.trousers, end_radius=0.042 * w)
        b.add_capsule(knee, foot, 0.04 * w, rider.trousers, end_radius=0.03 * w)
        b.add_capsule(foot, (foot[0] + 0.12, foot[1], foot[2] - 0.01), 0.04, rider.shoes)
        shoulder = (chest[0], side * 0.19, chest[2])
        elbow = ((shoulder[0] + grip[0]) / 2, side * 0.27, (shoulder[2] + grip[2]) / 2 - 0.05)
        b.add_capsule(shoulder, elbow, 0.034 * w, rider.top, end_radius=0.03 * w)
        b.add_capsule(elbow, (grip[0], side * grip[1], grip[2]), 0.03 * w, rider.top, end_radius=0.022 * w)
    b.add_capsule(hip, chest, 0.095 * w, rider.top, end_radius=0.11 * w)
    b.add_capsule((chest[0], -0.12, chest[2]), (chest[0], 0.12, chest[2]), 0.05 * w, rider.top)
    head = (chest[0] + 0.12, 0.0, chest[2] + 0.25)
    b.add_capsule(chest, head, 0.05, rider.skin)
    b.add_blob(head, (0.1, 0.085, 0.12), rider.skin)
    b.add_blob((head[0] - 0.02, 0, head[2] + 0.045), (0.125, 0.105, 0.105), rider.hat or rider.hair)
