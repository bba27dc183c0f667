"""What lies around every route: request ids, limits on bodies, who may ask from where, and headers."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tubelet.api.server.problems import CODES, MEDIA_TYPE, Problem, explain_error, make_body
from tubelet.errors import TubeletError
from tubelet.orchestration.watching.logs import log_ids

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 24 << 20
"""Of every request but an upload: a picture as base64 must fit."""

SILENCE_S = 30.0
BODY_S = 120.0
UPLOAD_BYTES_A_S = 10_000
"""A body must begin and go on within the first, and be whole within the second; an upload has longer by as
much as it brings at this rate."""

UPLOADS = "/v1/uploads"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOOPBACK_HOST = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.IGNORECASE)

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(slots=True)
class _Exchange:
    """One request and how far its answer is."""

    request_id: str
    problem: Problem | None = None
    status: int = 0
    has_started: bool = False
    is_replaced: bool = False
    num_bytes: int = 0
    has_body: bool = True
    is_head: bool = False
    started_s: float = field(default_factory=time.monotonic)


class _HeadToldError(Exception):
    """All that HEAD asks for is sent: what would write the body ends."""


class RequestLayer:
    """The outermost layer. Whatever goes wrong inside, the answer is a problem with the request's id."""

    def __init__(self, app: ASGIApp, *, origins: Sequence[str], max_upload_bytes: int) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        exchange = _Exchange(given if _REQUEST_ID.fullmatch(given) else uuid4().hex)
        method, exchange.is_head = scope["method"], scope["method"] == "HEAD"
        if exchange.is_head:  # answered as GET is, but without a body; a range counts for GET alone
            own = [(name, value) for name, value in scope["headers"] if name != b"range"]
            scope = {**scope, "method": "GET", "headers": own}
        scope["tubelet.request_id"] = exchange.request_id
        with log_ids(request=exchange.request_id):
            await self._answer(method, exchange, headers, scope, receive, send)

    async def _answer(
        self, method: str, exchange: _Exchange, headers: Headers, scope: Scope, receive: Receive, send: Send
    ) -> None:
        sender = self._make_sender(exchange, send)
        try:
            exchange.problem = self._refuse(scope, headers)
            if exchange.problem is None:
                await self._app(scope, self._make_receiver(scope, exchange, receive), sender)
        except _HeadToldError:
            pass
        except TubeletError as error:
            exchange.problem = exchange.problem or explain_error(error)
        except Exception as error:
            if exchange.problem is None:
                log.error("Request %s failed: %s", exchange.request_id, scope["path"], exc_info=error)
                exchange.problem = Problem(
                    "failed",
                    "Something went wrong that is no fault of the request",
                    do="report the request id to who runs the service",
                )
        if exchange.problem is not None and not exchange.has_started:
            await _send_problem(exchange, exchange.problem, send)
        seconds = time.monotonic() - exchange.started_s
        scope["app"].state.service.counts.add(method, exchange.status, seconds)
        told = (method, scope["path"], exchange.status, seconds, exchange.request_id)
        log.info("%s %s %d %.3f s %s", *told)

    def _refuse(self, scope: Scope, headers: Headers) -> Problem | None:
        """What makes a request unwelcome before anybody looks at it."""
        host = headers.get("host", "")
        service = scope["app"].state.service
        if service.is_local and not service.keys.list() and not _LOOPBACK_HOST.fullmatch(host):
            return Problem(
                "bad-host",
                f"The Host header is {host[:100]!r}",
                expected="localhost or a loopback address, as long as the service has no keys",
                do="call it by that name, or make keys: tubelet keys add NAME",
            )
        origin = headers.get("origin")
        if scope["method"] not in _SAFE_METHODS and origin is not None and origin not in self._origins:
            try:
                is_own = urlsplit(origin).netloc == host and bool(host)
            except ValueError:
                is_own = False
            if not is_own:
                return Problem(
                    "other-origin",
                    f"The request comes from the web page {origin[:100]!r}",
                    expected="the service's own page, or an origin in api_origins",
                    do="set TUBELET_API_ORIGINS",
                )
        length = headers.get("content-length", "0")
        if length.isdecimal() and len(length) < 20 and int(length) > self._limit(scope):
            return self._too_large(scope)
        return None

    def _limit(self, scope: Scope) -> int:
        return self._max_upload_bytes if scope["path"] == UPLOADS else MAX_BODY_BYTES

    def _too_large(self, scope: Scope) -> Problem:
        limit = self._limit(scope)
        return Problem("too-large", "The body is too large", expected=f"at most {limit} bytes")

    def _make_receiver(self, scope: Scope, exchange: _Exchange, receive: Receive) -> Receive:
        async def take() -> Message:
            if not exchange.has_body:  # only that the caller has gone can come now
                return await receive()
            more_s = exchange.num_bytes / UPLOAD_BYTES_A_S if scope["path"] == UPLOADS else 0.0
            wait_s = min(SILENCE_S, max(0.0, exchange.started_s + BODY_S + more_s - time.monotonic()))
            try:
                message = await asyncio.wait_for(receive(), wait_s)
            except TimeoutError:
                exchange.problem = Problem(
                    "too-slow",
                    f"Nothing came for {wait_s:.0f} s, or the whole body took more than {BODY_S:.0f} s",
                    do="send it again, faster",
                )
                raise exchange.problem from None
            exchange.has_body = message["type"] == "http.request" and message.get("more_body", False)
            exchange.num_bytes += len(message.get("body", b""))
            if exchange.num_bytes > self._limit(scope):
                exchange.problem = self._too_large(scope)
                raise exchange.problem
            return message

        return take

    def _make_sender(self, exchange: _Exchange, send: Send) -> Send:
        async def give(message: Message) -> None:
            if exchange.is_replaced:
                return
            if message["type"] == "http.response.start":
                problem = exchange.problem or _find_plain_error(message)
                if problem is not None:
                    exchange.is_replaced = True
                    await _send_problem(exchange, problem, send)
                    return
                exchange.has_started, exchange.status = True, message["status"]
                _add_headers(message, exchange.request_id)
            elif exchange.is_head:
                await send({"type": "http.response.body", "body": b""})
                raise _HeadToldError
            await send(message)

        return give


def _find_plain_error(message: Message) -> Problem | None:
    """A problem in place of an error that is plain text, as libraries below give them."""
    kind = Headers(raw=message["headers"]).get("content-type", "")
    if message["status"] < 400 or not kind.startswith("text/plain"):
        return None
    range_of = Headers(raw=message["headers"]).get("content-range", "")
    if message["status"] == 416 or range_of:
        return Problem(
            "bad-range",
            "The range lies outside the file",
            expected=f"a range inside {range_of or 'it'}",
            headers={"Content-Range": range_of} if range_of else None,
        )
    return Problem("bad-input", "The request's headers cannot be understood", do="correct them")


def _add_headers(message: Message, request_id: str) -> None:
    headers = MutableHeaders(raw=message["headers"])
    headers["X-Request-ID"] = request_id
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")


async def _send_problem(exchange: _Exchange, problem: Problem, send: Send) -> None:
    status = CODES[problem.code][0]
    body = json.dumps(make_body(problem.code, problem.detail, request_id=exchange.request_id)).encode()
    headers = {**problem.headers, "Content-Type": MEDIA_TYPE, "Content-Length": str(len(body))}
    if exchange.has_body:  # what is left of the body is not waited for
        headers["Connection"] = "close"
    raw = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    message: Message = {"type": "http.response.start", "status": status, "headers": raw}
    _add_headers(message, exchange.request_id)
    exchange.has_started, exchange.status = True, status
    await send(message)
    await send({"type": "http.response.body", "body": b"" if exchange.is_head else body})
