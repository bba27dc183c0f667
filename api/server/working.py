"""Keeps a child process that works on batches beside the service, and starts it again when it dies."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tubelet.settings import Settings

log = logging.getLogger(__name__)

LOOK_S = 1.0

STOP_S = 60.0
"""How long units that run may take to end before they are stopped; they are done again later."""


@contextmanager
def working(settings: Settings) -> Iterator[None]:
    """Have a child process work on the batches of every tenant as long as the block runs."""
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(settings, stop), name="working")
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()


def _keep(settings: Settings, stop: threading.Event) -> None:
    context = multiprocessing.get_context("spawn")
    while not stop.is_set():
        process = context.Process(target=_work, args=(settings,), name="tubelet-work")
        process.start()
        while process.is_alive() and not stop.wait(LOOK_S):
            pass
        if stop.is_set():
            process.terminate()
            process.join(STOP_S)
            if process.is_alive():
                process.kill()
        else:
            log.warning("The process that works on batches ended (%s) and is started anew", process.exitcode)
        process.join()
        process.close()
        stop.wait(LOOK_S)


def _work(settings: Settings) -> None:
    """What the child runs; only there is anything heavy imported."""
    from tubelet.api.server.tenant_work import work_for_tenants

    work_for_tenants(settings)
