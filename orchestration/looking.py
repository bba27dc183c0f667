"""From a picture of an object to the vector that objects of the index are compared by."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tubelet.errors import InputError
from tubelet.model.marking import read_mask
from tubelet.model.recognising.base import Crop
from tubelet.orchestration.resources import make_recogniser
from tubelet.records import Box
from tubelet.settings import Settings

MAX_PICTURE_BYTES = 64 * 2**20


def look_at_picture(path: Path, region: Box | Path | None, settings: Settings) -> tuple[float, ...]:
    """The vector of what a picture shows: inside a box of it, under a mask of its size, or all of it.

    Raises InputError for a file that is no picture, for a region that shows nothing of it, and where the
    settings name no recogniser.
    """
    recogniser = make_recogniser(settings)
    if recogniser is None:
        raise InputError(
            "The settings name no recogniser, which makes vectors of pictures",
            expected="the recogniser that the index was made with",
            do="choose one, such as TUBELET_RECOGNISER=efficientnet-lite0",
        )
    picture = _read_picture(path)
    height, width = picture.shape[:2]
    if isinstance(region, Path):
        mask = read_mask(region, height, width)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    else:
        whole = Box(0.0, 0.0, float(width), float(height))
        box = whole if region is None else _clip(region, whole)
        mask = np.zeros((height, width), dtype=bool)
        mask[round(box.y0) : max(round(box.y1), 1), round(box.x0) : max(round(box.x1), 1)] = True
        if not mask.any():
            raise InputError(
                f"The box {tuple(region or box)} shows nothing of the {width} x {height} picture",
                expected="a box that overlaps it",
                do="correct its corners",
            )
    (recognition,) = recogniser.recognise([[Crop(picture, mask, box)]])
    return recognition.vector


def _clip(box: Box, whole: Box) -> Box:
    low = [max(own, limit) for own, limit in zip(box[:2], whole[:2], strict=True)]
    high = [min(own, limit) for own, limit in zip(box[2:], whole[2:], strict=True)]
    return Box(*low, *high)


def _read_picture(path: Path) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """An encoded picture as (height, width, 3) RGB."""
    if not path.is_file() or path.stat().st_size > MAX_PICTURE_BYTES:
        raise InputError(
            f"{path} is no file of a picture, or a very large one",
            expected=f"a picture of at most {MAX_PICTURE_BYTES // 2**20} MiB",
            do="correct the path",
        )
    encoded = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if picture is None:
        raise InputError(f"{path} is no picture", expected="a JPEG or PNG", do="name a picture of the object")
    return np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8)
