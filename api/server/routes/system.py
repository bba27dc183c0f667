"""How the service fares, which models there are, sessions of web pages, and the page of documentation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import HTMLResponse, JSONResponse

from tubelet import __version__
from tubelet.api.keys import DEFAULT_TENANT
from tubelet.api.server import examples
from tubelet.api.server.answers import answer_json
from tubelet.api.server.auth import COOKIE, Caller, CanAdmin, CanSearch, get_caller
from tubelet.api.server.docs_page import render_docs, style_digest
from tubelet.api.server.problems import MEDIA_TYPE, make_body, read_request_id
from tubelet.api.server.state import get_service
from tubelet.errors import SettingsError, StoreError
from tubelet.settings import PROFILES

router = APIRouter(tags=["system"])

SESSION_S = 7 * 24 * 3600


@router.get("/healthz", responses={200: {"content": {"application/json": {"example": {"status": "ok"}}}}})
async def check_health() -> dict[str, str]:
    """Whether the process runs."""
    return {"status": "ok", "version": __version__}


@router.get(
    "/readyz",
    responses={
        200: {
            "content": {"application/json": {"example": {"status": "ready", "ledger": "ok", "index": "ok"}}}
        },
        503: {
            "description": "A part that is needed does not answer",
            "content": {MEDIA_TYPE: {"example": make_body("unavailable", "The ledger does not answer.")}},
        },
    },
)
def check_readiness(request: Request) -> Response:
    """Whether requests can be done: the ledger and the index answer. An index that is empty is one."""
    parts: dict[str, str] = {}
    tenant = get_service(request).tenants.get(DEFAULT_TENANT)
    try:
        tenant.ledger.list_batches(limit=1)
        parts["ledger"] = "ok"
    except (StoreError, SettingsError):
        parts["ledger"] = "does not answer"
    try:
        index = tenant.find_index()
        parts["index"] = "empty" if index is None else "ok"
        if index is not None:
            index.snapshot()
    except StoreError:
        parts["index"] = "does not answer"
    if "does not answer" in parts.values():
        detail = "; ".join(f"{name}: {state}" for name, state in parts.items())
        body = make_body("unavailable", detail, request_id=read_request_id(request), **parts)
        return JSONResponse(body, 503, media_type=MEDIA_TYPE, headers={"Retry-After": "5"})
    return JSONResponse({"status": "ready", **parts})


@router.get(
    "/v1/models", responses=examples.told({"models": [], "profiles": [], "in_use": {}, "formats": []})
)
def list_models(
    request: Request,
    caller: CanSearch,
    published: Annotated[
        bool, Query(description="Also the published networks, and whether they are on this machine: slow.")
    ] = False,
) -> Response:
    """Names that a batch's options take, profiles, what is in use, export formats."""
    from tubelet.api.model_json import list_models as list_published
    from tubelet.index.exporting.registry import EXPORTERS
    from tubelet.model.registry import CAPTIONERS, RECOGNISERS, TRACKERS

    settings = caller.tenant.settings
    told: dict[str, Any] = {
        "profiles": [{"name": name, "about": profile.about} for name, profile in PROFILES.items()],
        "trackers": list(TRACKERS.names()),
        "captioners": list(CAPTIONERS.names()),
        "recognisers": list(RECOGNISERS.names()),
        "in_use": {
            "profile": settings.profile,
            "tracker": settings.tracker_name,
            "captioner": settings.captioner_name,
            "embedder": settings.embedder_name,
            "recogniser": settings.recogniser_name,
        },
        "formats": [
            {"name": name, "about": each.about, "suffix": each.suffix, "layout": each.layout}
            for name, each in EXPORTERS.items()
        ],
    }
    if published:
        told["models"] = list_published()
    return answer_json(request, told)


@router.get(
    "/metrics",
    response_class=Response,
    responses=examples.sent(
        "text/plain", about="Metrics for Prometheus", example="tubelet_api_listeners 0.0\n"
    ),
)
def tell_metrics(request: Request, caller: CanAdmin) -> Response:
    """Metrics in Prometheus' text format."""
    from tubelet.api.server.metrics import render_metrics

    content, media_type = render_metrics(get_service(request))
    return Response(content, media_type=media_type)


@router.get(
    "/v1/session",
    responses=examples.told({"key_id": "local", "tenant": "default", "scopes": ["search", "submit"]}),
)
def tell_session(caller: Annotated[Caller, Depends(get_caller)]) -> dict[str, Any]:
    """Who the caller is, and what they may do."""
    return {"key_id": caller.key_id, "tenant": caller.tenant.name, "scopes": list(caller.scopes)}


@router.get("/v1/usage", responses=examples.told(examples.USAGE))
def tell_usage(request: Request, caller: Annotated[Caller, Depends(get_caller)]) -> dict[str, Any]:
    """What the caller's key has used of its quotas, and how often it may call."""
    service = get_service(request)
    if "videos" in caller.quotas:
        service.usage.settle(caller, caller.tenant.ledger)
    return {
        "key_id": caller.key_id,
        "rate": None if caller.is_trusted else service.settings.api_rate,
        "quotas": service.usage.tell(caller),
    }


@router.post(
    "/v1/session",
    responses=examples.told({"key_id": "4f1d…", "tenant": "default", "scopes": ["search"]}, "bad-key"),
)
def begin_session(request: Request, caller: Annotated[Caller, Depends(get_caller)]) -> Response:
    """Keep the key of the Authorization header in a cookie that scripts cannot read, for a web page."""
    answer = JSONResponse(tell_session(caller))
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and caller.key_id not in ("", "local"):
        answer.set_cookie(
            COOKIE,
            key.strip(),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return answer


@router.delete("/v1/session", status_code=204, responses={204: {"description": "Forgotten"}})
def end_session() -> Response:
    """Forget the key of a web page."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


@router.get("/docs", response_class=HTMLResponse, responses=examples.sent("text/html", about="A page"))
def show_docs(request: Request) -> HTMLResponse:
    """This documentation as a page; it needs no internet and no script."""
    policy = f"default-src 'none'; style-src {style_digest()}; base-uri 'none'; frame-ancestors 'none'"
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": policy}
    return HTMLResponse(render_docs(request.app.openapi()), headers=headers)
