"""Bodies of requests, checked before anything is done with them."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from tubelet.settings import PROFILES

MAX_SOURCES = 10_000
MAX_SENTENCE_CHARACTERS = 10_000
MAX_ID_CHARACTERS = 200

Identifier = Annotated[str, Field(max_length=MAX_ID_CHARACTERS)]
Address = Annotated[str, Field(min_length=1, max_length=4096)]
Word = Annotated[str, Field(max_length=100)]
Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]


class _Body(BaseModel):
    """Unknown fields are refused: a misspelt one must not be passed over."""

    model_config = ConfigDict(extra="forbid")


def _as_json(value: Any) -> str:
    """What the index's own reader takes; it checks strictly, and names what it refuses."""
    if not isinstance(value, dict):
        raise ValueError("an object of JSON is expected")
    return json.dumps(value)


def _describe(about: str, example: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"type": "object", "description": about, "examples": [example]})


Structured = Annotated[
    str,
    PlainValidator(_as_json),
    _describe(
        "A structured query: conditions, steps, relations, count, time, region (docs/search.md).",
        {"conditions": [{"kind": "colour", "values": ["red"]}, {"kind": "category", "values": ["car"]}]},
    ),
]
Filters = Annotated[
    str,
    PlainValidator(_as_json),
    _describe(
        "Exact limits: video_ids, uris, object_ids, labels, colours, sizes, turns, headings, stopped, "
        "start_s, end_s, min_duration_s, min_speed, max_speed, min_track_score.",
        {"labels": ["vehicle"], "start_s": 0, "end_s": 60},
    ),
]


class BatchOptions(_Body):
    """What decides the rows of a batch, frozen into it. What is left out is as the service is set."""

    profile: str | None = Field(None, description=f"One of: {', '.join(PROFILES)}.", examples=["bundled"])
    tracker: Word | None = Field(None, description="Name of a registered tracker.")
    captioner: Word | None = Field(None, description="Name of a registered captioner.")
    recogniser: Word | None = Field(None, description="Name of a registered recogniser, or none.")
    sample_fps: float | None = Field(None, gt=0, le=120, description="Frames looked at in a second.")
    frame_size_px: int | None = Field(None, ge=64, le=8192)
    chunk_s: float | None = Field(None, ge=1, le=3600)
    margin_s: float | None = Field(None, ge=0, le=60)
    rejoin_s: float | None = Field(None, ge=0, le=600)
    max_moment_s: float | None = Field(None, ge=1, le=600)


class WebhookRequest(_Body):
    """Whom to tell when a batch has ended."""

    url: str = Field(max_length=2000, description="http:// or https://, at a public address.")
    secret: str = Field(
        "", max_length=200, description="Signs what is sent. Left out, one is made and told once."
    )


class BatchRequest(_Body):
    """What is to be indexed."""

    sources: list[Address] = Field(
        min_length=1,
        max_length=MAX_SOURCES,
        description="Absolute paths, folders, globs, s3:// objects, prefixes and globs, and upload:ID.",
    )
    name: str = Field("", max_length=200, description="A name for people.")
    priority: int = Field(0, ge=-100, le=100, description="Higher goes first.")
    options: BatchOptions | None = None
    webhook: WebhookRequest | None = None

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "sources": ["s3://archive/2026/**"],
                    "name": "archive-2026",
                    "options": {"sample_fps": 6},
                    "webhook": {"url": "https://hooks.example.com/tubelet"},
                }
            ]
        },
    )


class PictureRequest(_Body):
    """A picture of what is looked for: JPEG or PNG as base64, and the box it is in, or all of it."""

    data: str = Field(max_length=22 << 20, description="The picture's bytes as base64.")
    crop: tuple[float, float, float, float] | None = Field(None, description="x0, y0, x1, y1 in pixels.")


class VerifyRequest(_Body):
    """Let the captioner check the best hits on the video itself."""

    count: int = Field(5, ge=1, le=100)
    seconds: float = Field(20.0, gt=0, le=60)


class SearchRequest(_Body):
    """What is looked for: a sentence or a structured query, looks, limits; at least one of them."""

    query: str = Field("", max_length=MAX_SENTENCE_CHARACTERS, description="A sentence.")
    structured: Structured | None = None
    like: Identifier = Field("", description="An object that hits should look like, by its id.")
    image: PictureRequest | None = None
    filters: Filters | None = None
    limit: int = Field(10, ge=1, le=1000)
    min_score: float = Field(0.0, ge=0, le=1)
    cursor: str = Field("", max_length=1000, description="next_cursor of the page before.")
    verify: VerifyRequest | None = None

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"query": "red car turning left", "limit": 3},
                {"query": "a person", "filters": {"start_s": 0, "end_s": 60}},
            ]
        },
    )


class AskRequest(_Body):
    """A question about one object."""

    question: str = Field(min_length=1, max_length=1000, examples=["What is it carrying?"])
    moment_id: Identifier = Field("", description="One of its moments; left out, the longest.")


class ExportRequest(_Body):
    """What to export. Limits are those of `tubelet export`."""

    format: str = Field("jsonl", max_length=40, examples=["cvat"])
    videos: list[Address] = Field(
        default_factory=list, max_length=MAX_SOURCES, description="By id or address; all when left out."
    )
    start_s: Seconds | None = None
    end_s: Seconds | None = None
    categories: list[Word] = Field(default_factory=list, max_length=100)
    labels: list[Word] = Field(default_factory=list, max_length=100)
    colours: list[Word] = Field(default_factory=list, max_length=100)
    min_score: float = Field(0.0, ge=0, le=1)
    every_frame: bool | None = Field(
        None, description="Boxes in every frame, interpolated, or the measured ones."
    )

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"format": "cvat", "videos": ["vb1946ac92492d234"]}]}
    )
