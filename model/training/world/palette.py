"""Colours that bear a name: paint whose measured name holds in light and in shade."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tubelet.model.describing.cells import convert_to_oklab, decode_srgb
from tubelet.model.describing.colour import COLOUR_NAMES, name_cells

_SHADES = (1.02, 0.9, 0.8, 0.7)
"""Factors of the sRGB value under which a paint keeps its name, as far as any paint of that name does."""

_MAX_HOLD = {"beige": 2, "orange": 3, "pink": 3}
"""Names of so few paints that fewer shades have to do."""

_NEUTRALS = {"black": (10, 44), "grey": (96, 168), "white": (228, 253)}
"""Range of the value of paints without a hue."""

_GRID = 30


def sample_colour(generator: np.random.Generator, name: str) -> NDArray[np.float64]:
    """An sRGB colour (3,), 0..255, that is called `name`, varied in hue, saturation and value."""
    if name in _NEUTRALS:
        return np.asarray(np.clip(generator.uniform(*_NEUTRALS[name]) + generator.uniform(-3, 3, 3), 0, 255))
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
    holds = np.stack([_name(grid * shade) == names for shade in _SHADES]).cumprod(axis=0).sum(axis=0)
    spread = grid.max(axis=1) - grid.min(axis=1)
    result = {}
    for place, name in enumerate(COLOUR_NAMES):
        if name in _NEUTRALS:
            continue
        usable = names == place
        usable &= holds >= min(_MAX_HOLD.get(name, len(_SHADES)), holds[usable].max())
        strength = (20 + spread[usable]) ** (2.5 if name in _MAX_HOLD else 1.5)
        result[name] = (grid[usable], np.cumsum(strength / strength.sum()))
    return result


def _name(srgb: NDArray[np.float64]) -> NDArray[np.intp]:
    light = decode_srgb(np.clip(srgb, 0, 255).round().astype(np.uint8))
    return name_cells(convert_to_oklab(light))
