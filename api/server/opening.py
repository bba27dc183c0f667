"""Parts on servers, opened when they are first needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from tubelet.errors import StoreError

TRY_AGAIN_S = 2.0


class _Closes(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closes)


class Opened(Generic[T]):
    """What `open_it` opens, once. A server that does not answer is asked by one request at a time."""

    def __init__(self, open_it: Callable[[], T]) -> None:
        self._open = open_it
        self._lock = threading.Lock()
        self._part: T | None = None
        self._failure: StoreError | None = None
        self._try_again_s = 0.0

    def get(self) -> T:
        """The part. Raises StoreError when it cannot be opened now."""
        with self._lock:
            if self._part is None:
                if self._failure is not None and time.monotonic() < self._try_again_s:
                    raise self._failure
                try:
                    self._part = self._open()
                except StoreError as error:
                    self._failure, self._try_again_s = error, time.monotonic() + TRY_AGAIN_S
                    raise
            return self._part

    def close(self) -> None:
        """Give up connections. Whoever uses the part again opens it again."""
        with self._lock:
            if self._part is not None:
                self._part.close()
            self._part = None
