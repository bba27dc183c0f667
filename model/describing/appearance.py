"""How an object looks, as a short vector: for "more like this" and for joining broken tracklets.

A histogram of soft colour bins over the whole object, its upper half and its lower half, and its shape. It
stays much the same from any distance and through small changes of exposure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tubelet.model.describing.cells import Array, Cells, measure_cells
from tubelet.model.describing.colour import split_lab
from tubelet.model.frame import Image
from tubelet.model.masks import Mask

_NUM_GREYS, _NUM_HUES, _NUM_CHROMAS = 5, 8, 2
_NUM_BINS = _NUM_GREYS + _NUM_HUES * _NUM_CHROMAS
NUM_DIMENSIONS = 3 * _NUM_BINS + 1

_PALE_SATURATION, _FULL_SATURATION = 0.04, 0.16
"""Below the first a cell is grey, above the second it is fully coloured, between them it is some of both."""

_SHAPE_WEIGHT = 0.15


def appearance_vector(image: Image, mask: Mask) -> tuple[float, ...]:
    """The look of a masked object, 64 numbers of length 1; cosine 1 means alike.

    `image` is (h, w, 3) RGB, `mask` (h, w). Raises ValueError for an empty mask.
    """
    return tuple(float(value) for value in _measure_appearance(image, mask))


def mean_appearance(pictures: Sequence[tuple[Image, Mask]]) -> tuple[float, ...]:
    """The look of one object over several pictures, of length 1; empty when every mask is empty."""
    vectors = [_measure_appearance(image, mask) for image, mask in pictures if mask.any()]
    if not vectors:
        return ()
    return tuple(float(value) for value in _scale_to_one(np.mean(vectors, axis=0)))


def _measure_appearance(image: Image, mask: Mask) -> Array:
    cells = measure_cells(image, mask)
    bins = _assign_bins(cells)
    upper = np.clip(1.5 - 2 * cells.height, 0, 1)[:, None]  # 1 in the top quarter, 0 in the bottom one
    parts = [bins, bins * upper, bins * (1 - upper)]
    # The square root makes the cosine Bhattacharyya's coefficient: many small bins count, not the peak alone.
    histograms = [np.sqrt(part.sum(axis=0) / max(float(part.sum()), 1e-9)) for part in parts]
    rows, columns = mask.any(axis=1).sum(), mask.any(axis=0).sum()
    shape = _SHAPE_WEIGHT * np.clip(np.log2(rows / columns), -3, 3)
    return _scale_to_one(np.concatenate([*histograms, [shape]]))


def _assign_bins(cells: Cells) -> Array:
    """Each cell shared among the bins near it: (n, 21), rows sum to 1."""
    lightness, saturation, hue = split_lab(cells.lab)
    colourful = np.clip(
        (saturation - _PALE_SATURATION) / (_FULL_SATURATION - _PALE_SATURATION), 0, 1
    ) * np.clip((lightness - 0.1) / 0.15, 0, 1)
    greys = _spread(lightness * (_NUM_GREYS - 1), _NUM_GREYS, wrap=False)
    hues = _spread(hue / 360 * _NUM_HUES, _NUM_HUES, wrap=True)
    strong = np.clip((saturation - 0.12) / 0.16, 0, 1)[:, None]
    tints = np.concatenate([hues * (1 - strong), hues * strong], axis=1)
    return np.concatenate([greys * (1 - colourful)[:, None], tints * colourful[:, None]], axis=1)


def _spread(position: Array, num_bins: int, *, wrap: bool) -> Array:
    """Linear shares of the two bins around each position: (n,) to (n, num_bins)."""
    distance = np.abs(position[:, None] - np.arange(num_bins)[None])
    if wrap:
        distance = np.minimum(distance, num_bins - distance)
    near = np.clip(1 - distance, 0, 1)
    shares: Array = near / near.sum(axis=1, keepdims=True)
    return shares


def _scale_to_one(vector: Array) -> Array:
    scaled: Array = vector / np.linalg.norm(vector)
    return scaled
