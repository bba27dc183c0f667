"""The old place of what is now in `index/exporting/`; it goes when its last importer has moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tubelet.index.exporting.json_values import hit_to_json, object_to_json
from tubelet.index.exporting.object_filter import ObjectFilter
from tubelet.index.exporting.registry import stream_export
from tubelet.index.exporting.timelines import Timelines, find_videos
from tubelet.index.store import IndexStore

__all__ = ["export_timelines", "hit_to_json", "object_to_json"]


def export_timelines(store: IndexStore, format_name: str, videos: Sequence[str] = ()) -> Iterator[str]:
    """The timelines of the videos named by address or id, or of all, as pieces of text."""
    timelines = Timelines(store, ObjectFilter(video_ids=find_videos(store, videos)))
    return (str(piece) for piece in stream_export(timelines, format_name))
