"""Cuts between shots, found by how the colours of the picture's parts change.

A cut changes most parts of the picture at once and for good. A large object changes a few parts, a flash
changes all of them for a moment, and a fast camera changes all of them in every frame: none of these is a
cut. Dissolves and fades are not found: their pictures change little from one frame to the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.frame import Frame, Image
from tubelet.model.tracking.base import TrackedFrame, TrackedObject, Tracker

_NUM_PARTS = 4  # a side
_PART_PX = 32
_NUM_HUES, _NUM_SATURATIONS, _NUM_VALUES = 6, 3, 4
_MIN_CHANGE = 0.3
_MIN_CHANGE_OVER_USUAL = 2.5
_NUM_USUAL = 8

Colours = NDArray[np.float32]


def track_shots(
    tracker: Tracker, frames: Iterable[Frame], context: Sequence[Frame]
) -> Iterator[TrackedFrame]:
    """Run a tracker over frames that may hold cuts: every shot begins anew, with numbers of its own."""
    num_used = 0
    for place, shot in enumerate(split_shots(frames)):
        begins_shot, first_number = place > 0, num_used
        for tracked in tracker.track(shot, context):
            objects = tuple(
                TrackedObject(first_number + item.number, item.observation) for item in tracked.objects
            )
            num_used = max([num_used, *(item.number + 1 for item in objects)])
            yield replace(tracked, objects=objects, begins_shot=begins_shot)
            begins_shot = False


def split_shots(frames: Iterable[Frame]) -> Iterator[Iterator[Frame]]:
    """The frames of each shot in turn, as streams; each must be read before the next one is asked for."""
    for _, shot in groupby(_number_shots(frames), key=lambda numbered: numbered[0]):
        yield (frame for _, frame in shot)


def find_cuts(frames: Iterable[Frame]) -> list[float]:
    """Times of the first frames after each cut."""
    cuts = [next(shot).time_s for shot in split_shots(frames)]
    return cuts[1:]


def measure_colours(image: Image) -> Colours:
    """A histogram of hue, saturation and brightness for each part of the picture: (parts, bins)."""
    side = _NUM_PARTS * _PART_PX
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    hue, saturation, value = cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2HSV))
    # A grey or dark pixel has no hue to speak of; its hue is noise.
    hue = np.where((saturation < 40) | (value < 40), 0, hue).astype(np.intp)
    bins = (
        hue * _NUM_HUES // 180 * _NUM_SATURATIONS + saturation.astype(np.intp) * _NUM_SATURATIONS // 256
    ) * (_NUM_VALUES) + value.astype(np.intp) * _NUM_VALUES // 256
    num_bins = _NUM_HUES * _NUM_SATURATIONS * _NUM_VALUES
    rows, columns = np.indices(bins.shape) // _PART_PX
    counts = np.bincount(
        ((rows * _NUM_PARTS + columns) * num_bins + bins).ravel(), minlength=_NUM_PARTS**2 * num_bins
    )
    return (counts.reshape(_NUM_PARTS**2, num_bins) / _PART_PX**2).astype(np.float32)


def measure_change(before: Colours, after: Colours) -> float:
    """How much of the colour of most parts is another, 0..1: the lower quartile over the parts."""
    per_part = 0.5 * np.abs(before - after).sum(axis=1)
    return float(np.quantile(per_part, 0.25))


def _number_shots(frames: Iterable[Frame]) -> Iterator[tuple[int, Frame]]:
    """Each frame with the number of its shot, one frame late, because a cut must outlast a flash."""
    finder = _CutFinder()
    number = 0
    held: tuple[Frame, Colours] | None = None
    for frame in frames:
        colours = measure_colours(frame.image)
        if held is not None:
            number += finder.is_cut(held[1], colours)
            yield number, held[0]
        held = frame, colours
    if held is not None:
        yield number + finder.is_cut(held[1], held[1]), held[0]


class _CutFinder:
    """Looks at frame after frame, and knows how much is usual to change in this shot."""

    def __init__(self) -> None:
        self._before: Colours | None = None
        self._usual: deque[float] = deque(maxlen=_NUM_USUAL)

    def is_cut(self, now: Colours, after: Colours) -> bool:
        """Whether a shot begins with the frame `now`, which the frame `after` follows."""
        if self._before is None:
            self._before = now
            return False
        change = measure_change(self._before, now)
        usual = float(np.median(self._usual)) if self._usual else 0.0
        limit = max(_MIN_CHANGE, _MIN_CHANGE_OVER_USUAL * usual)
        if change > limit and measure_change(self._before, after) <= limit:
            return False  # a flash; what follows is compared with the frame before it
        self._before = now
        if change > limit:
            self._usual.clear()
            return True
        self._usual.append(change)
        return False
