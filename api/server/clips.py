"""Clips of objects, made when they are asked for and kept as long as there is room for them."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tubelet.api.server.answers import make_etag
from tubelet.api.server.slots import take_slot
from tubelet.api.server.state import Service
from tubelet.api.server.tenants import Tenant

if TYPE_CHECKING:
    from tubelet.records import IndexedObject, Video

MAX_KEPT_BYTES = 2 << 30
"""Of one tenant; the clips that were asked for longest ago go first."""

YOUNG_S = 600.0
"""A clip that was asked for lately may be on its way to somebody and stays."""

_making = tuple(threading.Lock() for _ in range(64))
"""One for each clip that is made at a time; two clips may share one."""


def get_clip(
    service: Service,
    tenant: Tenant,
    item: IndexedObject,
    video: Video,
    *,
    start_s: float | None,
    end_s: float | None,
    annotated: bool,
) -> tuple[Path, str]:
    """A clip and its ETag. Each is made once, however many ask. Raises SourceError, InputError, a Problem."""
    from tubelet.orchestration.clips import choose_window, write_object_clip

    window = choose_window(item, start_s, end_s)
    with tenant.open_index() as store:
        generation = store.get_generation(video.video_id) or ""
    what = repr((item.object_id, generation, video.identity, window, annotated))
    folder = tenant.folder / "clips"
    path = folder / f"{hashlib.blake2b(what.encode(), digest_size=16).hexdigest()}.mp4"
    etag = make_etag("clip", what).removeprefix("W/")
    with _making[hash(path.name) % len(_making)]:
        if not _touch(path):
            folder.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{secrets.token_hex(8)}.mp4")
            try:
                with take_slot(service):
                    write_object_clip(
                        item, video, draft, window=window, annotated=annotated, settings=tenant.settings
                    )
                os.replace(draft, path)
            finally:
                draft.unlink(missing_ok=True)
            _make_room(folder)
    return path, etag


def _touch(path: Path) -> bool:
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _make_room(folder: Path) -> None:
    found = []
    for path in folder.glob("*.mp4"):
        try:
            state = path.stat()
        except FileNotFoundError:
            continue
        found.append((state.st_mtime, state.st_size, path))
    kept_bytes = sum(size for _, size, _ in found)
    for used_s, size, path in sorted(found):
        if kept_bytes <= MAX_KEPT_BYTES or time.time() - used_s < YOUNG_S:
            return
        path.unlink(missing_ok=True)
        kept_bytes -= size
