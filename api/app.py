"""The HTTP service: search, objects and timelines of one index, read-only.

Errors are `application/problem+json`: `title` says what was found, `detail` what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse

from tubelet import __version__
from tubelet.errors import InputError, StoreError, TubeletError
from tubelet.index.export import export_timelines, hit_to_json, object_to_json
from tubelet.index.store import IndexStore
from tubelet.orchestration.resources import open_index
from tubelet.orchestration.searching import search_index
from tubelet.records import IndexedObject
from tubelet.settings import Settings

MAX_SENTENCE_CHARACTERS = 10_000


class NotFoundError(InputError):
    """The address names nothing in the index."""


STATUS_OF_ERROR: tuple[tuple[type[TubeletError], int], ...] = (
    (NotFoundError, 404),
    (InputError, 400),
    (StoreError, 503),
)
"""The first kind that fits counts; everything else is our own fault, 500."""


class _Service:
    """The settings, and the index once it is first asked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def index(self) -> IndexStore:
        return open_index(self.settings)

    def get_object(self, object_id: str) -> IndexedObject:
        item = self.index.get_object(object_id)
        if item is None:
            raise NotFoundError(
                f"There is no object {object_id!r}", expected="an id from a search", do="search again"
            )
        return item


def create_app(settings: Settings) -> FastAPI:
    """The application over the index of `settings`; models load at the first search."""
    app = FastAPI(title="Tubelet", version=__version__, docs_url=None, redoc_url=None)
    service = _Service(settings)
    app.add_exception_handler(TubeletError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)

    @app.get("/healthz")
    def check_health() -> dict[str, str]:
        """Whether the service runs."""
        return {"status": "ok", "version": __version__}

    @app.get("/v1/search")
    def search(
        q: Annotated[str, Query(max_length=MAX_SENTENCE_CHARACTERS, examples=["red car turning left"])],
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
        min_score: Annotated[float, Query(ge=0, le=1)] = 0.0,
    ) -> dict[str, Any]:
        """Find objects by a sentence, one hit an object, best first."""
        result = search_index(q, settings=settings, limit=limit, min_score=min_score)
        return {"query": q, "parsed": result.parsed, "hits": [hit_to_json(hit) for hit in result.hits]}

    @app.get("/v1/videos")
    def list_videos() -> dict[str, Any]:
        """Every video of the index."""
        return {"videos": [asdict(video) for video in service.index.list_videos()]}

    @app.get("/v1/videos/{video_id}/timeline", response_class=StreamingResponse)
    def get_timeline(video_id: str) -> StreamingResponse:
        """One line of JSON for every object of a video."""
        if service.index.get_video(video_id) is None:
            raise NotFoundError(
                f"There is no video {video_id!r}", expected="an id from /v1/videos", do="list them"
            )
        lines: Iterator[str] = export_timelines(service.index, "jsonl", [video_id])
        return StreamingResponse(lines, media_type="application/x-ndjson")

    @app.get("/v1/objects/{object_id}")
    def get_object(object_id: str) -> dict[str, Any]:
        """One object with its moments and path."""
        return object_to_json(service.get_object(object_id), service.index.get_moments(object_id))

    @app.get("/v1/objects/{object_id}/thumbnail", response_class=Response)
    def get_thumbnail(object_id: str) -> Response:
        """A JPEG of the object with its box."""
        return Response(service.get_object(object_id).thumbnail, media_type="image/jpeg")

    return app


def _answer_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TubeletError)
    status = next((status for kind, status in STATUS_OF_ERROR if isinstance(error, kind)), 500)
    detail = " ".join(part for part in (error.expected and f"Expected: {error.expected}.", error.do) if part)
    return _make_problem(status, error.found, detail)


def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return _make_problem(
        422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}", "Correct the request."
    )


def _make_problem(status: int, title: str, detail: str) -> JSONResponse:
    body = {"type": "about:blank", "status": status, "title": title, "detail": detail}
    return JSONResponse(body, status_code=status, media_type="application/problem+json")
