"""What a person marks on a frame: a box in words, or a mask as a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tubelet.errors import InputError
from tubelet.model.masks import Mask
from tubelet.records import Box


def parse_box(text: str) -> Box:
    """A box written as `x0,y0,x1,y1` in pixels, the far sides exclusive. Raises InputError otherwise."""
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"The box is {text!r}", expected="x0,y0,x1,y1 in pixels of the frame", do="write four numbers"
        ) from None
    if not (np.isfinite([x0, y0, x1, y1]).all() and x0 < x1 and y0 < y1):
        raise InputError(f"The box is {text!r}", expected="x0 < x1 and y0 < y1", do="correct its corners")
    return Box(x0, y0, x1, y1)


def read_mask(path: Path, height: int, width: int) -> Mask:
    """A mask from a picture file of the frame's size: the object is what is neither black nor transparent.

    Raises InputError for a file that is no picture, of another size, or without the object.
    """
    encoded = np.frombuffer(path.read_bytes(), np.uint8) if path.is_file() else np.empty(0, np.uint8)
    picture = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    if picture is None:
        raise InputError(f"{path} is no picture", expected="a PNG", do="name a mask picture")
    if picture.shape[:2] != (height, width):
        raise InputError(
            f"The mask {path} is {picture.shape[1]} x {picture.shape[0]} and the frame {width} x {height}",
            expected="a mask of the frame's own size",
            do="draw it on a frame of the video",
        )
    channels = picture[..., None] if picture.ndim == 2 else picture
    mask: Mask = np.asarray(channels[..., :3].any(axis=-1))
    if channels.shape[-1] == 4:
        mask &= channels[..., 3] > 0
    if not mask.any():
        raise InputError(
            f"The mask {path} is empty", expected="some pixels of the object", do="draw the object"
        )
    return mask
