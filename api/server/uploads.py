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
from tubelet.orchestration.resources import make_s3_options
from tubelet.workers.container import HEAD_BYTES, check_complete, match_container
from tubelet.workers.object_store import FolderStore, S3Store, open_object_store
from tubelet.workers.s3 import find_object
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
    store = await anyio.to_thread.run_sync(open_upload_store, tenant)
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
        return await anyio.to_thread.run_sync(_keep, tenant, name, draft)


def find_upload(tenant: Tenant, upload_id: str) -> Upload:
    """An upload of a tenant. Raises a Problem where there is none."""
    require_upload_id(upload_id)
    store = open_upload_store(tenant)
    key = next(iter(store.list(f"{upload_id}/")), None)
    if key is None:
        raise not_found("upload", upload_id, "POST /v1/uploads")
    if isinstance(store, FolderStore):
        path = store.find(key)
        address, size_bytes = str(path), path.stat().st_size
    else:
        bucket, full_key = store.locate(key)
        address = f"s3://{bucket}/{full_key}"
        size_bytes = find_object(bucket, full_key, make_s3_options(tenant.settings)).size_bytes
    suffixes = {suffix: container for container, suffix in _CONTAINER_SUFFIXES.items()}
    return Upload(upload_id, key.partition("/")[2], size_bytes, suffixes[Path(key).suffix], address)


def remove_upload(tenant: Tenant, upload_id: str) -> None:
    """Remove an upload. Raises a Problem where there is none."""
    find_upload(tenant, upload_id)
    open_upload_store(tenant).delete_all(f"{upload_id}/")


def require_upload_id(upload_id: str) -> None:
    """Raises a Problem for what cannot name an upload."""
    if not _UPLOAD_ID.fullmatch(upload_id):
        raise not_found("upload", upload_id, "POST /v1/uploads")


def make_upload_id() -> str:
    """A new id, which cannot be guessed."""
    return f"u{secrets.token_hex(12)}"


def make_safe_name(name: str, suffix: str) -> str:
    """A file name of plain characters, with the ending of what the file is.

    >>> make_safe_name("../../etc/passwd", ".mp4"), make_safe_name("Ümläut 1.MP4", ".mp4")
    ('passwd.mp4', 'ml_ut_1.mp4')
    """
    stem = PurePosixPath(name.replace("\\", "/")).stem
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", stem).strip("_-")[:MAX_NAME_CHARACTERS]
    return f"{plain or 'video'}{suffix}"


def name_container(head: bytes) -> str:
    """What an upload is, by its first bytes. Raises a Problem for what is no video."""
    try:
        return match_container(head, "the upload")
    except VideoFormatError:
        raise Problem(
            "bad-media-type",
            "The upload does not begin as a video does" if head else "The upload is empty",
            expected="MP4, MOV, Matroska, WebM, AVI, MPEG-TS, MPEG-PS, FLV, Ogg or ASF",
            do="send the video's bytes as the body, not in a form (curl --data-binary @FILE)",
        ) from None


def keep_name(upload_id: str, name: str, container: str) -> str:
    """The key under which an upload lies."""
    return f"{upload_id}/{make_safe_name(name, _CONTAINER_SUFFIXES[container])}"


def open_upload_store(tenant: Tenant) -> FolderStore | S3Store:
    """Where the uploads of a tenant lie."""
    settings = tenant.settings
    place = settings.api_uploads or str(settings.home / "uploads")
    return open_object_store(place, make_s3_options(settings), scratch=settings.home / "work" / "uploads")


def _keep(tenant: Tenant, name: str, draft: Path) -> Upload:
    with draft.open("rb") as file:
        container = name_container(file.read(HEAD_BYTES))
    try:
        check_complete(draft, container)
    except SourceError:
        raise Problem(
            "source-unusable",
            "The upload ends before its own headers say that it does",
            expected="a finished video, sent whole",
            do="send it again",
        ) from None
    upload_id = make_upload_id()
    open_upload_store(tenant).put(keep_name(upload_id, name, container), draft)
    return find_upload(tenant, upload_id)
