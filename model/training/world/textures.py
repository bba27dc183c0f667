"""Procedural surfaces: noise, asphalt, grass, paving, bricks, facades and skies."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Texture = NDArray[np.uint8]
Rgb = tuple[float, float, float]

TILE = 1024
_SPECTRA = {"fine": (1, 2), "rough": (1, 2, 4, 8), "cloudy": (8, 32, 96, 256), "mixed": (1, 3, 16, 128)}


@lru_cache(maxsize=8)
def _make_noise(kind: str) -> Texture:
    """A tile (TILE, TILE) of noise around 128, the same in every process."""
    generator = np.random.Generator(np.random.PCG64([7, sorted(_SPECTRA).index(kind)]))
    total = np.zeros((TILE, TILE), np.float32)
    for size in _SPECTRA[kind]:
        side = max(2, TILE // size)
        coarse = generator.standard_normal((side, side)).astype(np.float32)
        total += cv2.resize(coarse, (TILE, TILE), interpolation=cv2.INTER_CUBIC)
    total *= 42 / float(total.std())
    return np.clip(total + 128, 0, 255).astype(np.uint8)


def cut_noise(generator: np.random.Generator, kind: str, height: int, width: int) -> Texture:
    """A piece (height, width) of a tile from anywhere in it; a larger one repeats."""
    tile = _make_noise(kind)
    if height > TILE or width > TILE:
        tile = np.tile(tile, (-(-height // TILE), -(-width // TILE)))
    y, x = (int(generator.integers(0, tile.shape[k] - size + 1)) for k, size in enumerate((height, width)))
    return tile[y : y + height, x : x + width]


def colour_noise(noise: Texture, dark: Rgb, light: Rgb) -> Texture:
    """Noise (h, w) as a surface (h, w, 3) between two colours."""
    steps = np.linspace(0, 1, 256)[:, None]
    ramp = np.asarray(dark) * (1 - steps) + np.asarray(light) * steps
    table = np.clip(ramp, 0, 255).astype(np.uint8)[:, None, :]
    return np.asarray(cv2.applyColorMap(noise, table), dtype=np.uint8)


def make_surface(
    generator: np.random.Generator, base: Rgb, contrast: float, kind: str, height: int, width: int
) -> Texture:
    """A surface around a base colour; `contrast` 0..1 sets how far it strays."""
    tint = generator.uniform(-8, 8, 3) * contrast
    dark = tuple(float(value * (1 - contrast) + shift) for value, shift in zip(base, tint, strict=True))
    light = tuple(float(value * (1 + contrast) - shift) for value, shift in zip(base, tint, strict=True))
    noise = cut_noise(generator, kind, height, width)
    return colour_noise(noise, (dark[0], dark[1], dark[2]), (light[0], light[1], light[2]))


def draw_bricks(picture: Texture, joint: Rgb, rows: int, columns: int, thickness: int = 1) -> None:
    """Joints of bricks or slabs over a surface, every other row shifted by half."""
    height, width = picture.shape[:2]
    for row in range(rows + 1):
        y = round(row * height / rows)
        cv2.line(picture, (0, y), (width, y), joint, thickness)
        for column in range(columns + 1):
            x = round((column + 0.5 * (row % 2)) * width / columns)
            cv2.line(picture, (x, y), (x, round((row + 1) * height / rows)), joint, thickness)


def make_facade(generator: np.random.Generator, storeys: int, bays: int) -> Texture:
    """A building's wall with windows, (h, w, 3)."""
    height, width = min(256, 48 * storeys), min(320, 44 * bays)
    bases = ((196, 186, 168), (168, 96, 72), (150, 146, 142), (214, 204, 186), (128, 116, 104), (180, 190,
    196), (108, 84, 70), (206, 178, 138))  # fmt: skip
    red, green, blue = bases[int(generator.integers(len(bases)))]
    shade = float(generator.uniform(0.6, 1.12))
    base: Rgb = (red * shade, green * shade, blue * shade)
    picture = make_surface(generator, base, 0.16, "mixed", height, width)
    style = int(generator.integers(4))
    if style == 0:
        draw_bricks(picture, (base[0] * 0.75, base[1] * 0.75, base[2] * 0.75), storeys * 8, bays * 5)
    glass = tuple(float(v) for v in generator.uniform(30, 110, 3) * 0.4 + generator.uniform(20, 120))
    frame = tuple(float(v) * generator.uniform(0.4, 1.4) for v in base)
    w0, w1 = generator.uniform(0.12, 0.3), generator.uniform(0.7, 0.9)
    h0, h1 = generator.uniform(0.12, 0.3), generator.uniform(0.6, 0.85)
    if style == 3:
        w0, w1 = -0.1, 1.1
    if generator.random() < 0.12:
        return picture
    for storey in range(storeys):
        for bay in range(bays):
            x0, x1 = round((bay + w0) * width / bays), round((bay + w1) * width / bays)
            y0, y1 = round((storey + h0) * height / storeys), round((storey + h1) * height / storeys)
            light = tuple(value * float(generator.uniform(0.7, 1.3)) for value in glass)
            cv2.rectangle(picture, (x0, y0), (x1, y1), light, -1)
            cv2.rectangle(picture, (x0, y0), (x1, y1), frame, 1)
    return picture


def make_sky(generator: np.random.Generator, height: int, width: int) -> tuple[Texture, Rgb]:
    """A sky (h, w, 4), its last row at the horizon, and the horizon's colour."""
    tops = (
        (92, 142, 208),
        (140, 170, 205),
        (188, 194, 202),
        (160, 164, 170),
        (70, 100, 150),
        (210, 214, 220),
    )
    top = np.array(tops[int(generator.integers(len(tops)))], dtype=np.float32)
    low = np.clip(top * 0.4 + np.array([225, 222, 216]) * 0.6 + generator.uniform(-12, 12), 0, 255)
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None] ** 0.8
    picture = np.broadcast_to(top * (1 - share) + low * share, (height, width, 3)).astype(np.float32)
    if generator.random() < 0.7:
        noise = cut_noise(generator, "cloudy", height, width).astype(np.float32)
        cover = np.clip((noise - generator.uniform(110, 170)) / 70, 0, 1)[:, :, None] * (1 - 0.5 * share)
        picture = (picture * (1 - 0.8 * cover) + 240 * 0.8 * cover).astype(np.float32)
    result = np.zeros((height, width, 4), np.uint8)
    result[..., :3] = np.clip(picture, 0, 255)
    return result, (float(low[0]), float(low[1]), float(low[2]))
