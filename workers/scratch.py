"""Folders for what is half done, on the disk where it will lie; what a killed process left is cleared."""

from __future__ import annotations

import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from tubelet.workers.file_locks import Flock

_FOREIGN_AGE_S = 24 * 3600.0
"""Not every shared disk shows locks to other machines: theirs is removed only when it is so old as well."""


class Scratch:
    """Hands out temporary folders below `folder`. Each is locked by its holder as long as it is in use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()) or "host"

    @contextmanager
    def make_folder(self) -> Iterator[Path]:
        """An empty folder that is removed, with all that is in it, on leaving."""
        lock = Flock(self.folder / f"{self._host}.{uuid4().hex}.lock")
        try:
            # A clearing process may have removed the file before it was locked; taking makes it again.
            lock.take()
            inside = lock.path.with_suffix("")
            inside.mkdir()
            try:
                yield inside
            finally:
                shutil.rmtree(inside, ignore_errors=True)
                lock.remove()
        finally:
            lock.close()

    def clear(self) -> None:
        """Remove what processes left that are gone. Safe beside those that are not."""
        for path in list(self.folder.glob("*.lock")):
            try:
                is_old = time.time() - path.stat().st_mtime > _FOREIGN_AGE_S
            except FileNotFoundError:
                continue
            if not (path.name.startswith(f"{self._host}.") or is_old):
                continue
            lock = Flock(path)
            try:
                if lock.take(wait=False):
                    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                    lock.remove()
            finally:
                lock.close()
