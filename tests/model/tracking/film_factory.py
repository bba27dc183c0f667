"""Films with known truth for tracker tests: textured things that move before a textured, noisy scene."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tubelet.model.frame import Frame
from tubelet.model.masks import decode_mask
from tubelet.model.tracking.base import TrackedFrame
from tubelet.records import Observation

Path = Callable[[float], tuple[float, float] | None]


@dataclass(frozen=True)
class Thing:
    """A textured ellipse or rectangle; `path` gives its centre at a time, or None while it is away."""

    colour: tuple[int, int, int]
    size: tuple[int, int]
    path: Path
    is_round: bool = False
    seed: int = 1

    def cover(self, time_s: float, height: int, width: int) -> NDArray[np.bool_]:
        """The pixels it covers at that time."""
        centre = self.path(time_s)
        if centre is None:
            return np.zeros((height, width), bool)
        ys, xs = np.mgrid[0:height, 0:width]
        dx, dy = (xs + 0.5 - centre[0]) / (self.size[0] / 2), (ys + 0.5 - centre[1]) / (self.size[1] / 2)
        inside = dx**2 + dy**2 <= 1 if self.is_round else (abs(dx) <= 1) & (abs(dy) <= 1)
        return np.asarray(inside, bool)


@dataclass
class Film:
    """Things drawn in order (the last on top) before a scene, with noise; `light` scales each picture."""

    things: Sequence[Thing]
    duration_s: float
    fps: float = 6.0
    width: int = 320
    height: int = 180
    light: Callable[[float], float] = lambda time_s: 1.0
    shift: Callable[[float], tuple[int, int]] = lambda time_s: (0, 0)
    noise: float = 2.0
    seed: int = 0
    frames: list[Frame] = field(init=False)
    truth: list[list[NDArray[np.bool_]]] = field(init=False)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        margin = 200
        big = self.height + 2 * margin, self.width + 2 * margin
        coarse = random.uniform(70, 170, (big[0] // 10 + 1, big[1] // 10 + 1, 3))
        scene = np.kron(coarse, np.ones((10, 10, 1)))[: big[0], : big[1]]
        self.frames, self.truth = [], []
        for index in range(round(self.duration_s * self.fps)):
            time_s = index / self.fps
            dx, dy = self.shift(time_s)
            picture = scene[
                margin + dy : margin + dy + self.height, margin + dx : margin + dx + self.width
            ].copy()
            covers = []
            for thing in self.things:
                cover = thing.cover(time_s, self.height, self.width)
                texture = np.random.default_rng(thing.seed).normal(0, 12, (self.height, self.width, 1))
                picture[cover] = (np.asarray(thing.colour) + texture)[cover]
                covers = [earlier & ~cover for earlier in covers] + [cover]
            picture = picture * self.light(time_s) + random.normal(0, self.noise, picture.shape)
            image = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
            self.frames.append(Frame(time_s, image, self.width * 2, self.height * 2))
            self.truth.append(covers)

    def context(self, num: int = 48) -> list[Frame]:
        """Frames spread over the film."""
        indices = np.unique(np.linspace(0, len(self.frames) - 1, min(num, len(self.frames))).round())
        return [self.frames[int(index)] for index in indices]


def straight(start: tuple[float, float], speed: tuple[float, float], since_s: float = 0.0) -> Path:
    """A path of constant speed, in pixels a second, that begins at `since_s`."""

    def place(time_s: float) -> tuple[float, float] | None:
        if time_s < since_s:
            return None
        gone_s = time_s - since_s
        return start[0] + speed[0] * gone_s, start[1] + speed[1] * gone_s

    return place


def collect(result: Iterable[TrackedFrame]) -> dict[int, list[Observation]]:
    """The observations of each object number."""
    objects: dict[int, list[Observation]] = defaultdict(list)
    for tracked in result:
        for item in tracked.objects:
            objects[item.number].append(item.observation)
    return dict(objects)


def measure_ious(
    result: Sequence[TrackedFrame], film: Film, thing: int, min_pixels: int = 60
) -> dict[int, list[float]]:
    """Mask IoU with one thing, by the object number that overlaps it most, where it can be seen."""
    ious: dict[int, list[float]] = defaultdict(list)
    for tracked, covers in zip(result, film.truth, strict=True):
        cover = covers[thing]
        if cover.sum() < min_pixels:
            continue
        best = (0.0, -1)
        for item in tracked.objects:
            assert item.observation.mask is not None
            mask = decode_mask(item.observation.mask)
            best = max(best, (float((mask & cover).sum() / (mask | cover).sum()), item.number))
        ious[best[1]].append(best[0])
    return dict(ious)
