"""Score a result file or folder against a truth, in published layouts: what `tubelet eval track` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tubelet.errors import InputError
from tubelet.model.masks import mask_box
from tubelet.model.tracking.measures import (
    MaskScores,
    Region,
    TrackingScores,
    measure_masks,
    measure_tracking,
)
from tubelet.model.tracking.truth import read_mask_folder, read_mot_file
from tubelet.records import Box, Rle


@dataclass(frozen=True, slots=True)
class Scores:
    """`masks` is None where the truth or the result has only boxes; ids are then scored on boxes."""

    tracking: TrackingScores
    masks: MaskScores | None


def score_files(truth: Path, result: Path, *, first_mask_given: bool = False) -> Scores:
    """Score a folder of PNG masks (DAVIS) or a text file of boxes (MOTChallenge) against another.

    `first_mask_given` leaves the first and last frame out of J&F, as DAVIS does then. Raises InputError when
    one cannot be read or they do not have the same number of frames.
    """
    expected, found = read_sightings(truth), read_sightings(result)
    if truth.is_dir() and result.is_dir():
        return Scores(
            measure_tracking(expected, found), measure_masks(expected, found, skip_ends=first_mask_given)
        )
    # A text file ends with its last box, which may come before the last frame.
    length = max(len(expected), len(found))
    boxes = [_as_boxes(sightings, length) for sightings in (expected, found)]
    return Scores(measure_tracking(*boxes), None)


def read_sightings(path: Path) -> Sequence[Mapping[int, Region]]:
    """Masks from a folder, boxes from a text file."""
    if path.is_dir():
        return read_mask_folder(path)
    if path.is_file():
        return read_mot_file(path)
    raise InputError(
        f"There is nothing at {path}",
        expected="a folder of PNG masks, or a MOTChallenge text file",
        do="correct the path",
    )


def _as_boxes(sightings: Sequence[Mapping[int, Region]], length: int) -> list[dict[int, Box]]:
    frames = [
        {number: mask_box(region) if isinstance(region, Rle) else region for number, region in frame.items()}
        for frame in sightings
    ]
    return frames + [{} for _ in range(length - len(frames))]
