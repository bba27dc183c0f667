"""The Celery worker: `celery -A tubelet.orchestration.celery_app worker -Q chunk`.

Its settings are those of its own machine (`TUBELET_*`, `TUBELET_CONFIG`, `HOME/tubelet.toml`); a batch's
options come from the ledger with every unit. The parent process imports nothing that computes: a network, or
LanceDB, that was loaded before the fork hangs in the child. So everything heavy is imported by the first unit
that a child runs.
"""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import socket
import sys
import threading
import uuid
from contextlib import ExitStack
from typing import Any

from celery.exceptions import Reject
from celery.signals import (
    celeryd_after_setup,
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
)
from kombu.transport.redis import Channel as RedisChannel
from kombu.transport.redis import QoS as RedisQoS

from tubelet.errors import StoreError, TubeletError
from tubelet.orchestration.celery_queues import TASK, make_app
from tubelet.orchestration.dead_workers import bury_worker
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.watching.gpu import set_gpu_share
from tubelet.orchestration.watching.logs import set_up_logging
from tubelet.orchestration.watching.traces import start_tracing, stop_tracing
from tubelet.settings import load_settings

log = logging.getLogger(__name__)

PARENT_CHECK_S = 1.0

_SETTINGS = load_settings()
app = make_app(_SETTINGS, waits_for_ever=True)

_OWNERS = f"celery:{socket.gethostname()}:{uuid.uuid4().hex[:12]}:"
"""How the names of this worker's processes begin; a child has its process id behind it."""

_metrics = ExitStack()
_ledger: Ledger | None = None
_num_threads = 1


def run_unit(unit_id: str) -> None:
    """Run the unit if its lease can be had. How it ended is in the ledger."""
    ledger = _prepare_process()
    from tubelet.orchestration.runner import run_leased

    owner = f"{_OWNERS}{os.getpid()}"
    try:
        if not run_leased(unit_id, ledger=ledger, place=_SETTINGS, owner=owner):
            _bury_sibling(unit_id, ledger)
    except StoreError as error:  # the ledger is away, so nobody else knows that the unit did not run
        log.warning("%s is put back into its queue: %s", unit_id, error)
        raise Reject(str(error), requeue=True) from error


app.task(run_unit, name=TASK, acks_late=True, reject_on_worker_lost=True, ignore_result=True)


class _PatientQoS(RedisQoS):  # type: ignore[misc]
    """Lets messages be that came over a connection which was lost since: they cannot be answered any more.

    kombu 5.7 would fail on them with an AttributeError, which ends the worker. How their units ended is in
    the ledger, so one that Redis delivers again finds no lease.
    """

    def ack(self, delivery_tag: str) -> None:
        """Say that a message was worked off."""
        if self._has_connection(delivery_tag):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Say that a message was not worked off."""
        if self._has_connection(delivery_tag):
            super().reject(delivery_tag, requeue=requeue)

    def _has_connection(self, delivery_tag: str) -> bool:
        if self.channel.connection is not None:
            return True
        log.warning("Message %s came before the connection to Redis was lost: not answered", delivery_tag)
        return False


def _prepare_process() -> Ledger:
    """What a child does once, before its first unit."""
    global _ledger
    if _ledger is None:
        import cv2

        from tubelet.orchestration.work_store import WorkStore

        cv2.setNumThreads(_num_threads)
        faulthandler.enable(2)  # else joining Ray does it on sys.stderr, which Celery made no file
        start_tracing(_SETTINGS)
        WorkStore(_SETTINGS).remove_leftovers()
        _ledger = open_ledger(_SETTINGS.ledger_location)
    return _ledger


def _bury_sibling(unit_id: str, ledger: Ledger) -> None:
    """Give back the lease of another process of this worker that was killed.

    Celery delivers the message of a killed process again at once, mostly to the one that takes its place.
    """
    entry = ledger.get_unit(unit_id)
    if entry is None or entry.state != "running" or not entry.owner.startswith(_OWNERS):
        return
    if not _is_alive(int(entry.owner.removeprefix(_OWNERS))):
        bury_worker(unit_id, entry.owner, "its process was killed", ledger=ledger, place=_SETTINGS)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _prepare_worker(instance: Any, **_: Any) -> None:
    """Share the cores among the children, unless the environment says how many threads networks have.

    When this parent ends, what its children did not end is given back.
    """
    global _num_threads
    _num_threads = max(1, len(os.sched_getaffinity(0)) // max(1, instance.concurrency))
    set_gpu_share(1 / max(1, instance.concurrency))
    os.environ.setdefault("OMP_NUM_THREADS", str(_num_threads))
    atexit.register(_give_back_all, os.getpid())
    # Putting messages back over a lost connection ends the worker (kombu 5.7). The ledger sends them again.
    RedisChannel.do_restore = False
    RedisChannel.QoS = _PatientQoS


def _set_up_logging(loglevel: int, **_: Any) -> None:
    """Log as JSON lines in place of Celery's."""
    set_up_logging(_SETTINGS, level=loglevel)


def _serve_metrics(**_: Any) -> None:
    """Serve metrics from this parent, once its children have been forked, until it ends."""
    from tubelet.orchestration.watching.serving import make_work_registry, serving_metrics

    try:
        registry = make_work_registry(_SETTINGS, open_ledger(_SETTINGS.ledger_location))
        log.warning("Metrics: %s", _metrics.enter_context(serving_metrics(_SETTINGS, registry)))
    except TubeletError as error:  # work matters more
        log.error("No metrics: %s", error)


def _exit_with_parent(**_: Any) -> None:
    """End this child soon after its parent, however that ended; a lease that it held runs out."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            threading.Event().wait(PARENT_CHECK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="exit-with-parent").start()


def _leave(**_: Any) -> None:
    """Send the last spans, and let go of the video that is kept open for the next chunk."""
    stop_tracing()
    stages = sys.modules.get("tubelet.orchestration.stages")
    if stages is not None:
        stages.close_reader()


def _give_back_all(parent_pid: int) -> None:
    """Give back, as no attempts, what the children held when they were stopped in the middle of it."""
    if os.getpid() != parent_pid:
        return
    try:
        ledger = open_ledger(_SETTINGS.ledger_location)
        given_back = ledger.give_back_all(_OWNERS)
        ledger.close()
    except StoreError as error:
        log.warning("Leases of this worker run out by themselves: %s", error)
        return
    if given_back:
        log.warning("Given back: %s", ", ".join(given_back))


if _SETTINGS.log_format == "json":
    setup_logging.connect(_set_up_logging)
if _SETTINGS.metrics_port is not None:
    worker_ready.connect(_serve_metrics)
celeryd_after_setup.connect(_prepare_worker)
worker_process_init.connect(_exit_with_parent)
worker_process_shutdown.connect(_leave)
