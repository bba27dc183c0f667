"""Videos of the index: what they are, their timelines in any format, and their own bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from tubelet.api.server import examples
from tubelet.api.server.answers import (
    answer_json,
    has_etag,
    keep_headers,
    make_etag,
    not_modified,
    read_place,
    write_place,
)
from tubelet.api.server.auth import CanSearch
from tubelet.api.server.finding import find_video
from tubelet.api.server.media import MEDIA_TYPES, send_media

if TYPE_CHECKING:
    from tubelet.records import Video

router = APIRouter(prefix="/v1/videos", tags=["videos"])

VideoId = Annotated[str, Path(max_length=200, description="A video's id.")]
FORMAT_TYPES = {
    ".jsonl": "application/x-ndjson",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".vtt": "text/vtt; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".xml": "application/xml",
    ".parquet": "application/vnd.apache.parquet",
}


@router.get("", responses=examples.told({"videos": [examples.VIDEO], "next_cursor": "djNm…"}))
def list_videos(
    request: Request,
    caller: CanSearch,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str, Query(max_length=8000)] = "",
) -> Response:
    """Every video of the index, by address."""
    store = caller.tenant.find_index()
    if store is None:
        return answer_json(request, {"videos": []})
    with caller.tenant.open_index() as index:
        videos = index.list_videos()
    if cursor:
        after = read_place(cursor)
        videos = [video for video in videos if _make_place(video) > after]
    told: dict[str, Any] = {"videos": [asdict(video) for video in videos[:limit]]}
    if len(videos) > limit:
        told["next_cursor"] = write_place(_make_place(videos[limit - 1]))
    return answer_json(request, told)


@router.get("/{video_id}", responses=examples.told(examples.VIDEO, "not-found"))
def get_video(request: Request, video_id: VideoId, caller: CanSearch) -> Response:
    """One video."""
    return answer_json(request, asdict(find_video(caller.tenant, video_id)))


@router.get(
    "/{video_id}/timeline",
    response_class=StreamingResponse,
    responses=examples.sent(
        "application/x-ndjson",
        *("not-found", "unknown-name", "bad-input"),
        about="The file, as a stream",
        example='{"object_id": "o5d2e8a7b1c9f0463", "moments": []}\n',
        others=FORMAT_TYPES.values(),
    ),
)
def get_timeline(
    request: Request,
    video_id: VideoId,
    caller: CanSearch,
    format: Annotated[
        str, Query(max_length=40, description="A format of docs/exports.md that is one file.")
    ] = "jsonl",
    start_s: Annotated[float | None, Query(ge=0, le=1e7)] = None,
    end_s: Annotated[float | None, Query(ge=0, le=1e7)] = None,
    every_frame: Annotated[bool | None, Query(description="Boxes in every frame.")] = None,
) -> Response:
    """What each object of a video did, when and where, in a format for other programs."""
    from tubelet.index.exporting.format import name_video
    from tubelet.index.exporting.object_filter import ObjectFilter
    from tubelet.index.exporting.registry import find_format, stream_export
    from tubelet.orchestration.exporting import open_timelines

    video, tenant = find_video(caller.tenant, video_id), caller.tenant
    chosen = find_format(format)
    within = ObjectFilter(video_ids=(video_id,), start_s=start_s, end_s=end_s)
    with tenant.open_index() as store:
        generation = store.get_generation(video_id) or ""
        etag = make_etag("timeline", video_id, generation, format, repr((start_s, end_s, every_frame)))
        if has_etag(request, etag):
            return not_modified(etag)
        timelines = open_timelines(store, tenant.settings, within, every_frame=every_frame)
        pieces = stream_export(timelines, format)
    name = f"{name_video(video)}{chosen.suffix}"
    headers = {**keep_headers(etag), "Content-Disposition": f'inline; filename="{name}"'}
    return StreamingResponse(
        _encode(pieces),
        headers=headers,
        media_type=FORMAT_TYPES.get(chosen.suffix, "application/octet-stream"),
    )


@router.get(
    "/{video_id}/media",
    response_class=Response,
    responses=examples.sent(
        "video/mp4",
        *("not-found", "source-missing", "source-changed", "bad-range", "unavailable"),
        about="The video's bytes; ranges are taken",
        others=(*MEDIA_TYPES.values(), "application/octet-stream"),
    ),
)
def get_media(request: Request, video_id: VideoId, caller: CanSearch) -> Response:
    """The video itself, for players."""
    return send_media(request, find_video(caller.tenant, video_id), caller.tenant)


def _encode(pieces: Iterator[str | bytes]) -> Iterator[bytes]:
    """Bytes in blocks: a line at a time would be slow."""
    block = bytearray()
    for piece in pieces:
        block += piece.encode() if isinstance(piece, str) else piece
        if len(block) > 64 << 10:
            yield bytes(block)
            block.clear()
    yield bytes(block)


def _make_place(video: Video) -> str:
    return f"{video.uri}\0{video.video_id}"
