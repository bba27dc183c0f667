"""Locks on files that end with their holder, also when it is killed: flock(2).

Several may hold a shared lock, or one an exclusive one. Whoever holds the exclusive lock may delete the lock
file; who waited for it finds out and locks the new one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Flock:
    """An open lock file. It is not inherited by programs that the process starts."""

    def __init__(self, path: Path) -> None:
        """Open the file, which is made with its folder where it is not there."""
        self.path = path
        self._descriptor = self._open()

    def _open(self) -> int:
        while True:
            try:
                return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:
                self.path.parent.mkdir(parents=True, exist_ok=True)

    def take(self, *, shared: bool = False, wait: bool = True) -> bool:
        """Take the lock, or change the kind of a lock that is held; False when it does not wait and may not.

        Changing is not atomic: another process may hold the lock in between.
        """
        how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        while True:
            try:
                fcntl.flock(self._descriptor, how)
            except BlockingIOError:
                return False
            if self._is_current():
                return True
            self.close()
            self._descriptor = self._open()

    def _is_current(self) -> bool:
        """Whether the open file is still the one under this name."""
        try:
            named = os.stat(self.path)
        except FileNotFoundError:
            return False
        opened = os.fstat(self._descriptor)
        return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)

    def remove(self) -> None:
        """Delete the file. Only who holds the exclusive lock may."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the lock back."""
        with suppress(OSError):
            os.close(self._descriptor)


@contextmanager
def lock_file(path: Path, *, shared: bool = False) -> Iterator[Flock]:
    """Hold the lock, after waiting for it."""
    lock = Flock(path)
    try:
        lock.take(shared=shared)
        yield lock
    finally:
        lock.close()
