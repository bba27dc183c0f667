"""Exports of many videos: asked for, made in the background, fetched."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import FileResponse, JSONResponse

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
from tubelet.api.server.exports import (
    Export,
    begin_export,
    export_to_json,
    find_content,
    get_export,
    list_exports,
    remove_export,
    run_export,
)
from tubelet.api.server.models import ExportRequest
from tubelet.api.server.problems import Problem
from tubelet.api.server.routes.videos import FORMAT_TYPES
from tubelet.api.server.state import get_service

router = APIRouter(prefix="/v1/exports", tags=["exports"])

_EXPORT_CODES = ("unknown-name", "bad-input", "quota-exceeded")
ExportId = Annotated[str, Path(max_length=64, description="An export's id.")]


@router.post(
    "",
    status_code=202,
    responses=examples.told(
        examples.EXPORT | {"state": "running"}, *_EXPORT_CODES, status=202, about="Begun"
    ),
)
def export(request: Request, body: ExportRequest, caller: CanSearch) -> Response:
    """Begin an export of all videos or some. Formats of several files come as a zip."""
    from tubelet.index.exporting.object_filter import ObjectFilter
    from tubelet.index.exporting.registry import find_format
    from tubelet.index.exporting.timelines import find_videos

    tenant, service = caller.tenant, get_service(request)
    chosen = find_format(body.format)
    within = ObjectFilter(
        start_s=body.start_s,
        end_s=body.end_s,
        categories=tuple(body.categories),
        labels=tuple(body.labels),
        colours=tuple(body.colours),
        min_score=body.min_score,
    )
    if tenant.find_index() is None:
        raise Problem("conflict", "Nothing is indexed yet", expected="an index", do="submit a batch first")
    with tenant.open_index() as store:
        within = within.narrow(find_videos(store, body.videos))
    with service.usage.exporting(caller):
        begun = begin_export(tenant, chosen.name, key_id=caller.key_id)
    service.exporters.submit(run_export, tenant, begun, within, every_frame=body.every_frame)
    return JSONResponse(
        export_to_json(begun), 202, headers={"Location": f"/v1/exports/{begun.export_id}", "Retry-After": "1"}
    )


@router.get("", responses=examples.told({"exports": [examples.EXPORT], "next_cursor": "MTc5NTg0…"}))
def list_all(
    request: Request,
    caller: CanSearch,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The exports that are kept, the newest first."""
    found = list_exports(caller.tenant)
    if cursor:
        before = read_place(cursor)
        found = [each for each in found if _make_place(each) < before]
    told: dict[str, Any] = {"exports": [export_to_json(each) for each in found[:limit]]}
    if len(found) > limit:
        told["next_cursor"] = write_place(_make_place(found[limit - 1]))
    return answer_json(request, told)


@router.get("/{export_id}", responses=examples.told(examples.EXPORT, "not-found"))
def get_status(request: Request, export_id: ExportId, caller: CanSearch) -> Response:
    """How an export stands. It is kept for a day."""
    return answer_json(request, export_to_json(get_export(caller.tenant, export_id)))


@router.get(
    "/{export_id}/content",
    response_class=FileResponse,
    responses=examples.sent(
        "application/octet-stream",
        *("not-found", "conflict"),
        about="The file; ranges are taken",
        others=(*FORMAT_TYPES.values(), "application/zip"),
    ),
)
def get_content(request: Request, export_id: ExportId, caller: CanSearch) -> Response:
    """The file of an export that is done."""
    found = get_export(caller.tenant, export_id)
    if found.state != "done":
        raise Problem(
            "conflict",
            f"The export is {found.state}" + (f": {found.error}" if found.error else ""),
            expected="one that is done",
            do="ask for its state again" if found.state == "running" else "begin another one",
        )
    path = find_content(caller.tenant, found)
    etag = make_etag("export", export_id).removeprefix("W/")
    if has_etag(request, etag):
        return not_modified(etag)
    media_type = _find_type(path.suffix)
    return FileResponse(
        path, filename=found.file_name, media_type=media_type, headers=dict(keep_headers(etag))
    )


@router.delete(
    "/{export_id}",
    status_code=204,
    responses={204: {"description": "Gone"}, **examples.problems("not-found")},
)
def delete_export(export_id: ExportId, caller: CanSearch) -> Response:
    """Forget an export and its file."""
    remove_export(caller.tenant, export_id)
    return Response(status_code=204)


def _find_type(suffix: str) -> str:
    return "application/zip" if suffix == ".zip" else FORMAT_TYPES.get(suffix, "application/octet-stream")


def _make_place(export: Export) -> str:
    return f"{export.created_s:017.6f} {export.export_id}"
