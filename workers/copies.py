"""Local copies of S3 videos: fetched once a machine, shared by its processes, least recently used out first.

A copy is named by a hash of the source's identity, never by its key. Who fetches or uses one holds a shared
lock on the file beside it, who removes one an exclusive lock; a second lock lets one fetch at a time. A
process that is killed lets go of both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from tubelet.errors import TransientStoreError
from tubelet.records import Source
from tubelet.workers.file_locks import Flock, lock_file
from tubelet.workers.s3 import S3Options, fetch_into
from tubelet.workers.s3_errors import explain_disk_errors
from tubelet.workers.source import require_unchanged

_COPY, _PART, _LOCK, _FETCH = ".video", ".part", ".lock", ".fetch"
_ROOM_LOCK = "room"


class SourceCopies:
    """The copies in one folder, of which `max_bytes` are kept.

    Copies in use are never removed, so that together they may exceed `max_bytes` until they are let go; with
    0 none outlives its use.
    """

    def __init__(self, folder: Path, s3: S3Options, *, max_bytes: int) -> None:
        self._folder = folder
        self._s3 = s3
        self._max_bytes = max_bytes

    @contextmanager
    def borrow(self, source: Source) -> Iterator[Path]:
        """A regular local file with the source's content, which stays while it is borrowed.

        Files are used where they are. Whoever asks for an S3 object that is being fetched waits for it.

        Raises `SourceMissingError` when the source is gone, `SourceChangedError` when it is another one than
        was listed, `TransientSourceError` when S3 does not answer, `TransientStoreError` for a full disk.
        """
        if not source.uri.startswith("s3://"):
            yield require_unchanged(source)
            return
        name = blake2b(source.identity.encode(), digest_size=20).hexdigest()
        copy = self._folder / f"{name}{_COPY}"
        with explain_disk_errors(self._folder):
            lock = Flock(copy.with_suffix(_LOCK))
        try:
            with explain_disk_errors(self._folder):
                self._pin(source, copy, lock)
            yield copy
        finally:
            with explain_disk_errors(self._folder):
                self._let_go(copy, lock)
                self._make_room(0)

    def _pin(self, source: Source, copy: Path, lock: Flock) -> None:
        """Hold the shared lock with the copy in place: from then on nobody removes it, or what becomes it."""
        lock.take(shared=True)
        if not _is_whole(copy, source.size_bytes):
            with lock_file(copy.with_suffix(_FETCH)) as fetching:
                try:
                    if not _is_whole(copy, source.size_bytes):
                        self._fetch(source, copy)
                finally:
                    fetching.remove()
        os.utime(copy)

    def _let_go(self, copy: Path, lock: Flock) -> None:
        try:
            os.utime(copy)
        except FileNotFoundError:  # it could not be fetched; nothing needs the lock's file
            if lock.take(wait=False):
                lock.remove()
        finally:
            lock.close()

    def _fetch(self, source: Source, copy: Path) -> None:
        part = copy.with_suffix(_PART)
        part.unlink(missing_ok=True)
        try:
            self._make_room(source.size_bytes, reserve=part)
            fetch_into(source, part, self._s3)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(part, copy)
        except (TransientStoreError, OSError):
            self._make_room(self._max_bytes)  # the disk is smaller than was thought: next time there is more
            raise
        finally:
            part.unlink(missing_ok=True)

    def _make_room(self, needed_bytes: int, *, reserve: Path | None = None) -> None:
        """Remove what is not in use, oldest first, until so much fits; take the room with a file of holes."""
        if not self._folder.is_dir():
            return
        with lock_file(self._folder / f"{_ROOM_LOCK}{_LOCK}"):
            kept = _list_kept(self._folder)
            total_bytes = sum(entry.size_bytes for entry in kept)
            for entry in kept:
                if entry.is_copy and total_bytes + needed_bytes <= self._max_bytes:
                    continue
                if _remove_unless_used(entry.path):
                    total_bytes -= entry.size_bytes
            if reserve is not None:
                with reserve.open("wb") as file:
                    file.truncate(needed_bytes)


@dataclass(frozen=True, slots=True, order=True)
class _Kept:
    """A copy, or what precedes it. What a killed process left goes first, then the least recently used."""

    is_copy: bool
    used_ns: int
    size_bytes: int
    path: Path


def _list_kept(folder: Path) -> list[_Kept]:
    kept = []
    for path in folder.iterdir():
        if path.suffix in (_COPY, _PART, _FETCH):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            kept.append(_Kept(path.suffix == _COPY, state.st_mtime_ns, state.st_size, path))
    return sorted(kept)


def _remove_unless_used(path: Path) -> bool:
    lock = Flock(path.with_suffix(_LOCK))
    try:
        if not lock.take(wait=False):
            return False
        path.unlink(missing_ok=True)
        lock.remove()
        return True
    finally:
        lock.close()


def _is_whole(copy: Path, size_bytes: int) -> bool:
    try:
        return copy.stat().st_size == size_bytes
    except FileNotFoundError:
        return False
