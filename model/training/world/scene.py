"""One scene, drawn from a seed: place, light, camera, actors and ground, ready to be rendered at any time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.actors import Actor, draw_looks
from tubelet.model.training.world.camera import CameraPlan, aim_camera, move_camera
from tubelet.model.training.world.cast import fill_stage
from tubelet.model.training.world.degrade import Damage, draw_damage
from tubelet.model.training.world.layout import OPEN_PLACES, Layout, make_layout, paint_ground
from tubelet.model.training.world.light import Light, draw_light
from tubelet.model.training.world.paths import Places, WayBuilder, drive_steadily, stand
from tubelet.model.training.world.photographs import load_photographs
from tubelet.model.training.world.spec import CAMERA_KINDS, CATEGORIES, VEHICLES, Category, ClipSpec
from tubelet.model.training.world.stage import Stage
from tubelet.model.training.world.statics import Static, place_statics
from tubelet.model.training.world.textures import Rgb, Texture, make_sky

Array = NDArray[np.float64]

NEAR_PX, FAR_PX = 640, 320
_IMAGE_S = 4.0


@dataclass(frozen=True, slots=True)
class GroundMap:
    """A square of ground: texture (px, px, 4), middle and side in metres."""

    texture: Texture
    centre: tuple[float, float]
    extent: float


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything about a clip but its pictures. `places` holds each actor's places at `times`.

    A scene that is only traced has no `grounds`.
    """

    layout: Layout
    light: Light
    camera: CameraPlan
    actors: tuple[Actor, ...]
    places: tuple[Places, ...]
    statics: tuple[Static, ...]
    grounds: tuple[GroundMap, ...]
    sky: Texture
    haze_rgb: Rgb
    far_rgb: Rgb
    damage: Damage
    times: Array
    recode_quality: int
    """x264's constant rate factor, or 0 for none."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the camera is to show."""

    view: str
    coverage: float
    focus: tuple[float, float, float]
    min_height: float


def seed_generator(seed: int, spec: ClipSpec, what: int = 0) -> np.random.Generator:
    """A generator for a seed; the splits' streams have nothing in common."""
    words = [seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF, 0 if spec.split == "train" else 0x9E3779B9, what]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def make_scene(seed: int, spec: ClipSpec, *, image: bool = False, painted: bool = True) -> Scene:
    """Draw a scene. With `image`, it lasts some seconds and `times` is one instant of it.

    Without `painted` the ground, most of the work, is left out: the same objects move before the same camera.
    """
    generator = seed_generator(seed, spec)
    duration = _IMAGE_S if image else spec.duration_s
    roads = spec.theme == "traffic" or (spec.theme == "mixed" and generator.random() < 0.55)
    close = generator.random() < 0.26
    if roads:
        place = str(
            generator.choice(["road", "crossroads", "t-junction", "car-park"], p=[0.36, 0.36, 0.12, 0.16])
        )
    else:
        place = str(generator.choice(OPEN_PLACES, p=[0.3, 0.3, 0.2, 0.2]))
    layout = make_layout(generator, place)
    light = draw_light(generator)
    star: Category | None = None
    if close:
        star = CATEGORIES[int(generator.integers(6 if roads else len(CATEGORIES)))]
    framing = _frame(generator, roads, star, layout)
    stage = Stage(generator, layout, framing.focus[:2], framing.coverage * 0.36, duration)
    if star is not None:
        _add_star(stage, star, framing, duration)
    people = 0.28 if roads else 1.0
    fill_stage(stage, people, spec.max_objects if star is None else max(1, spec.max_objects // 2))
    azimuth = float(generator.uniform(-180, 180))
    if place == "road" and framing.view in ("eye-level", "street") and generator.random() < 0.7:
        azimuth = float(generator.choice([90, -90]) + generator.normal(0, 25))
    pose = aim_camera(
        generator, spec.split, framing.view, framing.focus, framing.coverage, azimuth, framing.min_height
    )
    if image:
        times = np.array([float(generator.uniform(0.1, 0.9)) * duration])
    else:
        times = np.arange(spec.num_frames) / spec.frame_rate
    kind = CAMERA_KINDS[int(generator.choice(4, p=[0.58, 0.13, 0.13, 0.16]))]
    camera = move_camera(
        generator, kind, framing.view, pose, times, _drift(generator, stage, framing.coverage, duration)
    )
    places = tuple(actor.drive.locate(times) for actor in stage.actors)
    photographs = load_photographs() if generator.random() < spec.photographs else []
    statics = place_statics(
        generator, layout, framing.focus[:2], math.radians(azimuth), framing.coverage * 0.8, photographs
    )
    statics = _clear_ways(statics, stage.actors, duration, (pose.x, pose.y))
    sky, low = make_sky(generator, 96, 320)
    grounds: tuple[GroundMap, ...] = ()
    mean = np.zeros(3)
    if painted:
        grounds = _paint_grounds(generator, layout, framing, (pose.x, pose.y), photographs)
        mean = grounds[0].texture[::16, ::16, :3].reshape(-1, 3).mean(axis=0)
    return Scene(
        layout=layout,
        light=light,
        camera=camera,
        actors=tuple(stage.actors),
        places=places,
        statics=tuple(statics),
        grounds=grounds,
        sky=sky,
        haze_rgb=low,
        far_rgb=(float(mean[0]), float(mean[1]), float(mean[2])),
        damage=draw_damage(generator, wanted=spec.degrade, weather=light.weather),
        times=times,
        recode_quality=int(generator.integers(24, 37)) if generator.random() < spec.encode else 0,
    )


def _frame(generator: np.random.Generator, roads: bool, star: Category | None, layout: Layout) -> _Frame:
    """From where and how closely to look."""
    junction = len(layout.roads) > 1
    x, y = (float(v) for v in generator.normal(0, 2.5 if junction else 6.0, 2))
    if layout.place in ("road", "car-park"):
        y = float(generator.normal(0, 1.0))
    if star is not None:
        view = str(generator.choice(["overhead", "high", "street", "eye-level"], p=[0.12, 0.24, 0.32, 0.32]))
        size = {"bus": 8.0, "truck": 7.5, "person": 1.5, "dog": 0.95, "ball": 0.5, "box": 0.9, "bicycle": 1.8,
                "motorbike": 2.1}.get(star, 4.2)  # fmt: skip
        coverage = size * float(generator.uniform(1.35, 3.2)) * (1.25 if view == "overhead" else 1.0)
        height = {"person": 0.95, "bus": 1.4, "truck": 1.4, "bicycle": 0.8, "motorbike": 0.8}.get(star, 0.4)
        lowest = 0.55 if star in ("dog", "ball", "box") else 1.25 if star == "person" else 1.35
        return _Frame(view, coverage, (x, y, height), lowest)
    if roads:
        view = str(generator.choice(["overhead", "high", "street", "eye-level"], p=[0.22, 0.34, 0.3, 0.14]))
        coverage = float(np.exp(generator.uniform(math.log(11), math.log(44))))
        coverage *= {"overhead": 1.1, "high": 1.0, "street": 0.8, "eye-level": 0.6}[view]
        return _Frame(view, coverage, (x, y, 0.6), 1.4)
    view = str(generator.choice(["overhead", "high", "street", "eye-level"], p=[0.16, 0.28, 0.3, 0.26]))
    coverage = float(np.exp(generator.uniform(math.log(3.5), math.log(15))))
    return _Frame(view, coverage, (x, y, 0.7), 1.2)


def _add_star(stage: Stage, star: Category, framing: _Frame, duration: float) -> None:
    """Put the object of a close-up at the focus, still or passing."""
    generator = stage.generator
    still = generator.random() < 0.3
    looks = draw_looks(generator, star, parked=still and star in ("bicycle", "motorbike"))
    heading = float(generator.uniform(0, math.tau))
    if stage.layout.roads and star in VEHICLES:
        heading = float(generator.choice([0, math.pi]))
    x, y = framing.focus[:2]
    if still:
        stage.add(Actor(looks, stand(x, y, heading)))
        return
    speed = float(generator.uniform(0.15, 0.6)) * framing.coverage / max(1.0, min(duration, 4.0) / 2)
    builder = WayBuilder(x - 60 * math.cos(heading), y - 60 * math.sin(heading), heading)
    if generator.random() < 0.5:
        way = builder.go(120).build()
        key = 60.0
    else:
        left = generator.random() < 0.5
        radius = max(looks.size[0] * 1.1, speed * float(generator.uniform(0.8, 1.6)))
        angle = math.radians(float(generator.uniform(70, 110))) * (1 if left else -1)
        way = (
            builder.go(60 - radius * 0.7)
            .bend(radius, angle, "turn-left" if left else "turn-right")
            .go(60)
            .build()
        )
        key = (way.parts[1][1] + way.parts[1][2]) / 2
    stage.add(Actor(looks, drive_steadily(way, speed, key, duration / 2, (0, duration))))


def _drift(
    generator: np.random.Generator, stage: Stage, coverage: float, duration: float
) -> tuple[float, float]:
    """A velocity for a translating camera: beside an actor, or any way."""
    if stage.actors and generator.random() < 0.5:
        actor = stage.actors[int(generator.integers(len(stage.actors)))]
        ends = actor.drive.locate(np.array([duration * 0.35, duration * 0.65]))
        dt = max(0.3 * duration, 1e-3)
        return float(np.diff(ends.x_T)[0] / dt), float(np.diff(ends.y_T)[0] / dt)
    speed = float(generator.uniform(0.04, 0.16)) * coverage * min(1.0, 6 / duration)
    angle = float(generator.uniform(0, math.tau))
    return speed * math.cos(angle), speed * math.sin(angle)


def _clear_ways(
    statics: list[Static], actors: list[Actor], duration: float, camera: tuple[float, float]
) -> list[Static]:
    """Take away what stands in somebody's way, or right before the camera."""
    grid = np.arange(-0.5, duration + 0.5, 0.3)
    spots = [
        (np.stack([p.x_T, p.y_T], axis=1), math.hypot(a.looks.size[0], a.looks.size[1]) / 2)
        for a in actors
        for p in (a.drive.locate(grid),)
    ]
    kept = []
    for static in statics:
        c, s = math.cos(static.heading), math.sin(static.heading)
        x0, x1, y0, y1 = static.footprint

        def is_near(
            points: Array,
            margin: float,
            static: Static = static,
            c: float = c,
            s: float = s,
            box: tuple[float, float, float, float] = (x0, x1, y0, y1),
        ) -> bool:
            local = (points - (static.x, static.y)) @ np.array([[c, -s], [s, c]])
            outside = np.maximum(np.maximum(box[0] - local[:, 0], local[:, 0] - box[1]), 0)
            across = np.maximum(np.maximum(box[2] - local[:, 1], local[:, 1] - box[3]), 0)
            return bool((np.hypot(outside, across) < margin).any())

        if is_near(np.array([camera]), 1.6):
            continue
        if not any(is_near(points, radius * 0.75 + 0.1) for points, radius in spots):
            kept.append(static)
    return kept


def _paint_grounds(
    generator: np.random.Generator,
    layout: Layout,
    framing: _Frame,
    camera: tuple[float, float],
    photographs: list[Texture],
) -> tuple[GroundMap, ...]:
    """A fine map of what is near the focus, over a coarse one of what lies behind."""
    near = framing.coverage * (1.9 if framing.view in ("overhead", "high") else 2.4)
    near = max(near, 4.0)
    x, y = framing.focus[:2]
    photograph = (
        photographs[int(generator.integers(len(photographs)))]
        if photographs and generator.random() < 0.5
        else None
    )
    maps = []
    if framing.view != "overhead":
        far = max(4 * near, 110.0) if framing.view in ("eye-level", "street") else 4 * near
        middle = (
            x + 0.25 * far * _unit(x - camera[0], y - camera[1])[0],
            y + 0.25 * far * _unit(x - camera[0], y - camera[1])[1],
        )
        maps.append(GroundMap(paint_ground(generator, layout, middle, far, FAR_PX), middle, far))
    else:
        maps.append(GroundMap(paint_ground(generator, layout, (x, y), near * 3, FAR_PX), (x, y), near * 3))
    maps.append(GroundMap(paint_ground(generator, layout, (x, y), near, NEAR_PX, photograph), (x, y), near))
    return tuple(maps)


def _unit(x: float, y: float) -> tuple[float, float]:
    length = max(math.hypot(x, y), 1e-6)
    return x / length, y / length
