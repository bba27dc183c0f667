"""Films of things in one colour each before a plain ground, as `ColourNetwork` understands them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.model.tracking.film_factory import Thing
from tubelet.model.frame import Frame
from tubelet.model.masks import Mask

RED, BLUE, GREEN, WHITE = (190, 30, 30), (30, 50, 200), (30, 160, 40), (240, 240, 240)
HEIGHT, WIDTH = 180, 320


@dataclass(frozen=True)
class PlainFilm:
    """Frames, and of each thing the pixels in sight, frame by frame: `truth[frame][thing]`."""

    frames: list[Frame]
    truth: list[list[Mask]]


def film_plainly(
    things: Sequence[Thing], duration_s: float, *, fps: float = 6.0, ground: int = 110
) -> PlainFilm:
    """Draw the things in order, the last on top, with a little noise."""
    generator = np.random.default_rng(0)
    frames, truth = [], []
    for index in range(round(duration_s * fps)):
        picture = np.full((HEIGHT, WIDTH, 3), float(ground))
        covers: list[Mask] = []
        for thing in things:
            cover = thing.cover(index / fps, HEIGHT, WIDTH)
            picture[cover] = thing.colour
            covers = [earlier & ~cover for earlier in covers] + [cover]
        picture += generator.normal(0, 3, picture.shape)
        image = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
        frames.append(Frame(index / fps, image, WIDTH, HEIGHT))
        truth.append(covers)
    return PlainFilm(frames, truth)
