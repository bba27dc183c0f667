"""Records as JSON values: what exports, the command line and the HTTP service print."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from tubelet.records import Attributes, Box, Hit, IndexedObject, Moment, Motion, PathPoint

ALWAYS_TOLD = ("colours", "colour_shares", "size", "category")

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

SECOND_DECIMALS, PIXEL_DECIMALS, RATIO_DECIMALS = 3, 1, 4


def object_to_json(item: IndexedObject, moments: Sequence[Moment]) -> dict[str, Any]:
    """One object's timeline: `path` is [seconds, x0, y0, x1, y1] at each step."""
    return {
        "object_id": item.object_id,
        "video_id": item.video_id,
        "uri": item.uri,
        "category": item.attributes.category,
        "attributes": attributes_to_json(item.attributes),
        "start_s": round(item.start_s, SECOND_DECIMALS),
        "end_s": round(item.end_s, SECOND_DECIMALS),
        "moments": [
            {
                "start_s": round(moment.start_s, SECOND_DECIMALS),
                "end_s": round(moment.end_s, SECOND_DECIMALS),
                "caption": moment.caption,
                "motion": motion_to_json(moment.motion),
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
        "start_s": round(hit.start_s, SECOND_DECIMALS),
        "end_s": round(hit.end_s, SECOND_DECIMALS),
        "score": round(hit.score, RATIO_DECIMALS),
        "caption": hit.caption,
        "attributes": attributes_to_json(hit.attributes),
        "motion": motion_to_json(hit.motion),
        "box": [round(side, PIXEL_DECIMALS) for side in hit.box],
        "why": list(hit.why),
    }


def attributes_to_json(attributes: Attributes) -> dict[str, Any]:
    """What was measured on the pixels. What only a recogniser can tell is left out where none told it."""
    values = {name: getattr(attributes, name) for name in Attributes.__dataclass_fields__}
    told = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    told["colour_shares"] = [round(share, RATIO_DECIMALS) for share in attributes.colour_shares]
    return {name: value for name, value in told.items() if value or name in ALWAYS_TOLD}


def motion_to_json(motion: Motion) -> dict[str, Any]:
    """How the object moved."""
    return {
        name: round(value, RATIO_DECIMALS) if isinstance(value, float) else value
        for name, value in asdict(motion).items()
    }


def box_to_xywh(box: Box) -> list[float]:
    """A box as COCO writes it: left, top, width, height."""
    return [round(value, PIXEL_DECIMALS) for value in (box.x0, box.y0, box.width, box.height)]


def stream_array(values: Iterable[Any], *, indent: str = "") -> Iterator[str]:
    """A JSON array, an element a line, without holding more than one element."""
    separator = "["
    for value in values:
        yield f"{separator}\n{indent}{dump(value)}"
        separator = ","
    yield "[]" if separator == "[" else "\n]"


def dump(value: Any) -> str:
    """One JSON value on one line. NaN and infinity are our own mistake: JSON has none."""
    return _ENCODER.encode(value)


def _point_to_json(point: PathPoint) -> list[float]:
    return [round(point.t, SECOND_DECIMALS), *(round(side, PIXEL_DECIMALS) for side in point[1:])]
