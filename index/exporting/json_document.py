"""`json`: one document, videos with their objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from tubelet.index.exporting.json_values import dump, object_to_json, stream_array
from tubelet.index.exporting.timelines import Timelines

DOCUMENT_FORMAT = "tubelet-timelines-1"


def write_json_document(timelines: Timelines) -> Iterator[str]:
    """One document: `videos`, each with what is known of it and its `objects`, which are those of `jsonl`."""
    yield f'{{"format": {dump(DOCUMENT_FORMAT)}, "videos": ['
    separator = "\n"
    for video in timelines.videos:
        yield f'{separator}{dump(asdict(video))[:-1]}, "objects": '
        objects = (object_to_json(timeline.item, timeline.moments) for timeline in timelines.read(video))
        yield from stream_array(objects, indent="  ")
        yield "}"
        separator = ",\n"
    yield "\n]}\n"
