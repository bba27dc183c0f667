"""Uploads: a video that a caller sends becomes a source under an id, in the tenant's own folder or prefix."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import anyio.to_thread

from tubelet.api.server.problems import Problem, not_found
from tubelet.api.server.tenants import Tenant
from tubelet.errors import SourceError, VideoFormatError
from tubelet.workers.container import check_complete, sniff_container
from tubelet.workers.object_store import FolderStore, S3Store, open_object_store
from tubelet.workers.s3 import S3Options
from tubelet.workers.s3_errors import explain_disk_errors

PREFIX = "upload:"
"""How a batch names an upload among its sources."""

MAX_NAME_CHARACTERS = 80
_UPLOAD_ID = re.compile(r"u[0-9a-f]{24}")
_CONTAINER_SUFFIXES = {
    "mov": ".mp4",
    "matroska": ".mkv",
    "avi": ".avi",
    "mpegts": ".ts",
    "mpeg": ".mpg",
    "flv": ".flv",
    "ogg": ".ogv",
    "asf": ".wmv",
}


@dataclass(frozen=True, slots=True)
class Upload:
    """A video that was sent; `address` is where it lies."""

    upload_id: str
    name: str
    size_bytes: int
    container: str
    address: str


async def take_upload(tenant: Tenant, name: str, chunks: AsyncIterator[bytes], *, max_bytes: int) -> Upload:
    """Keep what a caller sends, whole or not at all. Raises a Problem where it is too large or no video."""
    store = await anyio.to_thread.run_sync(_open_store, tenant)
    with explain_disk_errors(store.scratch.folder), store.scratch.make_folder() as folder:
        draft, size_bytes = folder / "upload", 0
        async with await anyio.open_file(draft, "wb") as file:
            async for chunk in chunks:
                size_bytes += len(chunk)
                if size_bytes > max_bytes:
                    raise Problem(
                        "too-large", "The upload is too large", expected=f"at most {max_bytes} bytes"
                    )
                await file.write(chunk)
        return await anyio.to_thread.run_sync(_keep, tenant, name, draft, size_bytes)


def find_upload(tenant: Tenant, upload_id: str) -> Upload:
    """An upload of a tenant. Raises a Problem where there is none."""
    if not _UPLOAD_ID.fullmatch(upload_id):
        raise not_found("upload", upload_id, "POST /v1/uploads")
    store = _open_store(tenant)
    key = next(iter(store.list(f"{upload_id}/")), None)
    if key is None:
        raise not_found("upload", upload_id, "POST /v1/uploads")
    return Upload(upload_id, key.partition("/")[2], 0, "", _locate(tenant, key))


def remove_upload(tenant: Tenant, upload_id: str) -> None:
    """Remove an upload. Raises a Problem where there is none."""
    find_upload(tenant, upload_id)
    _open_store(tenant).delete_all(f"{upload_id}/")


def make_safe_name(name: str, suffix: str) -> str:
    """A file name of plain characters, with the ending of what the file is.

    >>> make_safe_name("../../etc/passwd", ".mp4"), make_safe_name("Ümläut 1.MP4", ".mp4")
    ('passwd.mp4', 'ml_ut_1.mp4')
    """
    stem = PurePosixPath(name.replace("\\", "/")).stem
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", stem).strip("_-")[:MAX_NAME_CHARACTERS]
    return f"{plain or 'video'}{suffix}"


def _keep(tenant: Tenant, name: str, draft: Path, size_bytes: int) -> Upload:
    try:
        container = sniff_container(draft)
        check_complete(draft, container)
    except VideoFormatError:
        raise Problem(
            "bad-media-type",
            "The upload does not begin as a video does" if size_bytes else "The upload is empty",
            expected="MP4, MOV, Matroska, WebM, AVI, MPEG-TS, MPEG-PS, FLV, Ogg or ASF",
            do="send the video's bytes as the body",
        ) from None
    except SourceError:
        raise Problem(
            "source-unusable",
            "The upload ends before its own headers say that it does",
            expected="a finished video, sent whole",
            do="send it again",
        ) from None
    upload_id = f"u{secrets.token_hex(12)}"
    key = f"{upload_id}/{make_safe_name(name, _CONTAINER_SUFFIXES[container])}"
    _open_store(tenant).put(key, draft)
    return Upload(upload_id, key.partition("/")[2], size_bytes, container, _locate(tenant, key))


def _open_store(tenant: Tenant) -> FolderStore | S3Store:
    settings = tenant.settings
    place = settings.api_uploads or str(settings.home / "uploads")
    s3 = S3Options(endpoint_url=settings.s3_endpoint_url or None, region=settings.s3_region or None)
    return open_object_store(place, s3, scratch=settings.home / "work" / "uploads")


def _locate(tenant: Tenant, key: str) -> str:
    store = _open_store(tenant)
    if isinstance(store, FolderStore):
        return str(store.find(key))
    bucket, full_key = store.locate(key)
    return f"s3://{bucket}/{full_key}"
