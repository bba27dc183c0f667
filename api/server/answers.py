"""Answers that a caller may keep: ETags and conditional requests, and pages of lists."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response

from tubelet.api.server.problems import Problem

KEEP = "private, no-cache"
"""May be kept by the caller alone, who asks each time whether it still holds."""


def answer_json(request: Request, value: Any) -> Response:
    """JSON with an ETag of its content, or 304 where the caller has it already."""
    content = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(
        errors="replace"
    )
    etag = make_etag(content)
    if has_etag(request, etag):
        return not_modified(etag)
    return Response(content, media_type="application/json", headers=keep_headers(etag))


def make_etag(*parts: bytes | str) -> str:
    """A weak ETag of what an answer is made from: compression changes bytes and nothing else."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode(errors="replace") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return f'W/"{digest.hexdigest()}"'


def has_etag(request: Request, etag: str) -> bool:
    """Whether the caller says that it has this answer already."""
    held = request.headers.get("if-none-match", "")
    wanted = etag.removeprefix("W/")
    return held.strip() == "*" or wanted in (each.strip().removeprefix("W/") for each in held.split(","))


def keep_headers(etag: str) -> Mapping[str, str]:
    """Headers of an answer that may be kept."""
    return {"ETag": etag, "Cache-Control": KEEP, "Vary": "Authorization, Cookie"}


def not_modified(etag: str) -> Response:
    """304: the caller's copy still holds."""
    return Response(status_code=304, headers=dict(keep_headers(etag)))


def write_place(name: str) -> str:
    """A cursor: the place in a list after something of this name."""
    return base64.urlsafe_b64encode(name.encode(errors="surrogateescape")).decode().rstrip("=")


def read_place(cursor: str) -> str:
    """What a cursor of ours names. Raises a Problem for anything else."""
    try:
        data = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
        return data.decode(errors="surrogateescape")
    except (ValueError, binascii.Error):
        raise Problem(
            "bad-input",
            f"{cursor[:40]!r} is no cursor",
            expected="next_cursor of the page before, as it was given",
            do="begin at the first page",
        ) from None
