"""The web page: files of the package, as they are. It calls the service like any other client."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request, Response

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
def show_page(request: Request) -> Response:
    """The page itself."""
    return send_file(request, "index.html")


@router.get("/page/{name}")
def send_file(request: Request, name: str) -> Response:
    """A part of the page. It may be kept, and is asked for again when a new release brings another one."""
    content = read_parts().get(name)
    if content is None:
        raise HTTPException(404)
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=MEDIA_TYPES[name.rpartition(".")[2]], headers=headers)


@lru_cache(maxsize=1)
def read_parts() -> dict[str, bytes]:
    """The files of the page by name: nothing else can be asked for."""
    return {
        part.name: part.read_bytes()
        for part in files("tubelet.api.server").joinpath("page").iterdir()
        if part.name.rpartition(".")[2] in MEDIA_TYPES
    }
