"""Masks as COCO run-length encoding, through pycocotools."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from tubelet.records import Box, Rle

Mask = NDArray[np.bool_]


def encode_mask(mask: NDArray[Any]) -> Rle:
    """Encode a (height, width) mask; any non-zero cell belongs to the object."""
    if mask.ndim != 2:
        raise ValueError(f"mask has shape {mask.shape}; expected (height, width)")
    packed = coco.encode(np.asfortranarray(mask != 0, dtype=np.uint8))
    return Rle(height=mask.shape[0], width=mask.shape[1], counts=packed["counts"])


def decode_mask(rle: Rle) -> Mask:
    """The mask as a boolean (height, width) array."""
    decoded: NDArray[np.uint8] = coco.decode({"size": [rle.height, rle.width], "counts": rle.counts})
    return decoded.astype(bool)


def mask_area(rle: Rle) -> int:
    """Number of cells in the mask, without decoding it."""
    return int(coco.area({"size": [rle.height, rle.width], "counts": rle.counts}))


def mask_box(rle: Rle) -> Box:
    """The box around the mask, in cells of its grid; empty for an empty mask."""
    packed = {"size": [rle.height, rle.width], "counts": rle.counts}
    left, top, width, height = coco.toBbox(packed).tolist()
    return Box(left, top, left + width, top + height)


def box_around(mask: Mask) -> Box | None:
    """The box around the mask, in cells of its grid; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def mask_iou(first: Rle, second: Rle) -> float:
    """Intersection over union of two masks on the same grid, without decoding them."""
    if (first.height, first.width) != (second.height, second.width):
        raise ValueError(
            f"masks lie on different grids: {first.height} x {first.width} and "
            f"{second.height} x {second.width}"
        )
    pair = [{"size": [rle.height, rle.width], "counts": rle.counts} for rle in (first, second)]
    return float(coco.iou(pair[:1], pair[1:], [0])[0, 0])


def resize_mask(rle: Rle, height: int, width: int) -> Rle:
    """The mask on another grid over the same picture.

    A cell belongs to the object when half of it does. Of a thing too small for that on a coarser grid, the
    cells that it covers most are kept.
    """
    if (rle.height, rle.width) == (height, width):
        return rle
    is_finer = height * width > rle.height * rle.width
    cover = cv2.resize(
        decode_mask(rle).astype(np.float32),
        (width, height),
        interpolation=cv2.INTER_LINEAR if is_finer else cv2.INTER_AREA,
    )
    return encode_mask((cover > 0) & (cover >= min(0.5, float(cover.max()))))


def shrink_mask(rle: Rle, longest: int) -> Rle:
    """The mask on a grid of at most `longest` cells a side, or as it is where its grid is not larger."""
    scale = longest / max(rle.height, rle.width)
    if scale >= 1:
        return rle
    return resize_mask(rle, max(1, round(rle.height * scale)), max(1, round(rle.width * scale)))
