"""Timelines of objects in file formats: one function a format, in `EXPORTERS`.

An exporter is given the store and the chosen videos and yields text, piece by piece, so an archive of any
size needs the same memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tubelet.errors import InputError, UnknownNameError
from tubelet.index.store import IndexStore
from tubelet.records import Attributes, Hit, IndexedObject, Moment, Motion, PathPoint

Exporter = Callable[[IndexStore, Sequence[str] | None], Iterator[str]]

_SECOND_DECIMALS, _PIXEL_DECIMALS, _RATIO_DECIMALS = 3, 1, 4


def export_jsonl(store: IndexStore, video_ids: Sequence[str] | None) -> Iterator[str]:
    """One line of JSON an object, by video address and time."""
    for item, moments in store.iterate_objects(video_ids):
        yield json.dumps(object_to_json(item, moments), ensure_ascii=False) + "\n"


EXPORTERS: Mapping[str, Exporter] = {"jsonl": export_jsonl}


def export_timelines(store: IndexStore, format_name: str, videos: Sequence[str] = ()) -> Iterator[str]:
    """The timelines of the videos named by address or id, or of all, as pieces of text.

    Raises UnknownNameError for a format, and InputError for a video that the index does not hold, before
    anything is written.
    """
    if format_name not in EXPORTERS:
        raise UnknownNameError("export format", format_name, EXPORTERS)
    chosen = _find_videos(store, videos) if videos else None
    return EXPORTERS[format_name](store, chosen)


def object_to_json(item: IndexedObject, moments: Sequence[Moment]) -> dict[str, Any]:
    """One object's timeline: `path` is [seconds, x0, y0, x1, y1] at each step."""
    return {
        "object_id": item.object_id,
        "video_id": item.video_id,
        "uri": item.uri,
        "category": item.attributes.category,
        "attributes": _attributes_to_json(item.attributes),
        "start_s": round(item.start_s, _SECOND_DECIMALS),
        "end_s": round(item.end_s, _SECOND_DECIMALS),
        "moments": [
            {
                "start_s": round(moment.start_s, _SECOND_DECIMALS),
                "end_s": round(moment.end_s, _SECOND_DECIMALS),
                "caption": moment.caption,
                "motion": _motion_to_json(moment.motion),
            }
            for moment in moments
        ],
        "path": [_point_to_json(point) for point in item.path],
    }


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """A search hit without its thumbnail; `box` is [x0, y0, x1, y1] in the middle of the moment."""
    return {
        "object_id": hit.object_id,
        "moment_id": hit.moment_id,
        "video_id": hit.video_id,
        "uri": hit.uri,
        "start_s": round(hit.start_s, _SECOND_DECIMALS),
        "end_s": round(hit.end_s, _SECOND_DECIMALS),
        "score": round(hit.score, _RATIO_DECIMALS),
        "caption": hit.caption,
        "attributes": _attributes_to_json(hit.attributes),
        "motion": _motion_to_json(hit.motion),
        "box": [round(side, _PIXEL_DECIMALS) for side in hit.box],
        "why": list(hit.why),
    }


def _find_videos(store: IndexStore, videos: Sequence[str]) -> list[str]:
    known = {name: video.video_id for video in store.list_videos() for name in (video.uri, video.video_id)}
    missing = [name for name in videos if name not in known]
    if missing:
        raise InputError(
            f"The index holds no video {missing[0]!r}",
            expected="the address or id of an indexed video",
            do="see what is indexed with: tubelet info",
        )
    return [known[name] for name in videos]


def _attributes_to_json(attributes: Attributes) -> dict[str, Any]:
    return asdict(attributes) | {
        "colours": list(attributes.colours),
        "colour_shares": [round(share, _RATIO_DECIMALS) for share in attributes.colour_shares],
    }


def _motion_to_json(motion: Motion) -> dict[str, Any]:
    return {
        name: round(value, _RATIO_DECIMALS) if isinstance(value, float) else value
        for name, value in asdict(motion).items()
    }


def _point_to_json(point: PathPoint) -> list[float]:
    return [round(point.t, _SECOND_DECIMALS), *(round(side, _PIXEL_DECIMALS) for side in point[1:])]
