"""Works on the batches of all tenants: what the child process of a service does, a thread for each tenant.

Nothing is loaded until there is a batch. A tenant whose batches have all ended for a while gives up its
worker processes, and with them the memory of their models.
"""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import closing

from tubelet.api.server.tenants import list_tenants, make_tenant_settings
from tubelet.errors import TubeletError
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.local import exit_with_parent
from tubelet.orchestration.progress import ENDED, name_state
from tubelet.orchestration.watching.logs import set_up_logging
from tubelet.settings import Settings

log = logging.getLogger(__name__)

LOOK_S = 1.0
IDLE_S = 120.0
"""A tenant without work for so long lets its worker processes go."""


def work_for_tenants(settings: Settings) -> None:
    """Work for every tenant until SIGTERM. For a process of its own."""
    exit_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    set_up_logging(settings, level=logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threads: dict[str, threading.Thread] = {}
    while not stop.is_set():
        for name in list_tenants(settings):
            if name not in threads or not threads[name].is_alive():
                threads[name] = threading.Thread(target=_work_for, args=(settings, name, stop), name=name)
                threads[name].start()
        stop.wait(LOOK_S)
    for thread in threads.values():
        thread.join()


def _work_for(settings: Settings, name: str, stop: threading.Event) -> None:
    """Wait for work of one tenant and do it, again and again."""
    while not stop.is_set():
        try:
            own = make_tenant_settings(settings, name)
            with closing(open_ledger(own.ledger_location)) as ledger:
                while not stop.is_set():
                    if has_work(ledger):
                        _work_until_idle(own, ledger, stop)
                    stop.wait(LOOK_S)
        except TubeletError as error:
            log.warning("No work is done for %s now: %s", name, error)
            stop.wait(5 * LOOK_S)


def _work_until_idle(settings: Settings, ledger: Ledger, stop: threading.Event) -> None:
    from tubelet.orchestration.service import WorkService

    ended = threading.Event()

    def watch() -> None:
        idle_s = 0.0
        while not ended.wait(LOOK_S):
            try:
                idle_s = 0.0 if has_work(ledger) else idle_s + LOOK_S
            except TubeletError:
                idle_s = 0.0
            if stop.is_set() or idle_s >= IDLE_S:
                own_stop.set()
                return

    own_stop = threading.Event()
    watcher = threading.Thread(target=watch, name="idle")
    watcher.start()
    try:
        WorkService(settings, ledger, stop=own_stop).run()
    finally:
        ended.set()
        watcher.join()


def has_work(ledger: Ledger) -> bool:
    """Whether a batch has something left to do and is not held."""
    before = ""
    while page := ledger.list_batches(limit=100, before=before):
        before = page[-1].batch_id
        for batch in page:
            state = name_state(batch, ledger.count_items(batch.batch_id))
            if state not in ENDED and state != "paused":
                return True
    return False
