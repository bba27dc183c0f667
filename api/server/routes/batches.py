"""Batches: submit, list, watch, steer and forget."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.responses import JSONResponse, StreamingResponse

from tubelet.api.batch_json import item_to_json, progress_to_json
from tubelet.api.server import examples
from tubelet.api.server.answers import answer_json, read_place, write_place
from tubelet.api.server.auth import CanSearch, CanSubmit
from tubelet.api.server.models import BatchOptions, BatchRequest
from tubelet.api.server.problems import Problem, not_found
from tubelet.api.server.sources import resolve_sources
from tubelet.api.server.state import get_service
from tubelet.api.server.tenants import Tenant
from tubelet.api.server.webhooks import webhook_to_json
from tubelet.errors import InputError
from tubelet.orchestration import batches
from tubelet.orchestration.ledger.records import Batch, Control, ItemState
from tubelet.orchestration.progress import ENDED, measure_batch
from tubelet.settings import Settings, check_settings

router = APIRouter(prefix="/v1/batches", tags=["batches"])

KEEP_ALIVE_S = 15.0
BatchId = Annotated[str, Path(max_length=64, description="A batch's id.")]
STEERED = examples.told(examples.PROGRESS, "not-found", "conflict", "unavailable")
ITEM_STATES: tuple[ItemState, ...] = get_args(ItemState)


@router.post(
    "",
    status_code=202,
    responses=examples.told(
        {**examples.PROGRESS, "webhook": {**examples.WEBHOOK, "secret": "made-for-you"}},
        *("bad-input", "unknown-name", "source-not-allowed", "key-conflict", "unavailable"),
        "quota-exceeded",
        status=202,
        about="Taken; Location names it",
    ),
)
def submit(
    request: Request,
    body: BatchRequest,
    caller: CanSubmit,
    idempotency_key: Annotated[
        str, Header(max_length=200, description="A repeated submission under it gives the same batch.")
    ] = "",
) -> Response:
    """Ask for videos to be indexed. It returns at once; the work is done later."""
    service, tenant = get_service(request), caller.tenant
    sources = resolve_sources(body.sources, caller, service.settings)
    settings = _choose_options(body.options, tenant.settings)
    if body.webhook is not None:
        service.webhooks.check(body.webhook.url)
    service.usage.settle(caller, tenant.ledger)
    service.usage.take(caller, "videos", len(sources))
    batch = None
    try:
        batch = batches.submit_batch(
            sources,
            settings=settings,
            ledger=tenant.ledger,
            name=body.name,
            priority=body.priority,
            idempotency_key=idempotency_key,
        )
        service.usage.note_batch(caller, batch.batch_id, len(sources))
    except InputError as error:
        if not idempotency_key:
            raise
        raise Problem("key-conflict", error.found, expected=error.expected, do=error.do) from None
    finally:
        if batch is None:
            service.usage.give_back(caller, "videos", len(sources))
    told = _tell(batch, tenant)
    if body.webhook is not None:
        webhook = service.webhooks.add(tenant, batch.batch_id, body.webhook.url, body.webhook.secret)
        told["webhook"] = {**webhook_to_json(webhook), "secret": webhook.secret}
    return JSONResponse(told, 202, headers={"Location": f"/v1/batches/{batch.batch_id}"})


@router.get("", responses=examples.told({"batches": [examples.PROGRESS], "next_cursor": "YjAxOT…"}))
def list_batches(
    request: Request,
    caller: CanSearch,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Batches, the newest first."""
    ledger = caller.tenant.ledger
    found = ledger.list_batches(limit=limit + 1, before=read_place(cursor) if cursor else "")
    told: dict[str, Any] = {"batches": [_tell(batch, caller.tenant) for batch in found[:limit]]}
    if len(found) > limit:
        told["next_cursor"] = write_place(found[limit - 1].batch_id)
    return answer_json(request, told)


@router.get(
    "/{batch_id}",
    responses=examples.told({**examples.PROGRESS, "webhook": examples.WEBHOOK}, "not-found", "unavailable"),
)
def get_batch(request: Request, batch_id: BatchId, caller: CanSearch) -> Response:
    """How far a batch is: its sources by state, its stages, and the time that is left."""
    return answer_json(request, _tell_all(request, _find(batch_id, caller.tenant), caller.tenant))


@router.get(
    "/{batch_id}/items",
    responses=examples.told({"items": [examples.ITEM], "next_cursor": "czM6Ly…"}, "not-found"),
)
def list_items(
    request: Request,
    batch_id: BatchId,
    caller: CanSearch,
    state: Annotated[list[ItemState] | None, Query(description="Only these states.", max_length=6)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str, Query(max_length=8000)] = "",
) -> Response:
    """The sources of a batch, and what became of each."""
    batch, ledger = _find(batch_id, caller.tenant), caller.tenant.ledger
    found = ledger.list_items(
        batch.batch_id, states=state or (), after=read_place(cursor) if cursor else "", limit=limit + 1
    )
    told: dict[str, Any] = {"items": [item_to_json(item) for item in found[:limit]]}
    if len(found) > limit:
        told["next_cursor"] = write_place(found[limit - 1].uri)
    return answer_json(request, told)


@router.get("/{batch_id}/log", responses=examples.told({"events": [examples.EVENT]}, "not-found"))
def read_log(
    request: Request,
    batch_id: BatchId,
    caller: CanSearch,
    after: Annotated[int, Query(ge=0, le=2**62, description="The number of the last event known.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """What happened in a batch, in order."""
    batch = _find(batch_id, caller.tenant)
    events = caller.tenant.ledger.list_events(batch.batch_id, after=after, limit=limit)
    return answer_json(request, {"events": [asdict(event) for event in events]})


@router.get(
    "/{batch_id}/events",
    response_class=StreamingResponse,
    responses=examples.sent(
        "text/event-stream",
        "not-found",
        about="progress, unavailable, and at last ended or gone",
        example='event: progress\nid: 1\ndata: {"batch_id": "b0199f2a4c7e1d00a1", "state": "running"}\n\n',
    ),
)
def watch_batch(request: Request, batch_id: BatchId, caller: CanSearch) -> StreamingResponse:
    """Progress as server-sent events, whenever it changes. A stream ends when the batch has."""
    batch = _find(batch_id, caller.tenant)
    stream = _stream_events(request, batch.batch_id, caller.tenant)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _stream_events(request: Request, batch_id: str, tenant: Tenant) -> AsyncIterator[str]:
    watch = get_service(request).watch
    yield f": {batch_id}\n\n"
    async with aclosing(watch.listen(tenant, batch_id, keep_alive_s=KEEP_ALIVE_S)) as listening:
        async for number, told in listening:
            if told is None:
                yield ": still here\n\n"
            else:
                yield f"event: {told[0]}\nid: {number}\ndata: {json.dumps(told[1])}\n\n"


@router.post("/{batch_id}/cancel", responses=STEERED)
def cancel(request: Request, batch_id: BatchId, caller: CanSubmit) -> Response:
    """End a batch; what is indexed stays. One that has ended stays as it is. Repeating it does no harm."""
    return _steer(request, batch_id, caller.tenant, "cancelled")


@router.post("/{batch_id}/pause", responses=STEERED)
def pause(request: Request, batch_id: BatchId, caller: CanSubmit) -> Response:
    """Hold a batch: what runs ends, and nothing else begins. Repeating it does no harm."""
    return _steer(request, batch_id, caller.tenant, "paused")


@router.post("/{batch_id}/resume", responses=STEERED)
def resume(request: Request, batch_id: BatchId, caller: CanSubmit) -> Response:
    """Let a batch go on that was paused. Repeating it does no harm."""
    return _steer(request, batch_id, caller.tenant, "running")


@router.post("/{batch_id}/retry", responses=STEERED)
def retry(request: Request, batch_id: BatchId, caller: CanSubmit) -> Response:
    """Let the failed sources of a batch run again. Repeating it does no harm."""
    return _steer(request, batch_id, caller.tenant, None)


@router.delete(
    "/{batch_id}", status_code=204, responses={204: {"description": "Gone"}, **examples.problems("conflict")}
)
def delete_batch(request: Request, batch_id: BatchId, caller: CanSubmit) -> Response:
    """Forget a batch that has ended. What it indexed stays."""
    tenant = caller.tenant
    batch = _find(batch_id, tenant)
    progress = measure_batch(batch, tenant.ledger)
    if progress.state not in ENDED:
        raise Problem(
            "conflict",
            f"The batch {batch.batch_id} is {progress.state}",
            expected="one that has ended",
            do="wait for it, or cancel it first",
        )
    get_service(request).usage.settle_batch(batch.batch_id, tenant.ledger)
    tenant.ledger.delete_batch(batch.batch_id)
    get_service(request).webhooks.remove(tenant, batch.batch_id)
    return Response(status_code=204)


def _steer(request: Request, batch_id: str, tenant: Tenant, control: Control | None) -> Response:
    """Give a batch this control, or (None) let what failed run again."""
    batch = _find(batch_id, tenant)
    if batch.control == "cancelled" and control != "cancelled":
        raise Problem(
            "conflict",
            f"The batch {batch.batch_id} was cancelled",
            expected="a batch that was not",
            do="submit its sources again",
        )
    if control is None:
        tenant.ledger.retry(batch.batch_id)
    else:
        batches.steer_batch(batch, tenant.ledger, control)
    return JSONResponse(_tell_all(request, _find(batch_id, tenant), tenant))


def _find(batch_id: str, tenant: Tenant) -> Batch:
    batch = tenant.ledger.get_batch(batch_id) if batch_id.isascii() and batch_id.isalnum() else None
    if batch is None:
        raise not_found("batch", batch_id, "/v1/batches")
    return batch


def _tell(batch: Batch, tenant: Tenant) -> dict[str, Any]:
    return progress_to_json(measure_batch(batch, tenant.ledger))


def _tell_all(request: Request, batch: Batch, tenant: Tenant) -> dict[str, Any]:
    told = _tell(batch, tenant)
    webhook = get_service(request).webhooks.get(tenant, batch.batch_id)
    return told if webhook is None else {**told, "webhook": webhook_to_json(webhook)}


def _choose_options(options: BatchOptions | None, settings: Settings) -> Settings:
    """The tenant's settings with a batch's options. Only registered names: others would import anything."""
    given = options.model_dump(exclude_none=True) if options is not None else {}
    for name in ("tracker", "captioner", "recogniser"):
        if ":" in given.get(name, ""):
            raise Problem(
                "unknown-name",
                f"The {name} {given[name]!r} is not registered",
                expected="the name of one that is, as /v1/models lists them",
                do="choose one of them",
            )
    if "profile" in given:  # names that the service set would hide the profile's own
        given = {name: "" for name in _OF_PROFILE if not getattr(settings, name).count(":")} | given
    chosen = check_settings({**settings.model_dump(), **given})
    _check_names(chosen)
    return chosen


_OF_PROFILE = ("tracker", "captioner", "recogniser", "tracker_weights", "captioner_weights")


def _check_names(settings: Settings) -> None:
    from tubelet.model.registry import CAPTIONERS, NO_RECOGNISER, RECOGNISERS, TRACKERS

    TRACKERS.check(settings.tracker_name)
    CAPTIONERS.check(settings.captioner_name)
    if settings.recogniser_name != NO_RECOGNISER:
        RECOGNISERS.check(settings.recogniser_name)
