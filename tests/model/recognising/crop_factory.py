"""Crops of drawn things."""

from __future__ import annotations

import numpy as np

from tubelet.model.recognising.base import Crop
from tubelet.records import Box

IN_THE_MIDDLE = Box(40, 30, 100, 90)


def draw_crop(
    size: tuple[int, int] = (120, 160),
    box: Box = IN_THE_MIDDLE,
    *,
    colour: tuple[int, int, int] = (200, 30, 30),
    around: tuple[int, int, int] = (60, 120, 60),
    round_mask: bool = True,
    weight: float = 1.0,
) -> Crop:
    """A coloured disc (or rectangle) that fills its box, on a plain background. `size` is (height, width)."""
    height, width = size
    image = np.empty((height, width, 3), np.uint8)
    image[:] = around
    rows, columns = np.mgrid[0:height, 0:width]
    if round_mask:
        across = (columns + 0.5 - box.centre[0]) / (box.width / 2)
        down = (rows + 0.5 - box.centre[1]) / (box.height / 2)
        mask = across**2 + down**2 <= 1
    else:
        mask = (columns >= box.x0) & (columns < box.x1) & (rows >= box.y0) & (rows < box.y1)
    image[mask] = colour
    return Crop(image, mask, box, weight)
