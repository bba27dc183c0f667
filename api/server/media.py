"""A video's own bytes, whole or in ranges, from its file or from S3."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request, Response
from starlette.responses import FileResponse, StreamingResponse

from tubelet.api.server.answers import has_etag, keep_headers, make_etag, not_modified
from tubelet.api.server.problems import Problem
from tubelet.api.server.tenants import Tenant
from tubelet.errors import SourceChangedError
from tubelet.workers.local_files import require_regular
from tubelet.workers.source import identify_file

if TYPE_CHECKING:
    from tubelet.records import Video

MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".ogv": "video/ogg",
    ".avi": "video/x-msvideo",
    ".ts": "video/mp2t",
}
BLOCK_BYTES = 256 << 10
_MAX_KNOWN = 4096
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class _Known:
    """Files whose content was found to be that of a video, as they were then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[tuple[str, int, int, int], str] = OrderedDict()

    def identify(self, path: Path) -> str:
        """What a file holds; it is read only when it may have changed."""
        state = path.stat()
        key = (str(path), state.st_mtime_ns, state.st_size, state.st_ino)
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        identity = identify_file(path).identity
        with self._lock:
            self._found[key] = identity
            if len(self._found) > _MAX_KNOWN:
                self._found.popitem(last=False)
        return identity


_known = _Known()


def send_media(request: Request, video: Video, tenant: Tenant) -> Response:
    """The video's bytes. Raises SourceError where they are gone, or are others than were indexed."""
    etag = make_etag("media", video.identity).removeprefix("W/")
    if has_etag(request, etag):
        return not_modified(etag)
    headers = {**keep_headers(etag), "Accept-Ranges": "bytes"}
    suffix = Path(video.uri).suffix.lower()
    media_type = MEDIA_TYPES.get(suffix, "application/octet-stream")
    if video.uri.startswith("s3://"):
        return _send_object(request, video, tenant, headers, media_type)
    path = require_regular(Path(video.uri))
    if _known.identify(path) != video.identity:
        raise SourceChangedError(
            "The video's file has changed since it was indexed",
            expected="its old content",
            do="index it again",
        )
    return FileResponse(path, headers=headers, media_type=media_type)


def _send_object(
    request: Request, video: Video, tenant: Tenant, headers: dict[str, str], media_type: str
) -> Response:
    from tubelet.orchestration.resources import make_s3_options
    from tubelet.workers.s3 import connect, parse_address
    from tubelet.workers.s3_errors import explain_source_errors

    _, size, s3_etag = video.identity.split(":", 2)
    part = _read_range(request, int(size), headers["ETag"])
    first, last = part or (0, int(size) - 1)
    bucket, key = parse_address(video.uri)
    with explain_source_errors(video.uri):
        found = connect(make_s3_options(tenant.settings)).get_object(
            Bucket=bucket, Key=key, Range=f"bytes={first}-{last}", IfMatch=s3_etag
        )
    headers["Content-Length"] = str(last - first + 1)
    if part is not None:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"

    def stream() -> Iterator[bytes]:
        with closing(found["Body"]) as body:
            yield from body.iter_chunks(BLOCK_BYTES)

    return StreamingResponse(stream(), 200 if part is None else 206, headers=headers, media_type=media_type)


def _read_range(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """First and last byte of what is asked for; None for everything, as for several or another version's."""
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or match[0] == "bytes=-" or request.headers.get("if-range", etag) != etag:
        return None
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if not 0 <= first <= last:
        raise Problem(
            "bad-range",
            f"The range {match[0]} lies outside {size} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return first, last
