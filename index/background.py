"""Optimizing beside other work, in a process of its own.

Building a vector index takes all threads that LanceDB has in a process; a write there would wait for them.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection

from tubelet.errors import StoreError, TubeletError
from tubelet.index.keeping import Optimized
from tubelet.index.store import IndexStore

NICENESS = 10


class BackgroundOptimize:
    """An optimize under way. It ends with the process that started it; stopping it does no harm."""

    def __init__(self, location: str, storage_options: Mapping[str, str] | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._answer, theirs = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_optimize,
            args=(location, dict(storage_options) if storage_options else None, theirs),
            name="tubelet-optimize",
            daemon=True,
        )
        self._process.start()
        theirs.close()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    def wait(self, timeout_s: float | None = None) -> Optimized | None:
        """What it did; None when it is still at it after `timeout_s`.

        Raises StoreError when it failed, or died.
        """
        if not self._answer.poll(timeout_s):
            return None
        try:
            answer = self._answer.recv()
        except EOFError:
            answer = StoreError(
                "The process that optimizes the index died",
                expected="an optimize that ends",
                do="see whether memory or disk is full, and run: tubelet index optimize",
            )
        self._process.join()
        if isinstance(answer, Optimized):
            return answer
        raise answer

    def stop(self) -> None:
        """End it now. What it had committed stays; nothing is half done."""
        self._process.terminate()
        self._process.join()


def optimize_in_background(
    location: str, storage_options: Mapping[str, str] | None = None
) -> BackgroundOptimize:
    """Start `IndexStore.optimize` in a process of its own, which gives way to others."""
    return BackgroundOptimize(location, storage_options)


def _optimize(location: str, storage_options: Mapping[str, str] | None, answer: Connection) -> None:
    os.nice(NICENESS)
    told: Optimized | TubeletError
    try:
        told = IndexStore.open(location, storage_options=storage_options).optimize()
    except TubeletError as error:
        told = error
    with suppress(BrokenPipeError):  # whoever started it has ended meanwhile
        answer.send(told)
