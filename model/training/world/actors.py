"""The objects of a scene: looks, sizes and the words for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tubelet.model.training.world.cycles import Cycle, pose_cycle
from tubelet.model.training.world.figures import (
    Coat,
    build_ball,
    build_box,
    dress_person,
    pose_dog,
    pose_person,
)
from tubelet.model.training.world.palette import sample_colour
from tubelet.model.training.world.paths import Drive
from tubelet.model.training.world.solids import Geometry, Rgb
from tubelet.model.training.world.spec import COLOURS, VEHICLES, Category
from tubelet.model.training.world.vehicles import Unit, build_vehicle

Poser = Callable[[float, float], tuple[Unit, ...]]
"""Parts at a phase of the movement (metres travelled) and a speed in m/s."""

_DOG_COLOURS = ("brown", "black", "white", "grey", "beige", "orange")
_TROUSERS = ("black", "blue", "grey", "beige", "brown", "white", "green", "red", "teal", "purple", "pink")
_TROUSER_WEIGHTS = np.array([5, 5, 4, 3, 2, 2, 1, 1, 1, 1, 1]) / 26


@dataclass(frozen=True, slots=True)
class Looks:
    """An object without a place: `size` is length, width and height in metres."""

    category: Category
    colours: tuple[str, ...]
    attributes: dict[str, str]
    size: tuple[float, float, float]
    pose: Poser


@dataclass(frozen=True, slots=True)
class Actor:
    """An object and what it does; `leads` says whom it follows or overtakes, as an index among the actors."""

    looks: Looks
    drive: Drive
    follows: int = -1
    overtakes: int = -1


def draw_looks(generator: np.random.Generator, category: Category, *, parked: bool = False) -> Looks:
    """An object of a category, its colours drawn from all names."""
    if category in VEHICLES:
        return _draw_vehicle(generator, category)
    if category in ("bicycle", "motorbike"):
        return _draw_cycle(generator, category, parked)
    if category == "person":
        return _draw_person(generator)
    if category == "dog":
        return _draw_dog(generator)
    return _draw_thing(generator, category)


def _colour(generator: np.random.Generator, name: str) -> Rgb:
    values = sample_colour(generator, name)
    return (float(values[0]), float(values[1]), float(values[2]))


def _pick(generator: np.random.Generator, names: tuple[str, ...] = COLOURS) -> str:
    return names[int(generator.integers(len(names)))]


def _draw_vehicle(generator: np.random.Generator, category: Category) -> Looks:
    main = _pick(generator)
    second: str | None = None
    likely = {"car": 0.08, "suv": 0.05, "van": 0.12, "bus": 0.45, "truck": 0.6, "pickup": 0.0}[category]
    if generator.random() < likely:
        second = str(generator.choice([name for name in COLOURS if name != main]))
        if category in ("car", "suv") and main != "black":
            second = "black" if generator.random() < 0.6 else second
    body = build_vehicle(
        generator, category, _colour(generator, main), None if second is None else _colour(generator, second)
    )
    colours = (main,) if second is None else (main, second)
    where = {"car": "roof", "suv": "roof", "van": "stripe", "bus": "stripe", "truck": "cab"}
    attributes = dict(body.attributes)
    if second is not None:
        attributes[where[category]] = second
    attributes["size"] = "large" if category in ("bus", "truck") else "medium"
    return Looks(category, colours, attributes, body.size, lambda along, speed: body.units)


def _draw_person(generator: np.random.Generator) -> Looks:
    top = _pick(generator)
    trousers = str(generator.choice(_TROUSERS, p=_TROUSER_WEIGHTS))
    striped = generator.random() < 0.12
    stripe = str(generator.choice([n for n in ("white", "black", "red", "yellow", "blue") if n != top]))
    bag = _pick(generator)
    outfit = dress_person(
        generator,
        _colour(generator, top),
        _colour(generator, trousers),
        _colour(generator, stripe) if striped else None,
        _colour(generator, bag),
    )
    attributes = {**outfit.attributes, "top": top, "trousers": trousers, "size": "medium"}
    if striped:
        attributes["stripes"] = stripe
    if outfit.carries in ("backpack", "bag"):
        attributes["bag"] = bag
    if outfit.hat is not None:
        attributes["hat"] = bag
    half = 0.3 * outfit.build
    footprint = (-0.3, 0.3, -half, half)
    cadence = 2 * math.pi / (0.82 * outfit.height)

    def pose(along: float, speed: float) -> tuple[Unit, ...]:
        pace = min(speed / 1.2, 1.0) + max(0.0, min((speed - 2.2) / 1.5, 1.0))
        return (Unit(pose_person(outfit, along * cadence / (1 + 0.5 * max(0, pace - 1)), pace), footprint),)

    colours = (top,) if top == trousers else (top, trousers)
    return Looks("person", colours, attributes, (0.6, 2 * half, outfit.height), pose)


def _draw_cycle(generator: np.random.Generator, category: Category, parked: bool) -> Looks:
    main = _pick(generator)
    paint = _colour(generator, main)
    trousers = str(generator.choice(_TROUSERS, p=_TROUSER_WEIGHTS))
    rider = None
    attributes = {"rider": "no" if parked else "yes", "size": "small" if category == "bicycle" else "medium"}
    colours: tuple[str, ...] = (main,)
    if not parked:
        top = main
        rider = dress_person(
            generator, _colour(generator, top), _colour(generator, trousers), None, (40, 40, 42)
        )
        attributes |= {"top": top, "trousers": trousers}
        colours = (main,) if main == trousers else (main, trousers)
    scale = float(generator.uniform(0.94, 1.08))
    cycle = Cycle(category == "motorbike", paint, rider, scale)
    length, height = (2.1 if cycle.is_motorbike else 1.75) * scale, 1.75 if rider is not None else 1.1
    footprint = (-length / 2, length / 2, -0.3, 0.3)

    def pose(along: float, speed: float) -> tuple[Unit, ...]:
        return (Unit(pose_cycle(cycle, along * 1.3), footprint),)

    return Looks(category, colours, attributes, (length, 0.6, height), pose)


def _draw_dog(generator: np.random.Generator) -> Looks:
    main = _pick(generator, _DOG_COLOURS)
    spotted = generator.random() < 0.4
    second = str(generator.choice([n for n in ("white", "black", "brown", "beige") if n != main]))
    scale = float(generator.choice([0.3, 0.5, 0.65]) * generator.uniform(0.9, 1.1))
    coat = Coat(
        scale,
        _colour(generator, main),
        _colour(generator, second) if spotted else None,
        float(generator.uniform(0.85, 1.35)),
        bool(generator.random() < 0.5),
        bool(generator.random() < 0.6),
    )
    size = "small" if scale < 0.42 else "medium" if scale < 0.58 else "large"
    attributes = {"size": size, "pattern": "spotted" if spotted else "plain"}
    if spotted:
        attributes["spots"] = second
    footprint = (-0.75 * scale, 1.05 * scale, -0.25 * scale, 0.25 * scale)

    def pose(along: float, speed: float) -> tuple[Unit, ...]:
        pace = min(speed / 0.9, 1.0) + max(0.0, min((speed - 1.8) / 2, 1.0))
        return (Unit(pose_dog(coat, along * 2 * math.pi / (1.3 * scale), pace), footprint),)

    colours = (main, second) if spotted else (main,)
    return Looks("dog", colours, attributes, (1.8 * scale, 0.5 * scale, 1.25 * scale), pose)


def _draw_thing(generator: np.random.Generator, category: Category) -> Looks:
    main = _pick(generator)
    second = str(generator.choice([n for n in COLOURS if n != main])) if generator.random() < 0.4 else None
    paint, other = _colour(generator, main), None if second is None else _colour(generator, second)
    colours = (main,) if second is None else (main, second)
    attributes = {"pattern": "plain" if second is None else "two-coloured"}
    if category == "ball":
        radius = float(np.exp(generator.uniform(math.log(0.11), math.log(0.35))))
        attributes["size"] = "small" if radius < 0.16 else "medium" if radius < 0.25 else "large"
        shape = build_ball(generator, radius, paint, other)
        footprint = (-radius, radius, -radius, radius)

        def roll(along: float, speed: float) -> tuple[Unit, ...]:
            return (Unit(shape(along / radius), footprint),)

        return Looks(category, colours, attributes, (2 * radius, 2 * radius, 2 * radius), roll)
    length, width, height = (float(v) for v in np.exp(generator.uniform(math.log(0.3), math.log(1.1), 3)))
    attributes["size"] = (
        "small" if length + width + height < 1.3 else "medium" if length + width + height < 2 else "large"
    )
    geometry: Geometry = build_box(generator, (length, width, height), paint, other)
    unit = Unit(geometry, (-length / 2, length / 2, -width / 2, width / 2))
    return Looks(category, colours, attributes, (length, width, height), lambda along, speed: (unit,))
