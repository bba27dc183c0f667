"""Every call as data, once for both clients: where it goes, what it sends, and whether it may be repeated."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote
from uuid import uuid4

import httpx2

from tubelet.api.client.failures import ServiceAwayError, make_error
from tubelet.api.client.shapes import (
    AnswerState,
    BatchPage,
    BatchState,
    ExportState,
    HandedState,
    ItemPage,
    ObjectState,
    SearchPage,
    UploadState,
    VideoPage,
    VideoState,
)

T = TypeVar("T")

NUM_RETRIES = 4
FIRST_WAIT_S = 0.5
MAX_WAIT_S = 30.0
"""A call that may come again only later than this is not repeated."""

TIMEOUT_S = 60.0
REPEATED = (429, 502, 503, 504)
"""Statuses after which a call may succeed a while later."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call. `is_repeatable`: doing it twice is as doing it once."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True


def to_request(call: Call[Any], content: Any) -> dict[str, Any]:
    """What a client of HTTP is given."""
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.params),
        "headers": dict(call.headers),
        "json": call.body,
        "content": content,
    }


def choose_wait(call: Call[Any], attempt: int, retries: int, answer: httpx2.Response | None) -> float | None:
    """Seconds before a call is repeated, which got this answer or none; None where it is not."""
    if attempt >= retries or not call.is_repeatable:
        return None
    if answer is not None and answer.status_code not in REPEATED:
        return None
    asked = answer.headers.get("retry-after", "") if answer is not None else ""
    if asked.isdecimal():
        return float(asked) if float(asked) <= MAX_WAIT_S else None
    return random.uniform(0.0, min(FIRST_WAIT_S * 2**attempt, MAX_WAIT_S))


def read_outcome(call: Call[T], outcome: httpx2.Response | httpx2.TransportError, address: object) -> T:
    """What a call gives in the end. Raises ApiError, and ServiceAwayError where nothing answered."""
    if isinstance(outcome, httpx2.TransportError):
        raise ServiceAwayError(
            f"{address} does not answer: {outcome}", do="check that the service runs"
        ) from outcome
    told = _read_content(outcome)
    if outcome.status_code >= 400:
        raise make_error(outcome.status_code, told if isinstance(told, dict) else {})
    return cast(T, told)


def _read_content(answer: httpx2.Response) -> Any:
    """JSON of an answer that is some, else its bytes; None where there are none."""
    kind = answer.headers.get("content-type", "")
    is_file = "content-disposition" in answer.headers
    if kind.split(";")[0] in ("application/json", "application/problem+json") and not is_file:
        try:
            return answer.json()
        except ValueError:
            return {}
    return answer.content or None


class EventReader:
    """Reads the lines of a batch's server-sent events."""

    def __init__(self) -> None:
        self._name = ""

    def read(self, line: str) -> BatchState | None:
        """The state of the batch that a line tells, or None."""
        field, _, value = line.partition(": ")
        if field == "event":
            self._name = value
        if field != "data" or self._name not in ("progress", "ended"):
            return None
        state: BatchState = json.loads(value)
        return state


def submit(
    sources: Sequence[str],
    *,
    name: str,
    priority: int,
    options: Mapping[str, Any] | None,
    webhook: str,
    idempotency_key: str,
) -> Call[BatchState]:
    """Submit under a key, so that a repeated call makes one batch."""
    body: dict[str, Any] = {"sources": list(sources), "name": name, "priority": priority}
    if options:
        body["options"] = dict(options)
    if webhook:
        body["webhook"] = {"url": webhook}
    return Call("POST", "/v1/batches", body=body, headers={"Idempotency-Key": idempotency_key or uuid4().hex})


def list_batches(limit: int, cursor: str) -> Call[BatchPage]:
    """Batches."""
    return Call("GET", "/v1/batches", {"limit": limit, "cursor": cursor})


def get_batch(batch_id: str) -> Call[BatchState]:
    """A batch."""
    return Call("GET", f"/v1/batches/{_quote(batch_id)}")


def watch(batch_id: str) -> Call[BatchState]:
    """Progress of a batch, as a stream of events."""
    return Call("GET", f"/v1/batches/{_quote(batch_id)}/events")


def list_items(batch_id: str, states: Sequence[str], limit: int, cursor: str) -> Call[ItemPage]:
    """Sources of a batch."""
    params = {"state": list(states), "limit": limit, "cursor": cursor}
    return Call("GET", f"/v1/batches/{_quote(batch_id)}/items", params)


def steer(batch_id: str, action: str) -> Call[BatchState]:
    """Cancel, pause, resume or retry."""
    return Call("POST", f"/v1/batches/{_quote(batch_id)}/{action}")


def delete_batch(batch_id: str) -> Call[None]:
    """Forget a batch."""
    return Call("DELETE", f"/v1/batches/{_quote(batch_id)}")


def search(
    query: str,
    *,
    structured: Mapping[str, Any] | None,
    like: str,
    image: bytes,
    crop: Sequence[float],
    filters: Mapping[str, Any] | None,
    limit: int,
    min_score: float,
    cursor: str,
    verify: int,
    verify_seconds: float,
) -> Call[SearchPage]:
    """Search."""
    body: dict[str, Any] = {"query": query, "like": like, "limit": limit}
    body |= {"min_score": min_score, "cursor": cursor}
    if image:
        body["image"] = {"data": base64.b64encode(image).decode()} | ({"crop": list(crop)} if crop else {})
    if verify:
        body["verify"] = {"count": verify, "seconds": verify_seconds}
    if structured is not None:
        body["structured"] = dict(structured)
    if filters:
        body["filters"] = dict(filters)
    return Call("POST", "/v1/search", body=body)


def list_videos(limit: int, cursor: str) -> Call[VideoPage]:
    """Videos."""
    return Call("GET", "/v1/videos", {"limit": limit, "cursor": cursor})


def get_video(video_id: str) -> Call[VideoState]:
    """A video."""
    return Call("GET", f"/v1/videos/{_quote(video_id)}")


def get_timeline(video_id: str, format: str) -> Call[bytes]:
    """A timeline."""
    return Call("GET", f"/v1/videos/{_quote(video_id)}/timeline", {"format": format})


def get_object(object_id: str) -> Call[ObjectState]:
    """An object."""
    return Call("GET", f"/v1/objects/{_quote(object_id)}")


def get_thumbnail(object_id: str) -> Call[bytes]:
    """A picture of an object."""
    return Call("GET", f"/v1/objects/{_quote(object_id)}/thumbnail")


def get_clip(object_id: str, start_s: float | None, end_s: float | None, annotated: bool) -> Call[bytes]:
    """A clip of an object."""
    params: dict[str, Any] = {"annotated": annotated}
    params |= {name: value for name, value in (("start_s", start_s), ("end_s", end_s)) if value is not None}
    return Call("GET", f"/v1/objects/{_quote(object_id)}/clip", params)


def ask(object_id: str, question: str, moment_id: str) -> Call[AnswerState]:
    """A question about an object."""
    body = {"question": question, "moment_id": moment_id}
    return Call("POST", f"/v1/objects/{_quote(object_id)}/ask", body=body)


def upload(name: str) -> Call[UploadState]:
    """An upload; its body is streamed, so it cannot be repeated."""
    headers = {"Content-Type": "application/octet-stream"}
    return Call("POST", "/v1/uploads", {"name": name}, headers=headers, is_repeatable=False)


def expect_upload(name: str, size_bytes: int) -> Call[HandedState]:
    """An address at S3 for an upload of this size."""
    return Call("POST", "/v1/uploads", {"name": name, "size_bytes": size_bytes})


def put_upload(handed: HandedState) -> dict[str, Any]:
    """What a client of HTTP is given to send an upload to S3; the service's key is not shown there."""
    size = str(handed["size_bytes"])
    return {"method": "PUT", "url": handed["url"], "headers": {"Content-Length": size}, "timeout": TIMEOUT_S}


def complete_upload(handed: HandedState) -> Call[UploadState]:
    """That an upload lies at S3."""
    return Call("POST", f"/v1/uploads/{_quote(handed['upload_id'])}/complete")


def check_put(answer: httpx2.Response) -> None:
    """Raises ApiError where S3 did not take an upload."""
    if answer.status_code >= 300:
        raise make_error(answer.status_code, {"detail": f"S3 answered {answer.status_code} to the upload"})


def begin_export(format: str, videos: Sequence[str], options: Mapping[str, Any]) -> Call[ExportState]:
    """An export."""
    body = {"format": format, "videos": list(videos), **options}
    return Call("POST", "/v1/exports", body=body, is_repeatable=False)


def get_export(export_id: str) -> Call[ExportState]:
    """How an export stands."""
    return Call("GET", f"/v1/exports/{_quote(export_id)}")


def get_export_content(export_id: str) -> Call[bytes]:
    """The file of an export."""
    return Call("GET", f"/v1/exports/{_quote(export_id)}/content")


def _quote(name: str) -> str:
    return quote(name, safe="")
