"""Search, by a sentence in the address or by all that a search can ask."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from tubelet.api.server import examples
from tubelet.api.server.answers import answer_json
from tubelet.api.server.auth import CanSearch
from tubelet.api.server.models import (
    MAX_SENTENCE_CHARACTERS,
    PictureRequest,
    SearchRequest,
    VerifyRequest,
)
from tubelet.api.server.problems import Problem
from tubelet.api.server.slots import take_slot
from tubelet.api.server.state import Service, get_service
from tubelet.api.server.tenants import Tenant
from tubelet.errors import QueryError

router = APIRouter(prefix="/v1/search", tags=["search"])

EMPTY_NOTE = "nothing is indexed yet"
ASKED = examples.told(examples.SEARCH, "bad-input", "bad-query", "unavailable")


@router.get("", responses=ASKED)
def search(
    request: Request,
    caller: CanSearch,
    q: Annotated[str, Query(max_length=MAX_SENTENCE_CHARACTERS, examples=["red car turning left"])],
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    min_score: Annotated[float, Query(ge=0, le=1)] = 0.0,
    cursor: Annotated[str, Query(max_length=1000, description="next_cursor of the page before.")] = "",
    video: Annotated[list[str] | None, Query(max_length=100, description="Only this video, by id.")] = None,
    label: Annotated[list[str] | None, Query(max_length=100, description="Only this kind.")] = None,
    colour: Annotated[list[str] | None, Query(max_length=100, description="Only this colour.")] = None,
) -> Response:
    """Find objects by a sentence, one hit an object, best first."""
    from tubelet.index.structured_query import SearchFilter

    within = SearchFilter(
        video_ids=tuple(video or ()), labels=tuple(label or ()), colours=tuple(colour or ())
    )
    told = _search(
        get_service(request),
        caller.tenant,
        q,
        within=within,
        limit=limit,
        min_score=min_score,
        cursor=cursor,
        verify=None,
    )
    return answer_json(request, told)


@router.post("", responses=ASKED)
def search_by_body(request: Request, body: SearchRequest, caller: CanSearch) -> Response:
    """Find objects by a sentence or a structured query, by an object or a picture, and by limits."""
    from tubelet.index.query import parse_query
    from tubelet.index.query_checks import read_query
    from tubelet.index.structured_query import SearchFilter

    tenant, within = caller.tenant, _read_filters(body.filters)
    if body.query and body.structured is not None:
        raise QueryError(
            "A sentence and a structured query were given", expected="one of them", do="leave one out"
        )
    query: Any = read_query(body.structured or "{}")
    asked: Any = query
    if body.query:
        asked = body.query
        if body.like or body.image is not None:
            query = asked = parse_query(body.query)
    if body.like:
        asked = dataclasses.replace(query, like=body.like)
    if body.image is not None:
        vector = _look(get_service(request), body.image, tenant)
        asked = dataclasses.replace(asked if not isinstance(asked, str) else query, object_vector=vector)
    if not isinstance(asked, str) and asked.asks_nothing and within == SearchFilter():
        has_limits = asked.time is not None or asked.region is not None or asked.filters != SearchFilter()
        if not has_limits:
            raise QueryError(
                "Nothing was asked",
                expected="query, structured, like, image or filters",
                do="say what to look for",
            )
    told = _search(
        get_service(request),
        tenant,
        asked,
        within=within,
        limit=body.limit,
        min_score=body.min_score,
        cursor=body.cursor,
        verify=body.verify,
    )
    if body.query:
        told["query"] = body.query
    return answer_json(request, told)


def _search(
    service: Service,
    tenant: Tenant,
    asked: Any,
    *,
    within: Any,
    limit: int,
    min_score: float,
    cursor: str,
    verify: VerifyRequest | None,
) -> dict[str, Any]:
    from tubelet.index.query import parse_query
    from tubelet.index.searching.results import result_to_json
    from tubelet.orchestration.searching import Verification, search_index

    store = tenant.find_index()
    if store is None:
        parsed = parse_query(asked) if isinstance(asked, str) else asked
        query = asked if isinstance(asked, str) else asked.text
        return {"query": query, "parsed": parsed.to_json(), "hits": [], "notes": [EMPTY_NOTE]}
    wanted = Verification(verify.count, verify.seconds) if verify is not None else None
    with tenant.open_index() as store, take_slot(service, is_needed=verify is not None):
        result = search_index(
            asked,
            settings=tenant.settings,
            limit=limit,
            min_score=min_score,
            within=within,
            cursor=cursor,
            verification=wanted,
            store=store,
        )
    return result_to_json(result)


def _read_filters(filters: str | None) -> Any:
    from pydantic import TypeAdapter, ValidationError

    from tubelet.index.query_checks import check_filter
    from tubelet.index.structured_query import SearchFilter

    if filters is None:
        return SearchFilter()
    try:
        within = TypeAdapter(SearchFilter).validate_json(filters)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "filters"
        raise QueryError(
            f"filters.{place} cannot be used: {first['msg']}",
            expected=f"some of: {', '.join(SearchFilter.__dataclass_fields__)}",
            do="correct it",
        ) from None
    check_filter(within)
    return within


def _look(service: Service, picture: PictureRequest, tenant: Tenant) -> tuple[float, ...]:
    """The vector of a picture that came with the request."""
    from tubelet.orchestration.looking import look_at_picture
    from tubelet.records import Box

    try:
        data = base64.b64decode(picture.data, validate=True)
    except (ValueError, binascii.Error):
        raise Problem("bad-input", "image.data is no base64", expected="a JPEG or PNG as base64") from None
    if not data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        raise Problem("bad-media-type", "image.data is no picture", expected="a JPEG or PNG as base64")
    with tempfile.TemporaryDirectory(prefix="tubelet-look-") as folder, take_slot(service):
        path = Path(folder) / "picture"
        path.write_bytes(data)
        return look_at_picture(path, Box(*picture.crop) if picture.crop else None, tenant.settings)
