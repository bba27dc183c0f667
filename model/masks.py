"""Masks as COCO run-length encoding, through pycocotools."""

from __future__ import annotations

from typing import Any

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


def mask_iou(first: Rle, second: Rle) -> float:
    """Intersection over union of two masks on the same grid, without decoding them."""
    if (first.height, first.width) != (second.height, second.width):
        raise ValueError(
            f"masks lie on different grids: {first.height} x {first.width} and "
            f"{second.height} x {second.width}"
        )
    pair = [{"size": [rle.height, rle.width], "counts": rle.counts} for rle in (first, second)]
    return float(coco.iou(pair[:1], pair[1:], [0])[0, 0])
