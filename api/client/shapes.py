"""What the service answers, for type checkers. Names are those of its JSON."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class Counts(TypedDict):
    """Sources of a batch by state."""

    found: int
    skipped: int
    done: int
    failed: int
    cancelled: int
    waiting: int
    running: int


class StageState(TypedDict):
    """One kind of work of a batch."""

    stage: str
    kind: str
    waiting: int
    running: int
    done: int
    failed: int
    cancelled: int
    span_s: float
    span_done_s: float
    seconds: float
    rate: float | None
    left_s: float | None


class WebhookState(TypedDict):
    """Whom to tell about a batch; `secret` only in the answer to the submission."""

    url: str
    delivery: str
    state: str
    attempts: int
    error: str
    secret: NotRequired[str]


class BatchState(TypedDict):
    """How far a batch is."""

    batch_id: str
    name: str
    created_s: float
    sources: list[str]
    priority: int
    listing_error: str
    state: str
    counts: Counts
    left_s: float | None
    stages: list[StageState]
    webhook: NotRequired[WebhookState]


class BatchPage(TypedDict):
    """Some batches, the newest first."""

    batches: list[BatchState]
    next_cursor: NotRequired[str]


class ItemState(TypedDict):
    """One source of a batch."""

    uri: str
    size_bytes: int
    video_id: str
    state: str
    reason: str
    error_class: str | None
    duration_s: float
    num_objects: int
    num_moments: int
    warnings: list[str]


class ItemPage(TypedDict):
    """Some sources of a batch."""

    items: list[ItemState]
    next_cursor: NotRequired[str]


class HitState(TypedDict):
    """One answer to a search."""

    object_id: str
    moment_id: str
    video_id: str
    uri: str
    start_s: float
    end_s: float
    score: float
    caption: str
    attributes: dict[str, Any]
    motion: dict[str, Any]
    box: list[float]
    why: list[str]
    steps: NotRequired[list[dict[str, Any]]]
    relations: NotRequired[list[dict[str, Any]]]
    verified: NotRequired[float]


class SearchPage(TypedDict):
    """A page of hits, best first."""

    query: str
    parsed: dict[str, Any]
    hits: list[HitState]
    next_cursor: NotRequired[str]
    notes: NotRequired[list[str]]


class VideoState(TypedDict):
    """A video of the index."""

    video_id: str
    uri: str
    identity: str
    duration_s: float
    frame_rate: float
    nominal_frame_rate: float
    num_frames: int
    width: int
    height: int
    rotation_deg: int
    codec: str
    variable_frame_rate: bool
    warnings: list[str]


class VideoPage(TypedDict):
    """Some videos, by address."""

    videos: list[VideoState]
    next_cursor: NotRequired[str]


class ObjectState(TypedDict):
    """An object with its moments and path."""

    object_id: str
    video_id: str
    uri: str
    category: str
    attributes: dict[str, Any]
    start_s: float
    end_s: float
    moments: list[dict[str, Any]]
    path: list[list[float]]


class UploadState(TypedDict):
    """A video that was sent; `source` goes into a batch."""

    upload_id: str
    source: str
    name: str
    size_bytes: int
    container: str


class HandedState(TypedDict):
    """An upload that `url` takes by PUT."""

    upload_id: str
    source: str
    name: str
    size_bytes: int
    url: str
    expires_s: float


class ExportState(TypedDict):
    """An export, and how it stands."""

    export_id: str
    format: str
    state: str
    created_s: float
    file_name: str
    size_bytes: int
    error: str


class AnswerState(TypedDict):
    """What the describing model said of an object."""

    object_id: str
    moment_id: str
    question: str
    text: str
    confidence: float
    captioner: str
