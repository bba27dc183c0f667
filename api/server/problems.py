"""Errors as `application/problem+json` (RFC 9457), each with a code that stays from release to release.

`detail` says what was found, what was expected and what to do. Errors of our own making say nothing of the
inside: they go to the log, under the request's id.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from tubelet.errors import (
    DependencyError,
    InputError,
    ModelError,
    QueryError,
    SourceChangedError,
    SourceError,
    SourceMissingError,
    StoreError,
    TransientError,
    TubeletError,
    UnknownNameError,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
RETRY_AFTER_S = 5

CODES: Mapping[str, tuple[int, str]] = {
    "bad-input": (400, "The request cannot be done as asked"),
    "bad-query": (400, "The query cannot be understood"),
    "unknown-name": (400, "A name is not known"),
    "bad-host": (400, "The Host header is none of this service"),
    "no-key": (401, "A key is needed"),
    "bad-key": (401, "The key is not known"),
    "not-allowed": (403, "The key does not allow this"),
    "source-not-allowed": (403, "The source may not be read"),
    "other-origin": (403, "The request comes from another web page"),
    "behind-proxy": (403, "The service has no keys and is reached through a proxy"),
    "not-found": (404, "There is no such thing"),
    "source-missing": (404, "The video's file is gone"),
    "no-such-route": (404, "There is nothing at this address"),
    "no-such-method": (405, "This address does not take this method"),
    "too-slow": (408, "The request came too slowly"),
    "conflict": (409, "The state does not allow this"),
    "key-conflict": (409, "The idempotency key was used for something else"),
    "source-changed": (409, "The video's file has changed since it was indexed"),
    "too-large": (413, "The request is too large"),
    "bad-media-type": (415, "The body is of another type"),
    "bad-range": (416, "The range lies outside the file"),
    "invalid": (422, "The request does not have the expected form"),
    "source-unusable": (422, "The video cannot be used"),
    "too-many-requests": (429, "Too many requests"),
    "quota-exceeded": (429, "The key's quota is used up"),
    "failed": (500, "The service made a mistake"),
    "not-installed": (501, "The service lacks an optional part"),
    "unavailable": (503, "A part that is needed does not answer"),
    "busy": (503, "Too much is under way"),
    "no-room": (507, "There is no room on the disk"),
}
"""Status and title of every code."""


class Problem(Exception):
    """An answer that is an error. `found`, `expected` and `do` become its detail."""

    def __init__(
        self,
        code: str,
        found: str,
        *,
        expected: str = "",
        do: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        assert code in CODES, f"{code} is no code"
        self.code = code
        self.detail = str(TubeletError(found, expected=expected, do=do))
        self.headers = dict(headers or {})
        super().__init__(self.detail)


def not_found(what: str, name: str, where: str) -> Problem:
    """The problem that there is no such video, object and so on."""
    return Problem("not-found", f"There is no {what} {name[:100]!r}", expected=f"an id from {where}")


def make_body(code: str, detail: str, *, request_id: str = "", **more: Any) -> dict[str, Any]:
    """The JSON of a problem."""
    status, title = CODES[code]
    body = {
        "type": f"urn:tubelet:problem:{code}",
        "code": code,
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    return {**body, **more}


def explain_error(error: TubeletError) -> Problem:
    """The problem that an error of ours is to a caller."""
    code = _choose_code(error)
    problem = Problem(code, error.found, expected=error.expected, do=error.do)
    if CODES[code][0] == 503:
        problem.headers["Retry-After"] = str(RETRY_AFTER_S)
    return problem


def _choose_code(error: TubeletError) -> str:
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no-room"
    kinds: tuple[tuple[type[TubeletError], str], ...] = (
        (TransientError, "unavailable"),
        (UnknownNameError, "unknown-name"),
        (QueryError, "bad-query"),
        (InputError, "bad-input"),
        (SourceMissingError, "source-missing"),
        (SourceChangedError, "source-changed"),
        (SourceError, "source-unusable"),
        (StoreError, "unavailable"),
        (ModelError, "unavailable"),
        (DependencyError, "not-installed"),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), "failed")


def add_handlers(app: FastAPI) -> None:
    """Let every error be answered as a problem."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(TubeletError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(OSError, _answer_os_error)
    app.add_exception_handler(UnicodeError, _answer_unicode_error)


def _answer(request: Request, problem: Problem, **more: Any) -> JSONResponse:
    body = make_body(problem.code, problem.detail, request_id=read_request_id(request), **more)
    return JSONResponse(body, CODES[problem.code][0], headers=problem.headers, media_type=MEDIA_TYPE)


def read_request_id(request: Request) -> str:
    """The id that the outermost layer gave the request."""
    return str(request.scope.get("tubelet.request_id", ""))


def _answer_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return _answer(request, error)


def _answer_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TubeletError)
    problem = explain_error(error)
    if problem.code == "failed":
        return _answer_failure(request, error)
    return _answer(request, problem)


def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"where": ".".join(map(str, each["loc"])), "what": str(each["msg"])} for each in error.errors()[:20]
    ]
    first = errors[0]
    problem = Problem("invalid", f"{first['where']}: {first['what']}", do="correct the request")
    kind = request.headers.get("content-type", "")
    if first["where"] == "body" and kind and "json" not in kind:  # curl's own, where none was chosen
        problem = Problem(
            "invalid",
            f"The body is said to be {kind[:100]!r}",
            expected="JSON",
            do="send it with the header Content-Type: application/json",
        )
    return _answer(request, problem, errors=errors)


def _answer_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    named = {404: "no-such-route", 405: "no-such-method", 415: "bad-media-type", 413: "too-large"}
    code = named.get(error.status_code, "failed" if error.status_code >= 500 else "bad-input")
    found, headers = str(error.detail), dict(error.headers or {})
    if error.status_code == 405:
        found, headers["Allow"] = f"{request.method} is not taken here", ", ".join(_find_methods(request))
    return _answer(request, Problem(code, found, headers=headers))


def _find_methods(request: Request) -> list[str]:
    """The methods that an address takes, of whichever route. Where GET is taken, HEAD is."""
    asked = {"type": "http", "path": request.scope["path"], "root_path": request.scope.get("root_path", "")}
    found = [
        method
        for method in METHODS
        if any(
            route.matches({**asked, "app": request.app, "method": method, "headers": []})[0] is Match.FULL
            for route in request.app.router.routes
        )
    ]
    return [each for method in found for each in ((method, "HEAD") if method == "GET" else (method,))]


def _answer_os_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _answer(request, Problem("no-room", "The disk is full", do="make room, then try again"))
    return _answer_failure(request, error)


def _answer_unicode_error(request: Request, error: Exception) -> JSONResponse:
    return _answer(
        request, Problem("bad-input", "A text holds half a character", expected="whole characters")
    )


def _answer_failure(request: Request, error: Exception) -> JSONResponse:
    log.error("Request %s failed: %s", read_request_id(request), request.url.path, exc_info=error)
    found = "Something went wrong that is no fault of the request"
    return _answer(request, Problem("failed", found, do="report the request id to who runs the service"))
