"""People and dogs with moving limbs, riders on two wheels, balls and boxes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tubelet.model.training.world.solids import GLOWING, MATTE, Builder, Geometry, Point, Rgb, shade

SKINS: tuple[Rgb, ...] = (
    (236, 200, 176),
    (222, 176, 146),
    (190, 140, 108),
    (146, 100, 74),
    (104, 70, 52),
    (72, 50, 40),
)
HAIRS: tuple[Rgb, ...] = (
    (30, 26, 24),
    (52, 38, 30),
    (92, 62, 40),
    (170, 130, 80),
    (140, 140, 142),
    (110, 50, 28),
)
_SHOES: tuple[Rgb, ...] = ((32, 30, 30), (60, 46, 38), (220, 220, 218), (90, 90, 94))


@dataclass(frozen=True, slots=True)
class Outfit:
    """How a person looks, drawn once: lengths are shares of the height."""

    height: float
    build: float
    skin: Rgb
    hair: Rgb
    top: Rgb
    trousers: Rgb
    shoes: Rgb
    long_hair: bool
    hat: Rgb | None
    sleeves: float
    skirt: bool
    coat: bool
    stripe: Rgb | None
    carries: str
    bag: Rgb
    attributes: dict[str, str] = field(default_factory=dict)


def dress_person(
    generator: np.random.Generator, top: Rgb, trousers: Rgb, stripe: Rgb | None, bag: Rgb
) -> Outfit:
    """Draw everything about a person but the colours of the clothes."""
    child = generator.random() < 0.12
    carries = str(generator.choice(["none", "backpack", "bag", "box"], p=[0.64, 0.16, 0.14, 0.06]))
    skirt, coat = bool(generator.random() < 0.14), bool(generator.random() < 0.16)
    hat = bool(generator.random() < 0.2)
    return Outfit(
        height=float(generator.uniform(1.05, 1.4) if child else generator.uniform(1.55, 1.92)),
        build=float(generator.uniform(0.88, 1.2)),
        skin=SKINS[int(generator.integers(len(SKINS)))],
        hair=HAIRS[int(generator.integers(len(HAIRS)))],
        top=top,
        trousers=trousers,
        shoes=_SHOES[int(generator.integers(len(_SHOES)))],
        long_hair=bool(generator.random() < 0.35),
        hat=bag if hat else None,
        sleeves=float(generator.choice([0.5, 1.0], p=[0.4, 0.6])),
        skirt=skirt,
        coat=coat,
        stripe=stripe,
        carries=carries,
        bag=bag,
        attributes={
            "age": "child" if child else "adult",
            "carries": carries,
            "wears": "skirt" if skirt else "coat" if coat else "trousers",
            "hat": "yes" if hat else "no",
            "pattern": "plain" if stripe is None else "striped",
        },
    )


def pose_person(outfit: Outfit, stride: float, pace: float) -> Geometry:
    """A person in step: `stride` is the phase in radians, `pace` 0 standing, 1 walking, 2 running."""
    h, w = outfit.height, outfit.build * outfit.height
    builder = Builder()
    hip, shoulder = 0.50 * h, 0.815 * h
    swing = 0.42 * min(pace, 1.0) + 0.28 * max(0.0, pace - 1.0)
    lean = 0.03 * h * max(0.0, pace - 0.8)
    bob = 0.012 * h * math.cos(2 * stride) * min(1.0, pace)
    for side in (-1, 1):
        phase = stride + (math.pi if side > 0 else 0)
        angle = swing * math.sin(phase)
        knee = (0.25 + 0.6 * max(0.0, math.cos(phase))) * swing * 1.6
        y = side * 0.052 * w
        joint = (0.245 * h * math.sin(angle), y, hip + bob - 0.245 * h * math.cos(angle))
        ankle = (
            joint[0] + 0.225 * h * math.sin(angle - knee),
            y,
            max(0.03 * h, joint[2] - 0.225 * h * math.cos(angle - knee)),
        )
        leg = outfit.skin if outfit.skirt else outfit.trousers
        builder.add_capsule((0, y, hip + bob), joint, 0.052 * w, outfit.trousers, end_radius=0.040 * w)
        builder.add_capsule(joint, ankle, 0.039 * w, leg, end_radius=0.029 * w)
        builder.add_capsule(
            (ankle[0] - 0.01 * h, y, ankle[2] - 0.008 * h),
            (ankle[0] + 0.075 * h, y, max(0.018 * h, ankle[2] - 0.02 * h)),
            0.024 * h,
            outfit.shoes,
        )
        _add_arm(builder, outfit, side, -0.8 * angle, shoulder + bob, lean, pace)
    low = 0.30 * h if outfit.coat else 0.47 * h
    if outfit.skirt:
        builder.add_column(
            (0, 0), (0.29 * h, 0.56 * h), ((0.1 * w, 0.115 * w), (0.062 * w, 0.085 * w)), outfit.trousers
        )
    _add_torso(builder, outfit, low + bob, shoulder + bob, lean, w)
    _add_head(builder, outfit, h, bob, lean)
    if outfit.carries == "backpack":
        builder.add_block(
            (-0.15 * h + lean, -0.06 * h + lean), (-0.08 * h, 0.08 * h), (0.56 * h, 0.8 * h), outfit.bag,
            inset=(0, 0.02 * h, 0.02 * h),
        )  # fmt: skip
    elif outfit.carries == "bag":
        builder.add_block((-0.08 * h, 0.08 * h), (-0.19 * w, -0.13 * w), (0.27 * h, 0.42 * h), outfit.bag)
    elif outfit.carries == "box":
        builder.add_block((0.09 * h, 0.3 * h), (-0.14 * h, 0.14 * h), (0.52 * h, 0.68 * h), (168, 126, 84))
    return builder.build()


def _add_arm(
    builder: Builder, outfit: Outfit, side: int, angle: float, shoulder: float, lean: float, pace: float
) -> None:
    h, w = outfit.height, outfit.build * outfit.height
    start: Point = (lean, side * 0.115 * w, shoulder - 0.01 * h)
    if outfit.carries == "box":
        elbow: Point = (0.04 * h, side * 0.135 * w, shoulder - 0.17 * h)
        hand: Point = (0.18 * h, side * 0.12 * w, shoulder - 0.2 * h)
    else:
        bend = 0.25 + 0.9 * max(0.0, pace - 1.0)
        elbow = (
            start[0] + 0.17 * h * math.sin(angle),
            side * 0.135 * w,
            start[2] - 0.17 * h * math.cos(angle),
        )
        hand = (
            elbow[0] + 0.15 * h * math.sin(angle + bend),
            side * 0.135 * w,
            elbow[2] - 0.15 * h * math.cos(angle + bend),
        )
    lower = outfit.top if outfit.sleeves > 0.7 else outfit.skin
    builder.add_capsule(start, elbow, 0.033 * w, outfit.top, end_radius=0.028 * w)
    builder.add_capsule(elbow, hand, 0.027 * w, lower, end_radius=0.021 * w)
    builder.add_blob(hand, (0.026 * h, 0.02 * h, 0.028 * h), outfit.skin)


def _add_torso(builder: Builder, outfit: Outfit, low: float, high: float, lean: float, w: float) -> None:
    waist = (0.058 * w, 0.088 * w)
    hem = (0.085 * w, 0.115 * w) if outfit.coat else (0.064 * w, 0.092 * w)
    middle = low + 0.35 * (high - low)
    builder.add_column((0.3 * lean, 0), (low, middle), (hem, waist), outfit.top)
    builder.add_column((lean * 0.7, 0), (middle, high), (waist, (0.058 * w, 0.118 * w)), outfit.top)
    builder.add_capsule(
        (lean, -0.085 * w, high - 0.012 * w), (lean, 0.085 * w, high - 0.012 * w), 0.046 * w, outfit.top
    )
    if outfit.stripe is not None:
        for share in (0.42, 0.66):
            z = low + share * (high - low)
            radii = (0.064 * w, 0.106 * w)
            builder.add_column((lean * 0.7, 0), (z, z + 0.1 * (high - low)), (radii, radii), outfit.stripe)


def _add_head(builder: Builder, outfit: Outfit, h: float, bob: float, lean: float) -> None:
    x, z = lean * 1.4, 0.925 * h + bob
    size = 0.5 * (0.135 * 1.7 * 0.5 + 0.135 * h * 0.5) * 1.0
    builder.add_capsule((lean, 0, 0.82 * h + bob), (x, 0, z), 0.032 * h, outfit.skin)
    builder.add_blob((x + 0.012, 0, z), (size * 0.82, size * 0.72, size), outfit.skin)
    builder.add_blob(
        (x - size * 0.22, 0, z + size * 0.30), (size * 0.86, size * 0.80, size * 0.82), outfit.hair
    )
    if outfit.long_hair:
        builder.add_capsule(
            (x - size * 0.5, 0, z),
            (x - size * 0.6, 0, z - 1.5 * size),
            0.62 * size,
            outfit.hair,
            end_radius=0.4 * size,
        )
    if outfit.hat is not None:
        builder.add_blob((x, 0, z + size * 0.55), (size * 0.98, size * 0.9, size * 0.62), outfit.hat)
        builder.add_blob(
            (x + size * 0.8, 0, z + size * 0.4), (size * 0.6, size * 0.5, size * 0.1), outfit.hat
        )


@dataclass(frozen=True, slots=True)
class Coat:
    """How a dog looks: `scale` is its shoulder height in metres."""

    scale: float
    main: Rgb
    second: Rgb | None
    stocky: float
    ears_up: bool
    tail_up: bool


def pose_dog(coat: Coat, stride: float, pace: float) -> Geometry:
    """A dog in step; phase and pace as for people."""
    s, b = coat.scale, Builder()
    r = 0.17 * s * coat.stocky
    chest, hip = (0.42 * s, 0, 0.80 * s), (-0.42 * s, 0, 0.80 * s)
    second = coat.second or coat.main
    swing = 0.4 * min(pace, 1) + 0.3 * max(0.0, pace - 1)
    for k, (base, x) in enumerate(((hip, -0.42), (hip, -0.42), (chest, 0.42), (chest, 0.42))):
        side = 1 if k % 2 else -1
        phase = stride + (0, math.pi, math.pi, 0)[k]
        angle = swing * math.sin(phase)
        top = (base[0], side * 0.1 * s, base[2] - 0.06 * s)
        knee = (top[0] + 0.36 * s * math.sin(angle) + (-0.04 * s if x < 0 else 0), top[1], top[2] - 0.34 * s)
        foot = (knee[0] + 0.34 * s * math.sin(angle - 0.3 * swing), top[1], max(0.04 * s, knee[2] - 0.36 * s))
        b.add_capsule(top, knee, 0.085 * s * coat.stocky, coat.main, end_radius=0.055 * s)
        b.add_capsule(knee, foot, 0.05 * s, second, end_radius=0.045 * s)
    b.add_capsule(hip, chest, r, coat.main, end_radius=r * 1.16)
    b.add_blob((0.36 * s, 0, 0.76 * s), (0.22 * s, 0.18 * s * coat.stocky, 0.22 * s), second)
    if coat.second is not None:
        b.add_blob((-0.2 * s, 0.02 * s, 0.88 * s), (0.17 * s, 0.175 * s * coat.stocky, 0.1 * s), second)
    nod = 0.03 * s * math.sin(2 * stride) * min(1, pace)
    head = (0.78 * s, 0.0, 1.12 * s + nod)
    b.add_capsule((0.46 * s, 0, 0.88 * s), head, 0.13 * s * coat.stocky, coat.main, end_radius=0.11 * s)
    b.add_blob(head, (0.15 * s, 0.125 * s, 0.135 * s), coat.main)
    muzzle = (head[0] + 0.25 * s, 0.0, head[2] - 0.06 * s)
    b.add_capsule(head, muzzle, 0.085 * s, second, end_radius=0.06 * s)
    b.add_blob((muzzle[0] + 0.05 * s, 0, muzzle[2] + 0.02 * s), (0.03 * s, 0.035 * s, 0.03 * s), (22, 20, 20))
    for side in (-1, 1):
        tip = (head[0] - 0.06 * s, side * 0.11 * s, head[2] + (0.2 * s if coat.ears_up else -0.12 * s))
        b.add_capsule(
            (head[0] - 0.05 * s, side * 0.09 * s, head[2] + 0.08 * s),
            tip,
            0.05 * s,
            shade(coat.main, 0.8),
            end_radius=0.03 * s,
        )
    wag = 0.12 * s * math.sin(3 * stride + 1)
    end = (-0.72 * s, wag, 1.1 * s) if coat.tail_up else (-0.8 * s, wag, 0.6 * s)
    b.add_capsule((-0.5 * s, 0, 0.86 * s), end, 0.05 * s, coat.main, end_radius=0.03 * s)
    return b.build()


def build_ball(
    generator: np.random.Generator, radius: float, main: Rgb, second: Rgb | None
) -> Callable[[float], Geometry]:
    """A ball that shows its turning by patches of the second colour; the phase is its angle."""
    spots = generator.normal(size=(6, 3))
    spots /= np.linalg.norm(spots, axis=1, keepdims=True)
    angles = np.arange(8) * math.tau / 8
    cap = float(generator.uniform(0.38, 0.52))
    circles = []
    for spot in spots:
        side = np.cross(spot, (0.0, 0.0, 1.0) if abs(spot[2]) < 0.9 else (1.0, 0.0, 0.0))
        side /= np.linalg.norm(side)
        up = np.cross(spot, side)
        ring = np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * up
        circles.append(math.cos(cap) * spot + math.sin(cap) * ring)
    rings = np.array(circles) * radius

    def pose(angle: float) -> Geometry:
        b = Builder()
        b.add_blob((0, 0, radius), (radius, radius, radius), main)
        if second is not None:
            c, s = math.cos(angle), math.sin(angle)
            turned = rings @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) + (0, 0, radius)
            for ring in turned.tolist():
                b.faces.append((tuple(tuple(point) for point in ring), second, 0.5, MATTE, False))
        return b.build()

    return pose


def build_box(
    generator: np.random.Generator, size: tuple[float, float, float], main: Rgb, second: Rgb | None
) -> Geometry:
    """A carton, crate or suitcase: tape, slats or a stripe in the second colour."""
    length, width, height = size
    b = Builder()
    body = b.add_block((-length / 2, length / 2), (-width / 2, width / 2), (0.0, height), main)
    tape = shade(main, 0.8) if second is None else second
    kind = int(generator.integers(3))
    if kind == 0:
        b.add_patch(body, "top", (0.0, 1.0), (0.42, 0.58), tape)
        b.add_patch(body, "front", (0.42, 0.58), (0.6, 1.0), tape)
        b.add_patch(body, "rear", (0.42, 0.58), (0.6, 1.0), tape)
    elif kind == 1:
        for face in ("front", "rear", "left", "right"):
            for k in (0.22, 0.48, 0.74):
                b.add_patch(body, face, (0.0, 1.0), (k, k + 0.06), tape)
    else:
        for face in ("left", "right", "top", "front", "rear"):
            b.add_patch(body, face, (0.3, 0.7), (0.25, 0.6), tape)
    if generator.random() < 0.3:
        b.add_patch(body, "right", (0.1, 0.3), (0.6, 0.85), (236, 236, 232), finish=GLOWING)
    return b.build()
