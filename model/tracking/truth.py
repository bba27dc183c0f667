"""Known truth in the layouts in which it is published: DAVIS mask folders and MOTChallenge text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from tubelet.errors import InputError
from tubelet.model.masks import encode_mask
from tubelet.records import Box, Rle

IGNORED = 255  # in DAVIS masks of several objects, a pixel that nobody judges


def read_mask_folder(folder: Path) -> list[dict[int, Rle]]:
    """Masks of each frame by object, from one PNG a frame in order of name.

    A pixel's value is the number of its object and 0 is none. Pictures that hold only 0 and 255, as in
    DAVIS 2016, have one object, number 1.
    """
    files = sorted(folder.glob("*.png"))
    if not files:
        raise InputError(
            f"There are no PNG masks in {folder}", expected="one PNG a frame", do="name the folder"
        )
    labels = [_read_labels(file) for file in files]
    if {int(value) for picture in labels for value in np.unique(picture)} <= {0, IGNORED}:
        labels = [(picture == IGNORED).astype(np.uint8) for picture in labels]
    return [
        {
            int(number): encode_mask(picture == number)
            for number in np.unique(picture)
            if number not in (0, IGNORED)
        }
        for picture in labels
    ]


def read_mot_file(file: Path) -> list[dict[int, Box]]:
    """Boxes of each frame by object, from lines `frame, id, left, top, width, height, ...`.

    Frames count from 1. Lines whose seventh field is 0 are marked to be ignored, and are.
    """
    frames: dict[int, dict[int, Box]] = {}
    for place, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            frame, number, left, top, width, height, *rest = (float(field) for field in line.split(","))
            if frame < 1 or not np.isfinite([left, top, width, height]).all():
                raise ValueError("out of range")
        except ValueError as error:
            raise InputError(
                f"{file}, line {place}, is not a box: {line[:60]!r}",
                expected="frame, id, left, top, width, height, confidence, ... as in MOTChallenge",
            ) from error
        if not rest or rest[0] != 0:
            frames.setdefault(int(frame), {})[int(number)] = Box(left, top, left + width, top + height)
    return [frames.get(frame, {}) for frame in range(1, max(frames, default=0) + 1)]


def _read_labels(file: Path) -> np.ndarray:
    try:
        with Picture.open(file) as opened:
            labels = np.asarray(opened)
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{file} cannot be read: {error}", expected="a PNG of object numbers") from error
    if labels.ndim != 2:
        raise InputError(
            f"{file} has {labels.shape[2]} channels", expected="one number a pixel: grey or palette PNG"
        )
    return labels.astype(np.uint8)
