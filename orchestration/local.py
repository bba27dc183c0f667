"""The local executor: spawned worker processes on this machine.

Every worker is a pool of one process, so when a process dies it is known which unit killed it, and only
that unit is tried again. Workers die with the process that started them, even when it is killed.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from ctypes import c_double
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tubelet.errors import TubeletError
from tubelet.orchestration.executor import Outcome
from tubelet.orchestration.unit import Unit, UnitReport, run_unit

_SPAWN = multiprocessing.get_context("spawn")
_progress: Any = None


@dataclass(slots=True)
class _Worker:
    """One process and the unit it runs."""

    pool: ProcessPoolExecutor
    progress: Any
    future: Future[UnitReport] | None = None
    unit: Unit | None = None
    attempts: int = 0


class LocalExecutor:
    """Runs units in `num_workers` processes. A unit whose process dies is tried `max_attempts` times."""

    def __init__(self, num_workers: int, *, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self._threads = max(1, len(os.sched_getaffinity(0)) // num_workers)
        self._queue: deque[tuple[Unit, int]] = deque()
        self._workers = [self._start_worker() for _ in range(num_workers)]

    @property
    def capacity(self) -> int:
        """Two units a worker: one that runs, one that waits."""
        return 2 * len(self._workers)

    def submit(self, unit: Unit) -> None:
        """Take a unit; returns at once."""
        self._queue.append((unit, 1))
        self._fill()

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes that are ready, or none after `timeout_s`."""
        running = [worker.future for worker in self._workers if worker.future is not None]
        wait(running, timeout=timeout_s, return_when=FIRST_COMPLETED)
        ready = [worker for worker in self._workers if worker.future is not None and worker.future.done()]
        outcomes = [outcome for worker in ready if (outcome := self._collect(worker))]
        self._fill()
        return outcomes

    def seconds_under_way(self) -> float:
        """Seconds of video that running units have got through so far."""
        return sum(float(worker.progress.value) for worker in self._workers if worker.future is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            _stop(worker.pool, at_once=kind is not None)

    def _start_worker(self) -> _Worker:
        progress = _SPAWN.Value(c_double, 0.0, lock=False)
        pool = ProcessPoolExecutor(
            1, mp_context=_SPAWN, initializer=_prepare_process, initargs=(progress, self._threads)
        )
        return _Worker(pool, progress)

    def _fill(self) -> None:
        for worker in self._workers:
            if worker.future is None and self._queue:
                worker.unit, worker.attempts = self._queue.popleft()
                worker.progress.value = 0.0
                worker.future = worker.pool.submit(_run_in_process, worker.unit)

    def _collect(self, worker: _Worker) -> Outcome | None:
        assert worker.future is not None
        assert worker.unit is not None
        future, unit, attempts = worker.future, worker.unit, worker.attempts
        worker.future = worker.unit = None
        error = future.exception()
        if error is None:
            return Outcome(unit, attempts, report=future.result())
        if isinstance(error, BrokenProcessPool):
            _stop(worker.pool, at_once=True)
            fresh = self._start_worker()
            worker.pool, worker.progress = fresh.pool, fresh.progress
            if attempts < self._max_attempts:
                self._queue.appendleft((unit, attempts + 1))
                return None
            error = TubeletError(
                f"The worker process died {attempts} times on {unit.unit_id}",
                expected="a process that ends by itself",
                do="look for the kernel's out-of-memory killer (dmesg), or use fewer --workers",
            )
        assert isinstance(error, Exception)
        return Outcome(unit, attempts, error=error)


def exit_with_parent() -> None:
    """End this process as soon as the one that started it is gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="exit-with-parent").start()


def _prepare_process(progress: Any, num_threads: int) -> None:
    global _progress
    exit_with_parent()
    _progress = progress
    os.environ["OMP_NUM_THREADS"] = str(num_threads)
    import cv2

    cv2.setNumThreads(num_threads)


def _run_in_process(unit: Unit) -> UnitReport:
    def report_second(second: float) -> None:
        _progress.value = second

    return run_unit(unit, report_second)


def _stop(pool: ProcessPoolExecutor, *, at_once: bool) -> None:
    processes = list((pool._processes or {}).values()) if at_once else []
    for process in processes:
        process.kill()
    pool.shutdown(wait=True, cancel_futures=True)
