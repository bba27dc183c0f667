"""Uploads: a video's bytes become a source."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import JSONResponse

from tubelet.api.server import examples
from tubelet.api.server.auth import Caller, CanSubmit
from tubelet.api.server.handed_uploads import HandedUpload, complete_upload, expect_upload, forget_upload
from tubelet.api.server.problems import Problem
from tubelet.api.server.state import Service, get_service
from tubelet.api.server.uploads import PREFIX, Upload, remove_upload, require_upload_id, take_upload
from tubelet.api.server.usage import UPLOADED, UploadMeter

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

UploadId = Annotated[str, Path(max_length=64, description="An upload's id.")]
BODY: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
                "example": "the video's bytes",
            }
        },
    }
}


@router.post(
    "",
    status_code=201,
    openapi_extra=BODY,
    responses=examples.told(
        examples.UPLOAD,
        *("too-large", "bad-media-type", "source-unusable", "too-slow", "no-room", "unavailable"),
        *("bad-input", "quota-exceeded"),
        status=201,
        about="Kept",
    ),
)
async def upload(
    request: Request,
    caller: CanSubmit,
    name: Annotated[str, Query(max_length=500, description="The file's name, for people.")] = "video",
    size_bytes: Annotated[
        int | None,
        Query(ge=1, le=10**15, description="Send no body, but get an address at S3 to PUT so many bytes at."),
    ] = None,
) -> Response:
    """Send a video as the body. What comes back under `source` is what a batch is given.

    Where uploads lie on S3, `size_bytes` in place of a body gives a `url` that takes the video by `PUT`; then
    complete the upload.
    """
    limit, service = int(caller.tenant.settings.api_upload_gb * 1e9), get_service(request)
    if size_bytes is not None:
        return await anyio.to_thread.run_sync(_expect, service, caller, name, size_bytes, limit)
    meter = UploadMeter(service.usage, caller)
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isdecimal() else 0
    taken = None
    try:
        chunks = meter.count(request.stream(), announced=announced)
        taken = await take_upload(caller.tenant, name, chunks, max_bytes=limit)
    finally:
        await meter.end(is_kept=taken is not None)
    return JSONResponse(_tell(taken), 201)


@router.post(
    "/{upload_id}/complete",
    responses=examples.told(examples.UPLOAD, "not-found", "bad-media-type", "source-unusable", "unavailable"),
)
def complete(upload_id: UploadId, caller: CanSubmit) -> Response:
    """Say that the video was PUT at the address: it is looked at, and may go into a batch from then on."""
    return JSONResponse(_tell(complete_upload(caller.tenant, upload_id)))


@router.delete(
    "/{upload_id}",
    status_code=204,
    responses={204: {"description": "Gone"}, **examples.problems("not-found")},
)
def delete_upload(upload_id: UploadId, caller: CanSubmit) -> Response:
    """Remove an upload. What was indexed from it stays, without its pictures."""
    require_upload_id(upload_id)
    if not forget_upload(caller.tenant, upload_id):
        remove_upload(caller.tenant, upload_id)
    return Response(status_code=204)


def _expect(service: Service, caller: Caller, name: str, size_bytes: int, limit: int) -> Response:
    if size_bytes > limit:
        raise Problem("too-large", "The upload is too large", expected=f"at most {limit} bytes")
    service.usage.take(caller, UPLOADED, size_bytes / 1e9)
    try:
        expected = expect_upload(caller.tenant, name, size_bytes)
    except BaseException:
        service.usage.give_back(caller, UPLOADED, size_bytes / 1e9)
        raise
    service.abandoned.look(caller.tenant)
    return JSONResponse(_tell(expected), 201)


def _tell(upload: Upload | HandedUpload) -> dict[str, Any]:
    told = asdict(upload) | {"source": f"{PREFIX}{upload.upload_id}"}
    told.pop("address", None)
    return told
