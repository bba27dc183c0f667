"""The local executor: spawned worker processes on this machine, each with its models loaded once.

Every worker is a pool of one process, so when a process dies it is known which unit it had. Workers die with
the process that started them, even when that is killed.
"""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import multiprocessing.connection
import os
import socket
import threading
import uuid
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tubelet.orchestration.executor import Returned
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import ReadyUnit
from tubelet.orchestration.resources import load_models
from tubelet.orchestration.watching.gpu import set_gpu_share
from tubelet.orchestration.watching.logs import set_up_logging
from tubelet.orchestration.watching.traces import start_tracing
from tubelet.settings import Settings

_SPAWN = multiprocessing.get_context("spawn")
_place: tuple[Settings, Ledger, str] | None = None


@dataclass(slots=True)
class _Worker:
    """One process, the name it holds leases under, and the unit it has."""

    pool: ProcessPoolExecutor
    owner: str
    future: Future[bool] | None = None
    unit: ReadyUnit | None = None


class LocalExecutor:
    """Runs units in `settings.num_workers` processes, one run a home at a time."""

    returns_units = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = max(1, len(os.sched_getaffinity(0)) // settings.num_workers)
        self._queue: deque[ReadyUnit] = deque()
        self._workers = [self._start_worker() for _ in range(settings.num_workers)]

    @property
    def capacity(self) -> int:
        """Two units a worker: one that runs, one that waits."""
        return 2 * len(self._workers)

    def count_under_way(self) -> int:
        """How many units wait or run here."""
        return len(self._queue) + sum(worker.future is not None for worker in self._workers)

    def send(self, unit: ReadyUnit) -> None:
        """Take a unit; returns at once."""
        self._queue.append(unit)
        self._fill()

    def wait(self, timeout_s: float) -> list[Returned]:
        """Units that ended, or none after `timeout_s`."""
        running = [worker.future for worker in self._workers if worker.future is not None]
        wait(running, timeout=timeout_s, return_when=FIRST_COMPLETED)
        ready = [worker for worker in self._workers if worker.future is not None and worker.future.done()]
        returned = [self._collect(worker) for worker in ready]
        self._fill()
        return returned

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
        owner = f"{name_owners(self._settings)}{uuid.uuid4().hex[:12]}"
        pool = ProcessPoolExecutor(
            1,
            mp_context=_SPAWN,
            initializer=_prepare_process,
            initargs=(self._settings, owner, self._threads),
        )
        pool.submit(_stand_by)
        return _Worker(pool, owner)

    def _fill(self) -> None:
        for worker in self._workers:
            if worker.future is None and self._queue:
                unit = self._queue[0]
                try:
                    future = worker.pool.submit(_run_in_process, unit.unit_id)
                except BrokenProcessPool:  # it died while it had nothing to do
                    self._replace(worker)
                    future = worker.pool.submit(_run_in_process, unit.unit_id)
                worker.unit, worker.future = self._queue.popleft(), future

    def _replace(self, worker: _Worker) -> None:
        """Another process in the place of one that died."""
        _stop(worker.pool, at_once=True)
        fresh = self._start_worker()
        worker.pool, worker.owner = fresh.pool, fresh.owner

    def _collect(self, worker: _Worker) -> Returned:
        assert worker.future is not None
        assert worker.unit is not None
        future, unit, owner = worker.future, worker.unit, worker.owner
        worker.future = worker.unit = None
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self._replace(worker)
            return Returned(unit, owner, died="its process was killed")
        if error is not None:  # the ledger could not be reached, so it does not know how the unit ended
            return Returned(unit, owner, died=str(error))
        return Returned(unit, owner)


def name_owners(settings: Settings) -> str:
    """How the names of all workers begin that a run on this machine in this home starts."""
    return f"local:{socket.gethostname()}:{settings.home}:"


def exit_with_parent() -> None:
    """End this process as soon as the one that started it is gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="exit-with-parent").start()


def _prepare_process(settings: Settings, owner: str, num_threads: int) -> None:
    global _place
    atexit.register(os._exit, 0)  # what comes last: a second in which nothing but memory is given back
    exit_with_parent()
    set_up_logging(settings)
    start_tracing(settings)
    set_gpu_share(1 / settings.num_workers)
    _place = (settings, open_ledger(settings.ledger_location), owner)
    os.environ.setdefault("OMP_NUM_THREADS", str(num_threads))
    threading.Thread(target=_load_ahead, args=(settings, num_threads), daemon=True, name="load-ahead").start()


def _load_ahead(settings: Settings, num_threads: int) -> None:
    """Make the models while the first video is opened, and those of later stages while it is tracked."""
    import cv2

    cv2.setNumThreads(num_threads)
    with suppress(Exception):  # the unit that needs it finds the same and says so
        load_models(settings)
        importlib.import_module("lancedb")  # for the commit


def _stand_by() -> None:
    """Do nothing: a pool starts its process when it is first given something."""


def _run_in_process(unit_id: str) -> bool:
    from tubelet.orchestration.runner import run_leased  # slow to import, and for workers alone

    assert _place is not None, "the pool prepares its process first"
    settings, ledger, owner = _place
    return run_leased(unit_id, ledger=ledger, place=settings, owner=owner)


def _stop(pool: ProcessPoolExecutor, *, at_once: bool) -> None:
    processes = list((pool._processes or {}).values()) if at_once else []
    for process in processes:
        process.kill()
    pool.shutdown(wait=True, cancel_futures=True)
