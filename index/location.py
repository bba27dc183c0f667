"""Where an index lies, and the locks that let one writer, and one keeper, in at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tubelet.errors import IndexMissingError, StoreError

LOCK_TIMEOUT_S = 600.0
"""How long a writer waits for another one before it gives up."""


def find_local_folder(location: str) -> Path | None:
    """The folder, or None for an address that only LanceDB understands."""
    if location.startswith("file://"):
        return Path(location.removeprefix("file://"))
    return None if "://" in location else Path(location).expanduser().absolute()


@contextmanager
def lock_writers(location: str) -> Iterator[bool]:
    """Hold the lock of a local folder; gives whether nobody else can write meanwhile.

    On S3 there is no lock: LanceDB's conditional writes settle who was first. Raises StoreError when another
    process keeps the lock too long, or when it cannot be taken.
    """
    with _hold(
        location, "write.lock", "by another writer", "wait for the other run to end, or stop it"
    ) as held:
        yield held


@contextmanager
def lock_keeping(location: str) -> Iterator[bool]:
    """Hold the lock of those who compact and build indexes; writers go on meanwhile. The same otherwise."""
    with _hold(location, "keeping.lock", "by another optimize", "wait for it to end, or stop it") as held:
        yield held


@contextmanager
def _hold(location: str, name: str, by_whom: str, do: str) -> Iterator[bool]:
    folder = find_local_folder(location)
    if folder is None:
        yield False
        return
    if not folder.is_dir():  # the lock would make it
        raise missing_index(location)
    lock = FileLock(folder / name, timeout=LOCK_TIMEOUT_S)
    try:
        lock.acquire()
    except Timeout:
        raise StoreError(
            f"The index at {folder} has been locked {by_whom} for {LOCK_TIMEOUT_S:.0f} s",
            expected="one at a time",
            do=do,
        ) from None
    except OSError as error:
        raise StoreError(
            f"The index at {folder} cannot be locked: {error}",
            expected="a folder that may be written to",
            do="correct its permissions, or choose another folder",
        ) from error
    try:
        yield True
    finally:
        lock.release()


def missing_index(location: str) -> IndexMissingError:
    """What to say where there is no index."""
    return IndexMissingError(
        f"There is no index at {location}", expected="an index", do="index a video first: tubelet index PATH"
    )
