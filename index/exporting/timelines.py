"""What exporters read: the chosen videos, their objects one after another, frame numbers and masks."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tubelet.errors import InputError
from tubelet.index.exporting.frames import FrameNumbers, TrackBox, number_boxes
from tubelet.index.exporting.object_filter import ObjectFilter
from tubelet.index.store import IndexStore
from tubelet.records import IndexedObject, Moment, Rle, Video

OBJECTS_A_MASK_READ = 8
"""Masks of so many objects are in memory at once."""

VIDEOS_WITH_FRAME_TIMES = 16
"""Frame times of so many videos are in memory at once."""

UNNAMED = "object"
"""What an object is called that nobody could name."""

MaskReader = Callable[[str, Collection[str]], Iterator[tuple[str, float, Rle]]]
"""Masks of some objects of a video, by ids, as (object id, seconds, mask)."""

MaskResizer = Callable[[Rle, int, int], Rle]
"""A mask on a grid of another height and width."""

FrameTimesReader = Callable[[Video], "NDArray[np.float64] | None"]
"""True times of all frames of a video in rising order, or None when its file is out of reach."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """One object with its moments in time order. `name` is its category or else its most common label."""

    item: IndexedObject
    moments: tuple[Moment, ...]
    name: str


class Timelines:
    """The objects of an export, read in passes that each need the memory of a few objects.

    `every_frame` asks for boxes in every frame instead of the measured ones only; None leaves it to the
    format. Without `read_masks` masks are made from boxes.
    """

    def __init__(
        self,
        store: IndexStore,
        within: ObjectFilter | None = None,
        *,
        every_frame: bool | None = None,
        read_masks: MaskReader | None = None,
        resize_mask: MaskResizer | None = None,
        read_frame_times: FrameTimesReader | None = None,
    ) -> None:
        self._store = store
        self._within = within or ObjectFilter()
        self._every_frame = every_frame
        self._read_masks = read_masks
        self._resize_mask = resize_mask
        self._read_frame_times = read_frame_times
        self._numbers: OrderedDict[str, FrameNumbers] = OrderedDict()
        self.videos: Sequence[Video] = [
            video for video in store.list_videos() if self._within.holds_video(video.video_id, video.uri)
        ]

    def read(self, video: Video) -> Iterator[Timeline]:
        """The objects of a video in time order."""
        for item, moments, labels in self._store.iterate_labelled_objects(video.video_id):
            cut = self._within.cut(item, moments, labels)
            if cut is not None:
                yield Timeline(cut[0], tuple(cut[1]), choose_name(item, labels))

    def read_all(self) -> Iterator[tuple[Video, Timeline]]:
        """The objects of all videos, by video address and time."""
        for video in self.videos:
            for timeline in self.read(video):
                yield video, timeline

    def read_with_masks(self, video: Video) -> Iterator[tuple[Timeline, Mapping[float, Rle]]]:
        """Objects with their masks by time in milliseconds' precision, on the grid of the frame."""
        remaining = self.read(video)
        while group := list(islice(remaining, OBJECTS_A_MASK_READ)):
            masks: dict[str, dict[float, Rle]] = {timeline.item.object_id: {} for timeline in group}
            if self._read_masks is not None:
                for object_id, time_s, rle in self._read_masks(video.video_id, masks.keys()):
                    masks[object_id][round(time_s, 3)] = rle
            for timeline in group:
                yield timeline, masks.pop(timeline.item.object_id)

    def fit_mask(self, rle: Rle, video: Video) -> Rle:
        """A stored mask on the grid of the video's frames."""
        if (rle.height, rle.width) == (video.height, video.width):
            return rle
        assert self._resize_mask is not None, "masks on a coarser grid need resize_mask"
        return self._resize_mask(rle, video.height, video.width)

    def number_frames(self, video: Video) -> FrameNumbers:
        """The frame numbers of a video."""
        if video.video_id not in self._numbers:
            times_s = None
            if video.variable_frame_rate and self._read_frame_times is not None:
                times_s = self._read_frame_times(video)
            self._numbers[video.video_id] = FrameNumbers(video, times_s)
            if len(self._numbers) > VIDEOS_WITH_FRAME_TIMES:
                self._numbers.popitem(last=False)
        return self._numbers[video.video_id]

    def number_boxes(self, video: Video, item: IndexedObject, *, every_frame: bool) -> Iterator[TrackBox]:
        """An object's boxes by frame. `every_frame` is the format's usual choice; the caller's wins."""
        chosen = every_frame if self._every_frame is None else self._every_frame
        return number_boxes(item.path, self.number_frames(video), every_frame=chosen)


def choose_name(item: IndexedObject, labels: Sequence[str]) -> str:
    """The measured category, else the label that most moments have, else `object`."""
    known = [name] if (name := _make_plain(item.attributes.category)) else map(_make_plain, labels)
    counted = Counter(filter(None, known))
    return min(counted, key=lambda label: (-counted[label], label)) if counted else UNNAMED


def _make_plain(name: str) -> str:
    """A name that fits on a line of any format."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())


def find_videos(store: IndexStore, names: Sequence[str]) -> tuple[str, ...]:
    """Ids of the videos named by address or id. Raises InputError for one that the index does not hold."""
    known = {name: video.video_id for video in store.list_videos() for name in (video.uri, video.video_id)}
    for name in names:
        if name not in known:
            raise InputError(
                f"The index holds no video {name!r}",
                expected="the address or id of an indexed video",
                do="see what is indexed with: tubelet info",
            )
    return tuple(dict.fromkeys(known[name] for name in names))
