"""`jsonl`: one line of JSON an object."""

from __future__ import annotations

from collections.abc import Iterator

from tubelet.index.exporting.json_values import dump, object_to_json
from tubelet.index.exporting.timelines import Timelines


def write_json_lines(timelines: Timelines) -> Iterator[str]:
    """One line of JSON an object, by video address and time."""
    for _, timeline in timelines.read_all():
        yield dump(object_to_json(timeline.item, timeline.moments)) + "\n"
