"""What indexing would keep of tracked objects, for training on it: the same collector, without a video."""

from __future__ import annotations

from collections.abc import Iterable

from tubelet.model.tracking.base import TrackedFrame
from tubelet.records import Chunk, View
from tubelet.workers.evidence import ViewCollector

_ALL_DAY = Chunk("c", "v", 0, 0.0, 86_400.0, 0.0, 86_400.0)


def keep_views(frames: Iterable[TrackedFrame]) -> dict[int, list[View]]:
    """The best view of every object in each half second, by the object's number, in time order."""
    collector = ViewCollector(_ALL_DAY)
    numbers: dict[int, None] = {}
    for tracked in frames:
        collector.add(tracked)
        numbers.update(dict.fromkeys(item.number for item in tracked.objects))
    return {number: collector.views_of(number) for number in numbers}
