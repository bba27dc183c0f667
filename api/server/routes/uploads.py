"""Uploads: a video's bytes become a source."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import JSONResponse

from tubelet.api.server import examples
from tubelet.api.server.auth import CanSubmit
from tubelet.api.server.state import get_service
from tubelet.api.server.uploads import PREFIX, remove_upload, take_upload
from tubelet.api.server.usage import UploadMeter

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
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
        "quota-exceeded",
        status=201,
        about="Kept",
    ),
)
async def upload(
    request: Request,
    caller: CanSubmit,
    name: Annotated[str, Query(max_length=500, description="The file's name, for people.")] = "video",
) -> Response:
    """Send a video as the body. What comes back under `source` is what a batch is given."""
    limit = int(caller.tenant.settings.api_upload_gb * 1e9)
    meter = UploadMeter(get_service(request).usage, caller)
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isdecimal() else 0
    taken = None
    try:
        chunks = meter.count(request.stream(), announced=announced)
        taken = await take_upload(caller.tenant, name, chunks, max_bytes=limit)
    finally:
        await meter.end(is_kept=taken is not None)
    told = asdict(taken) | {"source": f"{PREFIX}{taken.upload_id}"}
    del told["address"]
    return JSONResponse(told, 201)


@router.delete(
    "/{upload_id}",
    status_code=204,
    responses={204: {"description": "Gone"}, **examples.problems("not-found")},
)
def delete_upload(
    upload_id: Annotated[str, Path(max_length=64, description="An upload's id.")], caller: CanSubmit
) -> Response:
    """Remove an upload. What was indexed from it stays, without its pictures."""
    remove_upload(caller.tenant, upload_id)
    return Response(status_code=204)
