"""Lay pieces of photographs over the objects of a picture, so that none is told by its paint alone.

Rendered things are of few colours, and their windows of one. A real window mirrors the street, and paint the
sky: what has learnt on rendered things alone leaves such parts out. Backgrounds that vary for the same
reason are known as domain randomisation (Tobin et al., 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_MIN_COVER, _MAX_COVER = 0.3, 0.95
"""How much of what was there a piece hides."""
_MAX_PIECES = 3
_GAIN = 0.3
"""Spread of what a piece's light is multiplied by."""


def redress(
    image: Bytes,
    labels_HW: Bytes,
    numbers: Sequence[int],
    photographs: Sequence[Bytes],
    generator: np.random.Generator,
    *,
    share: float = 0.7,
) -> Bytes:
    """A picture (H, W, 3) with pieces of photographs over `share` of the objects of these numbers: over a
    whole one, or parts of it. What is not theirs is left as it is."""
    dressed = image.astype(np.float32)
    for number in numbers:
        if generator.random() >= share:
            continue
        rows, columns = np.nonzero(labels_HW == number)
        window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        own_hw = labels_HW[window] == number
        for _ in range(int(generator.integers(1, _MAX_PIECES + 1))):
            photograph = photographs[int(generator.integers(len(photographs)))]
            piece_hw3 = _cut_piece(photograph, own_hw.shape, generator)
            cover = float(generator.uniform(_MIN_COVER, _MAX_COVER))
            cover_hw = cover * (own_hw & _choose_part(own_hw.shape, generator))[:, :, None]
            dressed[window] += cover_hw * (piece_hw3 - dressed[window])
    return np.asarray(dressed.round().clip(0, 255), np.uint8)


def _cut_piece(
    photograph: Bytes, size: tuple[int, ...], generator: np.random.Generator
) -> NDArray[np.float32]:
    """A rectangle from anywhere in a photograph, at this size and in some other light."""
    height, width = photograph.shape[:2]
    tall, wide = (max(8, int(side * generator.uniform(0.1, 0.7))) for side in (height, width))
    y, x = int(generator.integers(0, height - tall + 1)), int(generator.integers(0, width - wide + 1))
    piece = cv2.resize(
        photograph[y : y + tall, x : x + wide], (size[1], size[0]), interpolation=cv2.INTER_AREA
    )
    return piece.astype(np.float32) * np.float32(np.exp(generator.normal(0, _GAIN)))


def _choose_part(size: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.bool_]:
    """All of a rectangle, what lies on one side of a line through it, or an ellipse in it."""
    y, x = np.mgrid[: size[0], : size[1]]
    y, x = (y + 0.5) / size[0], (x + 0.5) / size[1]
    kind = int(generator.integers(3))
    if kind == 0:
        return np.ones(size, bool)
    middle_y, middle_x = generator.uniform(0.2, 0.8, 2)
    if kind == 1:
        angle = generator.uniform(0, 2 * np.pi)
        return np.asarray((y - middle_y) * np.sin(angle) + (x - middle_x) * np.cos(angle) > 0)
    tall, wide = generator.uniform(0.1, 0.5, 2)
    return np.asarray(((y - middle_y) / tall) ** 2 + ((x - middle_x) / wide) ** 2 < 1)
