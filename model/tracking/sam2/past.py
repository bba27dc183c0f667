"""The frames that are held back, so that what is discovered later can be traced into them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

from tubelet.model.frame import Frame
from tubelet.model.masks import mask_box
from tubelet.model.tracking.base import TrackedFrame, TrackedObject
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.frame_view import FrameView
from tubelet.model.tracking.sam2.masks import FrameMasks, concatenate
from tubelet.model.tracking.sam2.prompts import Prompt
from tubelet.model.tracking.sam2.settings import TrackerSettings
from tubelet.model.tracking.sam2.tracing_back import Sight, trace_back
from tubelet.records import Observation


@dataclass(slots=True)
class _PastFrame:
    """A frame with what was tracked in it, under names, and what was seen of that, under numbers."""

    tracked: TrackedFrame
    sight: Sight

    def rename(self, old: int, new: int) -> None:
        """Give what was tracked under one name another one."""
        objects = tuple(
            replace(item, number=new) if item.number == old else item for item in self.tracked.objects
        )
        self.tracked = replace(self.tracked, objects=objects)

    def has(self, name: int) -> bool:
        """Whether something was tracked under this name."""
        return any(item.number == name for item in self.tracked.objects)


class Past:
    """The latest `tracing.back_s` of a run, and the names of its objects.

    A session numbers its objects; the names are what the tracker gives out. They differ where an object is
    found to be one that was lost before.
    """

    def __init__(self, settings: TrackerSettings, open_session: Callable[[], Sam2Session]) -> None:
        self._settings = settings
        self._open_session = open_session
        self._frames: deque[_PastFrame] = deque()
        self._names: dict[int, int] = {}
        self._free_names = count()

    def add(
        self,
        tracked: TrackedFrame,
        masks: FrameMasks,
        view: FrameView,
        *,
        hidden: Collection[int],
        is_check: bool,
    ) -> None:
        """Take the next frame, with masks of its objects in place of what `tracked` has.

        Those of `hidden` are not what others may come upon. `is_check` as in `Sight`.
        """
        seen = self._see(masks)
        objects = tuple(self._observe(seen, tracked.frame))
        shown = [at for at, number in enumerate(seen.numbers) if number not in hidden]
        sight = Sight(tracked.frame.image, view, seen.select(shown), is_check)
        self._frames.append(_PastFrame(replace(tracked, objects=objects), sight))

    def trace(self, new: Mapping[int, Prompt]) -> set[int]:
        """Find what is new in the last frame in those before it.

        Returns the numbers of objects that were lost before, and now go on as one of these.
        """
        if len(self._frames) < 2:
            return set()
        traced = trace_back(
            self._open_session(),
            new,
            [frame.sight for frame in self._frames],
            self._settings.tracing,
            self._settings.refining,
            self._see,
        )
        ended = {other for number, (other, place) in traced.met.items() if self._join(number, other, place)}
        for place, masks in traced.masks:
            frame = self._frames[place]
            frame.sight.masks = concatenate([frame.sight.masks, masks])
            objects = (*frame.tracked.objects, *self._observe(masks, frame.tracked.frame))
            frame.tracked = replace(frame.tracked, objects=objects)
        return ended

    def take_old(self, *, is_end: bool = False) -> Iterator[TrackedFrame]:
        """The frames into which nothing will be traced any more: all of them at the end."""
        back_s = self._settings.tracing.back_s
        while self._frames:
            first, last = self._frames[0].tracked, self._frames[-1].tracked
            if not is_end and last.frame.time_s - first.frame.time_s < back_s:
                return
            self._frames.popleft()
            yield first

    def _join(self, number: int, other: int, place: int) -> bool:
        """What was another object up to the frame at `place` is this one; what the other became is new.

        Returns whether it became nothing.
        """
        frames = list(self._frames)
        before, after = frames[: place + 1], frames[place + 1 :]
        name, became, own = self._name(other), next(self._free_names), self._name(number)
        for frame in after:
            frame.rename(name, became)
            frame.rename(own, name)
        for frame in before:
            frame.sight.renumber(other, number)
        self._names |= {other: became, number: name}
        return not any(frame.has(became) for frame in after)

    def _see(self, masks: FrameMasks) -> FrameMasks:
        """The masks of what is in sight."""
        in_sight = list_in_sight(masks, self._settings)
        return masks.select([place for place, is_seen in enumerate(in_sight) if is_seen])

    def _observe(self, seen: FrameMasks, frame: Frame) -> Iterator[TrackedObject]:
        """Objects that are in sight, with masks over the source frame."""
        encoded = seen.encode(frame.source_height, frame.source_width)
        for number, mask, score in zip(seen.numbers, encoded, seen.scores(), strict=True):
            box = mask_box(mask)
            if box.area > 0:
                yield TrackedObject(self._name(number), Observation(frame.time_s, box, score, mask))

    def _name(self, number: int) -> int:
        """The name of an object, a new one where it has none yet."""
        if number not in self._names:
            self._names[number] = next(self._free_names)
        return self._names[number]


def list_in_sight(masks: FrameMasks, settings: TrackerSettings) -> list[bool]:
    """Whether each object is seen well enough to be given out."""
    areas_B = masks.binary_Bhw.float().mean((1, 2))
    return [
        score >= settings.min_score and area >= settings.min_area_share
        for score, area in zip(masks.scores(), areas_B.tolist(), strict=True)
    ]
