"""Where an index lies, and the lock that lets one writer at a time in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tubelet.errors import StoreError

LOCK_TIMEOUT_S = 600.0
"""How long a writer waits for another one before it gives up."""


def find_local_folder(location: str) -> Path | None:
    """The folder, or None for an address that only LanceDB understands."""
    if location.startswith("file://"):
        return Path(location.removeprefix("file://"))
    return None if "://" in location else Path(location).expanduser().absolute()


@contextmanager
def lock_writers(location: str) -> Iterator[None]:
    """Hold the lock of a local folder. On S3 LanceDB's conditional writes settle who was first.

    Raises StoreError when another process keeps it too long, or when it cannot be taken.
    """
    folder = find_local_folder(location)
    if folder is None:
        yield
        return
    lock = FileLock(folder / "write.lock", timeout=LOCK_TIMEOUT_S)
    try:
        lock.acquire()
    except Timeout:
        raise StoreError(
            f"The index at {folder} has been locked by another writer for {LOCK_TIMEOUT_S:.0f} s",
            expected="one writer at a time",
            do="wait for the other run to end, or stop it",
        ) from None
    except OSError as error:
        raise StoreError(
            f"The index at {folder} cannot be locked: {error}",
            expected="a folder that may be written to",
            do="correct its permissions, or choose another folder",
        ) from error
    try:
        yield
    finally:
        lock.release()
