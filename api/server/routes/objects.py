"""Objects: what they did, how they look, clips of them, and questions about them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import FileResponse

from tubelet.api.server import examples
from tubelet.api.server.answers import answer_json, has_etag, keep_headers, make_etag, not_modified
from tubelet.api.server.auth import CanSearch
from tubelet.api.server.clips import get_clip
from tubelet.api.server.finding import find_object, find_video
from tubelet.api.server.models import AskRequest
from tubelet.api.server.problems import not_found
from tubelet.api.server.slots import take_slot
from tubelet.api.server.state import get_service
from tubelet.api.server.tenants import Tenant

router = APIRouter(prefix="/v1/objects", tags=["objects"])

ObjectId = Annotated[str, Path(max_length=200, description="An object's id.")]


@router.get("/{object_id}", responses=examples.told(examples.OBJECT, "not-found"))
def get_object(request: Request, object_id: ObjectId, caller: CanSearch) -> Response:
    """One object with its moments and path."""
    return answer_json(request, _tell(caller.tenant, object_id))


@router.get(
    "/{object_id}/timeline",
    responses=examples.told(
        {
            "object_id": examples.OBJECT["object_id"],
            "video_id": examples.OBJECT["video_id"],
            "moments": examples.OBJECT["moments"],
            "path": examples.OBJECT["path"],
        },
        "not-found",
    ),
)
def get_timeline(request: Request, object_id: ObjectId, caller: CanSearch) -> Response:
    """When and where the object was, and what it did: its moments and its path."""
    told = _tell(caller.tenant, object_id)
    return answer_json(request, {name: told[name] for name in ("object_id", "video_id", "moments", "path")})


@router.get(
    "/{object_id}/thumbnail",
    response_class=Response,
    responses=examples.sent("image/jpeg", "not-found", about="A JPEG of the object with its box"),
)
def get_thumbnail(request: Request, object_id: ObjectId, caller: CanSearch) -> Response:
    """A picture of the object."""
    item = find_object(caller.tenant, object_id)
    if not item.thumbnail:
        raise not_found("thumbnail of object", object_id, "a search")
    etag = make_etag("thumbnail", item.thumbnail)
    if has_etag(request, etag):
        return not_modified(etag)
    return Response(item.thumbnail, media_type="image/jpeg", headers=keep_headers(etag))


@router.get(
    "/{object_id}/clip",
    response_class=FileResponse,
    responses=examples.sent(
        "video/mp4",
        *("not-found", "source-missing", "source-changed", "bad-input", "bad-range", "busy", "no-room"),
        about="An MP4; ranges are taken",
    ),
)
def get_object_clip(
    request: Request,
    object_id: ObjectId,
    caller: CanSearch,
    start_s: Annotated[float | None, Query(ge=0, le=1e7)] = None,
    end_s: Annotated[float | None, Query(ge=0, le=1e7)] = None,
    annotated: Annotated[bool, Query(description="With mask, box and path drawn in, or clean.")] = True,
) -> Response:
    """A short clip of the object: its whole life, or from a second of the video to another."""
    item = find_object(caller.tenant, object_id)
    video = find_video(caller.tenant, item.video_id)
    path, etag = get_clip(
        get_service(request), caller.tenant, item, video, start_s=start_s, end_s=end_s, annotated=annotated
    )
    if has_etag(request, etag):
        return not_modified(etag)
    return FileResponse(path, media_type="video/mp4", headers=dict(keep_headers(etag)))


@router.post(
    "/{object_id}/ask",
    responses=examples.told(
        {
            "object_id": examples.OBJECT["object_id"],
            "moment_id": examples.HIT["moment_id"],
            "question": "What is it carrying?",
            "text": "A suitcase.",
            "confidence": 0.72,
            "captioner": "pixelrefer-lite@1",
        },
        *("not-found", "bad-input", "source-missing", "busy"),
    ),
)
def ask_object(request: Request, object_id: ObjectId, body: AskRequest, caller: CanSearch) -> Response:
    """Ask the describing model about the object. It is shown the object in frames of one moment."""
    from tubelet.orchestration.verifying import VideoVerifier

    tenant = caller.tenant
    item = find_object(tenant, object_id)
    video = find_video(tenant, item.video_id)
    with tenant.open_index() as store, take_slot(get_service(request)):
        moments = store.get_moments(object_id)
        if body.moment_id:
            moments = [moment for moment in moments if moment.moment_id == body.moment_id]
        if not moments:
            raise not_found("moment", body.moment_id, f"/v1/objects/{object_id}")
        moment = max(moments, key=lambda each: each.end_s - each.start_s)
        verifier = VideoVerifier(tenant.settings, store)
        answer = verifier.answer(body.question, video, moment)
    return answer_json(
        request,
        {
            "object_id": object_id,
            "moment_id": moment.moment_id,
            "question": body.question,
            "text": answer.text,
            "confidence": round(answer.confidence, 4),
            "captioner": verifier.name,
        },
    )


def _tell(tenant: Tenant, object_id: str) -> dict[str, Any]:
    from tubelet.index.exporting.json_values import object_to_json

    item = find_object(tenant, object_id)
    with tenant.open_index() as store:
        return object_to_json(item, store.get_moments(object_id))
