"""Run a unit under its lease: take it, keep it alive, do the work, and tell the ledger how it ended.

Every executor comes to this one function, so what a lease means does not depend on where a unit runs. A unit
that is delivered twice is run once: the second one finds no lease to take.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from tubelet.errors import LeaseLostError, StaleCommitError, StoreError
from tubelet.orchestration.failures import describe_failure
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Event, Lease, UnitFailure
from tubelet.orchestration.stages import Done, ResultsMissingError, forget_results, run_stage
from tubelet.orchestration.unit import read_unit
from tubelet.orchestration.watching.unit_watch import UnitWatch, watched_unit
from tubelet.orchestration.watching.worker_notes import keep_note
from tubelet.settings import Settings

log = logging.getLogger(__name__)

HEARTBEATS_A_LEASE = 10
MAX_HEARTBEAT_S = 5.0


def run_leased(unit_id: str, *, ledger: Ledger, place: Settings, owner: str) -> bool:
    """Run a unit if its lease can be had; False when it is not (or no longer) to be run.

    What goes wrong in the unit is written into the ledger and never raised. Raises StoreError when the ledger
    cannot be reached: the lease then runs out, and another worker goes on.
    """
    lease = ledger.acquire(unit_id, owner, lease_s=place.lease_s)
    if lease is None:
        return False
    with watched_unit(lease) as watch:
        _run(lease, ledger, place, watch)
        keep_note(place)
    return True


def _run(lease: Lease, ledger: Ledger, place: Settings, watch: UnitWatch) -> None:
    max_attempts = place.max_attempts
    try:
        with _Heart(ledger, lease, place).beating() as heart:
            unit = read_unit(lease, place)
            max_attempts = unit.settings.max_attempts
            done = run_stage(unit, heart.note_progress, heart.confirm)
        ledger.complete(lease, watch.complete(done.result), done.then)
        if unit.kind == "video":
            forget_results(unit)
        _tell(ledger, lease, done)
        log.info("%s is done in %.1f s", lease.unit_id, watch.seconds)
    except (LeaseLostError, StaleCommitError):
        log.warning("Unit %s is no longer ours: it was cancelled, or another worker has it", lease.unit_id)
    except ResultsMissingError as missing:
        log.warning("%s", missing)
        ledger.send_back(lease, missing.unit_ids)
    except Exception as error:
        failure = describe_failure(
            error,
            attempt=lease.attempt,
            max_attempts=max_attempts,
            base_s=place.retry_base_s,
            seconds=watch.seconds,
            draw=random.Random(),
        )
        _fail(ledger, lease, watch.complete_failure(failure), error)


def _fail(ledger: Ledger, lease: Lease, failure: UnitFailure, error: Exception) -> None:
    if failure.error_class == "bug":
        log.error("Unit %s of %s failed", lease.unit_id, lease.job.uri, exc_info=error)
    else:
        log.info("Unit %s failed (%s): %s", lease.unit_id, failure.error_class, failure.error)
    try:
        ledger.fail(lease, failure)
    except LeaseLostError:
        return
    ledger.add_events([make_failure_event(lease, failure)])


def make_failure_event(lease: Lease, failure: UnitFailure) -> Event:
    """What the log says of a failed attempt."""
    again = failure.retry_after_s
    what = "not tried again" if again is None else f"tried again in {again:.1f} s"
    return Event(
        time.time(),
        "error" if again is None else "warning",
        f"{lease.job.uri}: attempt {lease.attempt} failed ({failure.error_class}), {what}: {failure.error}",
        job_id=lease.job.job_id,
        unit_id=lease.unit_id,
    )


def _tell(ledger: Ledger, lease: Lease, done: Done) -> None:
    """Log what was done. The work is safe already, so a ledger that cannot be reached now costs only the
    line.
    """
    uri, result = lease.job.uri, done.result
    if lease.kind == "plan":
        text = f"{uri}: {result.duration_s:.1f} s in {len(done.then) - 1} chunks"
    elif lease.kind == "chunk":
        text = f"{uri}: chunk {lease.unit_id.rsplit(':', 1)[-1]}, {result.num_objects} objects"
        text += ", was done before" if result.resumed else f", {result.seconds:.1f} s"
    else:
        text = f"{uri}: indexed, {result.num_objects} objects in {result.num_moments} moments"
    events = [Event(time.time(), "info", text, job_id=lease.job.job_id, unit_id=lease.unit_id)]
    events += [
        Event(time.time(), "warning", f"{uri}: {warning}", job_id=lease.job.job_id, unit_id=lease.unit_id)
        for warning in result.warnings
    ]
    try:
        ledger.add_events(events)
    except StoreError as error:
        log.warning("The batch's log lacks a line: %s", error)


class _Heart:
    """Renews a lease from a thread of its own, and stops the work once the lease is lost."""

    def __init__(self, ledger: Ledger, lease: Lease, place: Settings) -> None:
        self._ledger = ledger
        self._lease = lease
        self._place = place
        self._lease_s = place.lease_s
        self._progress_s = 0.0
        self._ended = threading.Event()
        self._lost: LeaseLostError | None = None

    @contextmanager
    def beating(self) -> Iterator[_Heart]:
        ids = copy_context()  # what the thread logs carries the ids of the unit
        name = f"heart of {self._lease.unit_id}"
        thread = threading.Thread(target=ids.run, args=(self._beat,), daemon=True, name=name)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def note_progress(self, second: float) -> None:
        """Keep how far the unit is, for the next beat. Raises LeaseLostError once it is lost."""
        self._progress_s = second
        if self._lost is not None:
            raise self._lost

    def confirm(self) -> None:
        """Raise LeaseLostError unless the unit is still ours at this moment."""
        if not self._ledger.holds(self._lease):
            raise LeaseLostError(f"The lease of {self._lease.unit_id} is lost")

    def _beat(self) -> None:
        interval_s = min(MAX_HEARTBEAT_S, self._lease_s / HEARTBEATS_A_LEASE)
        while not self._ended.wait(interval_s):
            try:
                self._ledger.renew(self._lease, lease_s=self._lease_s, progress_s=self._progress_s)
            except LeaseLostError as error:
                self._lost = error
                return
            except StoreError as error:  # it may come back in time; the token guards the rest
                log.warning("No heartbeat for %s: %s", self._lease.unit_id, error)
            keep_note(self._place)
