"""Colours that bear a name: paint whose measured name holds in light and in shade."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tubelet.model.describing.cells import convert_to_oklab, decode_srgb
from tubelet.model.describing.colour import COLOUR_NAMES, name_cells

_SHADES = (1.02, 0.9, 0.8, 0.7)
"""Factors of the sRGB value under which a paint keeps its name, as far as any paint of that name does."""

_GRID = 26


def sample_colour(generator: np.random.Generator, name: str) -> NDArray[np.float64]:
    """An sRGB colour (3,), 0..255, that is called `name`, varied in hue, saturation and value."""
    table, weights = _list_colours()[name]
    chosen = table[min(int(np.searchsorted(weights, generator.random())), len(table) - 1)]
    jittered: NDArray[np.float64] = np.clip(chosen + generator.uniform(-4, 4, 3), 0, 255)
    return jittered


@lru_cache(maxsize=1)
def _list_colours() -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Of each name the grid colours that keep it in shade, and the cumulative weights to draw them by."""
    levels = np.linspace(6, 250, _GRID)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    names = _name(grid)
    white, black = COLOUR_NAMES.index("white"), COLOUR_NAMES.index("black")
    holds = np.stack([_name(grid * shade) == names for shade in _SHADES]).cumprod(axis=0).sum(axis=0)
    spread = grid.max(axis=1) - grid.min(axis=1)
    result = {}
    for place, name in enumerate(COLOUR_NAMES):
        usable = names == place
        if place == white:
            usable &= (spread < 22) & (grid.min(axis=1) > 216)
        elif place == black:
            usable &= (spread < 20) & (grid.max(axis=1) < 48)
        elif name == "grey":
            usable &= (spread < 12) & (grid.max(axis=1) > 85) & (grid.max(axis=1) < 172)
        else:
            usable &= holds >= holds[usable].max()
        table = grid[usable]
        strength = np.ones(len(table)) if spread[usable].max() < 40 else (20 + spread[usable]) ** 1.5
        result[name] = (table, np.cumsum(strength / strength.sum()))
    return result


def _name(srgb: NDArray[np.float64]) -> NDArray[np.intp]:
    light = decode_srgb(np.clip(srgb, 0, 255).round().astype(np.uint8))
    return name_cells(convert_to_oklab(light))
