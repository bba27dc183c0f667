"""Batches made ahead, in other processes, so that rendering and training overlap."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

Batch = TypeVar("Batch")


@contextmanager
def make_ahead(
    make_batch: Callable[[int], Batch], numbers: Iterator[int], *, workers: int, depth: int
) -> Iterator[Iterator[Batch]]:
    """Yield an iterator over the batches of `numbers`, in order.

    With `workers` processes, at least `depth` batches are under way beyond the one in use; with none, each is
    made when asked for. The processes end with the context, and with this process however it ends.
    """
    if workers == 0:
        yield map(make_batch, numbers)
        return
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(make_batch,)
    )
    try:
        yield _drain(pool, numbers, depth + workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _drain(pool: ProcessPoolExecutor, numbers: Iterator[int], depth: int) -> Iterator[Any]:
    waiting: deque[Future[Any]] = deque()
    for number in numbers:
        waiting.append(pool.submit(_make, number))
        if len(waiting) > depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


_make_batch: Callable[[int], Any] | None = None


def _start_worker(make_batch: Callable[[int], Any]) -> None:
    """Keep the function, leave signals to the trainer, and die with it even when it is killed."""
    global _make_batch
    _make_batch = make_batch
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _use_one_thread()
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _use_one_thread() -> None:
    """A worker is one of several: its libraries take one thread each."""
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _make(number: int) -> Any:
    assert _make_batch is not None
    return _make_batch(number)
