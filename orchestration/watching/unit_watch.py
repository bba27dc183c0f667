"""Watches one unit while it runs: its lines carry its ids, its stages are timed, and it may be traced."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TypeVar

from tubelet.orchestration.ledger.records import Lease, UnitFailure, UnitResult
from tubelet.orchestration.watching.gpu import count_gpu_seconds
from tubelet.orchestration.watching.logs import log_ids, name_ids
from tubelet.orchestration.watching.traces import UnitSpan, add_span, stage_span, unit_span

T = TypeVar("T")


class UnitWatch:
    """The clocks of one unit. Stages nest: what goes on inside another one counts once, as its own."""

    def __init__(self, lease: Lease, span: UnitSpan) -> None:
        self._lease = lease
        self._span = span
        self._started_s = time.monotonic()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._inside: list[float] = []
        """Of each stage that is open, the seconds of those within it."""

    @property
    def seconds(self) -> float:
        """How long the unit has been running."""
        return time.monotonic() - self._started_s

    def complete(self, result: UnitResult) -> UnitResult:
        """A result, with what its stages and its GPU took."""
        return replace(
            result,
            gpu_seconds=count_gpu_seconds(self._lease.kind, result.seconds),
            stage_seconds=tuple(sorted(self._seconds.items())),
        )

    def complete_failure(self, failure: UnitFailure) -> UnitFailure:
        """A failure, with what its GPU took."""
        self._span.fail(failure)
        return replace(failure, gpu_seconds=count_gpu_seconds(self._lease.kind, failure.seconds))

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Count the time inside as a stage's."""
        started_s = time.monotonic()
        self._inside.append(0.0)
        try:
            yield
        finally:
            took_s = time.monotonic() - started_s
            self._seconds[stage] += max(0.0, took_s - self._inside.pop())
            if self._inside:
                self._inside[-1] += took_s


_watch: ContextVar[UnitWatch | None] = ContextVar("tubelet_watch", default=None)


@contextmanager
def watched_unit(lease: Lease) -> Iterator[UnitWatch]:
    """Watch the unit of a lease."""
    with log_ids(**name_ids(lease)), unit_span(lease) as span:
        watch = UnitWatch(lease, span)
        token = _watch.set(watch)
        try:
            yield watch
        finally:
            _watch.reset(token)


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Count the time inside as a stage's of the unit that runs."""
    watch = _watch.get()
    if watch is None:
        yield
        return
    with watch.time(stage), stage_span(stage):
        yield


def timed_iteration(stage: str, values: Iterable[T]) -> Iterator[T]:
    """The values; the time that they take to come is a stage's."""
    watch = _watch.get()
    if watch is None:
        yield from values
        return
    remaining = iter(values)
    started_s, busy_s = time.time(), 0.0
    try:
        while True:
            asked_s = time.monotonic()
            try:
                with watch.time(stage):
                    value = next(remaining)
            except StopIteration:
                return
            finally:
                busy_s += time.monotonic() - asked_s
            yield value
    finally:
        add_span(stage, started_s, busy_s)
