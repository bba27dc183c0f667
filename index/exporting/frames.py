"""Frame numbers: which frame of its video a time belongs to, and the boxes of a path by frame.

The index keeps true times. Formats that number frames need the video's own frames, counted from 0 in the
order in which they are shown; the rules are in docs/exports.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tubelet.records import Box, PathPoint, Video

GAP_STEPS = 2.5
"""A step longer than so many usual steps of the path is a gap: the object was not seen in between."""


class FrameNumbers:
    """The frames of one video: how many, and which is shown at a time.

    `how` says what the numbers rest on. `constant`: the frame rate is constant, number = round(time * rate).
    `source`: the rate varies and the true times of all frames were read from the file. `nominal`: the rate
    varies and the file was out of reach; the numbers are those of a copy made at the constant nominal rate.
    """

    def __init__(self, video: Video, times_s: NDArray[np.float64] | None = None) -> None:
        self.how: Literal["constant", "source", "nominal"] = "constant"
        self.rate = video.frame_rate
        self.length = max(1, video.num_frames)
        self._times_s = times_s if video.variable_frame_rate else None
        if self._times_s is not None:
            assert len(self._times_s) > 0, "a video has frames"
            self.how, self.length = "source", len(self._times_s)
        elif video.variable_frame_rate:
            self.how, self.rate = "nominal", video.nominal_frame_rate
            self.length = max(1, round(video.duration_s * self.rate))

    def number(self, time_s: float) -> int:
        """The number of the frame whose time is nearest, from 0 to `length` - 1."""
        times_s = self._times_s
        if times_s is None:
            return min(max(0, round(time_s * self.rate)), self.length - 1)
        after = int(np.searchsorted(times_s, time_s))
        near = range(max(0, after - 1), min(after + 1, self.length))
        return min(near, key=lambda frame: abs(float(times_s[frame]) - time_s))

    def time(self, number: int) -> float:
        """When a frame is shown, in seconds."""
        return number / self.rate if self._times_s is None else float(self._times_s[number])


class TrackBox(NamedTuple):
    """An object's box in one frame.

    `measured` is False where it lies between two measured ones. `ends` says that the object is not seen in
    the next frame any more: its path ends here, or has a gap.
    """

    frame: int
    time_s: float
    box: Box
    measured: bool
    ends: bool


def number_boxes(
    path: Sequence[PathPoint], frames: FrameNumbers, *, every_frame: bool = False
) -> Iterator[TrackBox]:
    """The boxes of a path by rising frame number, each number once.

    With `every_frame`, frames between two neighbouring points get a box by linear interpolation in time;
    gaps stay empty.
    """
    points = _number_points(path, frames)
    limit_s = GAP_STEPS * median(b[1].t - a[1].t for a, b in pairwise(points)) if len(points) > 1 else 0.0
    for place, (frame, point) in enumerate(points):
        following = points[place + 1] if place + 1 < len(points) else None
        ends = following is None or following[1].t - point.t > limit_s
        yield TrackBox(frame, point.t, Box(*point[1:]), True, ends)
        if following is None or ends or not every_frame:
            continue
        for between in range(frame + 1, following[0]):
            time_s = frames.time(between)
            share = min(max(0.0, (time_s - point.t) / (following[1].t - point.t)), 1.0)
            sides = (a + (b - a) * share for a, b in zip(point[1:], following[1][1:], strict=True))
            yield TrackBox(between, time_s, Box(*sides), False, False)


def _number_points(path: Sequence[PathPoint], frames: FrameNumbers) -> list[tuple[int, PathPoint]]:
    numbered: dict[int, PathPoint] = {}
    for point in path:
        numbered.setdefault(frames.number(point.t), point)
    return sorted(numbered.items())
