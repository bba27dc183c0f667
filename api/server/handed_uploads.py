"""Uploads that callers PUT at S3 themselves, past the service: an address for each, and a look at what came.

What came waits under a prefix of its own, where no batch can name it. Once it is looked at, it is moved to
where uploads lie, so that nobody can put other bytes in its place with the address, which still holds then.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from concurrent.futures import Executor
from dataclasses import dataclass

from tubelet.api.server.problems import Problem
from tubelet.api.server.tenants import Tenant
from tubelet.api.server.uploads import (
    Upload,
    find_upload,
    keep_name,
    make_safe_name,
    make_upload_id,
    name_container,
    open_upload_store,
    require_upload_id,
)
from tubelet.errors import TubeletError
from tubelet.orchestration.resources import make_s3_options
from tubelet.workers.container import HEAD_BYTES
from tubelet.workers.object_store import S3Store
from tubelet.workers.s3_handed import look_at_object, presign_put, take_object

log = logging.getLogger(__name__)

WAITING = "waiting/"
PUT_S = 3600
"""How long an address holds."""

ABANDONED_S = 24 * 3600
"""What was not completed for so long is removed."""

LOOK_S = 600.0
"""How often all that waits is listed, at most."""

_PLACE = re.compile(rf"{WAITING}(u[0-9a-f]+)/([0-9a-f]+)-([0-9a-f]+)-(.+)")


@dataclass(frozen=True, slots=True)
class HandedUpload:
    """An upload that may be PUT at `url` until `expires_s`."""

    upload_id: str
    name: str
    size_bytes: int
    url: str
    expires_s: float


def expect_upload(tenant: Tenant, name: str, size_bytes: int) -> HandedUpload:
    """An address at which a video of this size may be PUT. Raises a Problem where uploads lie in a folder."""
    store = _open_s3(tenant)
    if store is None:
        raise Problem(
            "bad-input",
            "Uploads lie in a folder of the service",
            expected="uploads on S3 (api_uploads), where size_bytes is given",
            do="send the video as the body, without size_bytes",
        )
    upload_id, now_s, plain = make_upload_id(), time.time(), make_safe_name(name, "")
    bucket, key = store.locate(f"{WAITING}{upload_id}/{int(now_s):x}-{size_bytes:x}-{plain}")
    url = presign_put(
        bucket,
        key,
        size_bytes,
        make_s3_options(tenant.settings),
        endpoint_url=tenant.settings.api_uploads_endpoint_url,
        expires_s=PUT_S,
    )
    return HandedUpload(upload_id, plain, size_bytes, url, now_s + PUT_S)


def complete_upload(tenant: Tenant, upload_id: str) -> Upload:
    """Take over what was PUT, after a look at it; what is not as announced is removed.

    Doing it again gives the same. Raises a Problem for what is no upload, has not come, or is no video.
    """
    require_upload_id(upload_id)
    store = _open_s3(tenant)
    waiting = next(iter(store.list(f"{WAITING}{upload_id}/")), None) if store is not None else None
    if store is None or waiting is None:
        return find_upload(tenant, upload_id)
    match = _PLACE.fullmatch(waiting)
    assert match is not None, "nobody else writes there"
    announced, name = int(match[3], 16), match[4]
    options = make_s3_options(tenant.settings)
    bucket, key = store.locate(waiting)
    size_bytes, etag, head = look_at_object(bucket, key, HEAD_BYTES, options)
    try:
        if size_bytes != announced:
            raise Problem(
                "source-unusable",
                f"The upload has {size_bytes} bytes",
                expected=f"{announced}, as announced",
                do="begin another upload with the file's size",
            )
        container = name_container(head)
    except Problem:
        store.delete(waiting)
        raise
    place = keep_name(upload_id, name, container)
    take_object(bucket, key, store.locate(place)[1], etag, options)
    return Upload(upload_id, place.partition("/")[2], size_bytes, container, f"{store.uri}/{place}")


def forget_upload(tenant: Tenant, upload_id: str) -> bool:
    """Remove what was PUT and not completed; whether there was something."""
    store = _open_s3(tenant)
    prefix = f"{WAITING}{upload_id}/"
    if store is None or next(iter(store.list(prefix)), None) is None:
        return False
    store.delete_all(prefix)
    return True


class AbandonedUploads:
    """Removes what was PUT and never completed, in the background, and seldom: all that waits is listed."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._looked_s: dict[str, float] = {}

    def look(self, tenant: Tenant) -> None:
        """Look for abandoned uploads of a tenant, unless somebody did lately."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._looked_s.get(tenant.name, -math.inf) < LOOK_S:
                return
            self._looked_s[tenant.name] = now_s
        self._pool.submit(_remove_abandoned, tenant)


def _remove_abandoned(tenant: Tenant) -> None:
    """Never raises: nobody waits for it."""
    try:
        store = _open_s3(tenant)
        if store is None:
            return
        for key in store.list(WAITING):
            match = _PLACE.fullmatch(key)
            if match is not None and time.time() - int(match[2], 16) > ABANDONED_S:
                store.delete(key)
    except TubeletError as error:
        log.warning("Abandoned uploads of %s stay for now: %s", tenant.name, error)
    except Exception:
        log.exception("Abandoned uploads of %s stay", tenant.name)


def _open_s3(tenant: Tenant) -> S3Store | None:
    store = open_upload_store(tenant)
    return store if isinstance(store, S3Store) else None
