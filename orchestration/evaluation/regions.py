"""What a tracker says of an object's place, as a mask over the whole frame."""

from __future__ import annotations

import numpy as np

from tubelet.model.frame import Frame
from tubelet.model.masks import encode_mask, resize_mask
from tubelet.records import Box, Observation, Rle


def as_rle(observation: Observation, frame: Frame) -> Rle:
    """The mask on the source frame's grid; a box stands for the mask where there is none."""
    height, width = frame.source_height, frame.source_width
    if observation.mask is None:
        return fill_box(observation.box, height, width)
    return resize_mask(observation.mask, height, width)


def fill_box(box: Box, height: int, width: int) -> Rle:
    """A box as a mask: the pixels whose centre lies inside it."""
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    inside_rows = (rows >= box.y0) & (rows < box.y1)
    inside_columns = (columns >= box.x0) & (columns < box.x1)
    return encode_mask(inside_rows[:, None] & inside_columns)
