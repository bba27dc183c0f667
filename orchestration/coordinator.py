"""The coordinator: sends units that may run to an executor, and buries those whose workers died.

All that it knows is in the ledger. It can be killed at any moment, and another one goes on; two of them on
one ledger do no harm, since only a lease gives the right to run a unit.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection
from typing import Protocol

from tubelet.orchestration.executor import Executor, Returned
from tubelet.orchestration.failures import choose_wait_s
from tubelet.orchestration.ledger.opening import is_local_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Event, Job, ReadyUnit, UnitFailure
from tubelet.settings import Settings

log = logging.getLogger(__name__)

REDISPATCH_S = 30.0
"""Where others send units too, one that was sent and that nobody took up is sent again after so long."""

WAIT_S = 0.2
"""How long the coordinator waits for something to end before it looks for more work."""


class JobWatcher(Protocol):
    """Hears how jobs get on. Calls come from the thread that coordinates."""

    def on_job_planned(self, job: Job) -> None:
        """A video was opened."""

    def on_job_ended(self, job: Job) -> None:
        """A video is indexed, failed or cancelled."""


class Coordinator:
    """Keeps an executor busy with the units of a ledger, of one batch or of all."""

    def __init__(
        self,
        ledger: Ledger,
        executor: Executor,
        place: Settings,
        *,
        batch_id: str = "",
        watcher: JobWatcher | None = None,
    ) -> None:
        self._ledger = ledger
        self._executor = executor
        self._place = place
        self._batch_id = batch_id
        self._watcher = watcher
        self._sent: dict[str, ReadyUnit] = {}
        self._ended_jobs: set[str] = set()
        self._looked_for_expired_s = 0.0
        is_alone = executor.returns_units and is_local_ledger(place.ledger_location)
        self._redispatch_s = 0.0 if is_alone else REDISPATCH_S

    def run(self, *, is_over: Callable[[], bool], stop: threading.Event | None = None) -> None:
        """Work until `is_over` says so and nothing is under way here, or `stop` is set."""
        while stop is None or not stop.is_set():
            self._send_ready()
            for returned in self._executor.wait(WAIT_S):
                self._take_back(returned)
            self._give_back_expired()
            if not self._sent and is_over():
                return

    def _send_ready(self) -> None:
        if self._executor.returns_units:
            under_way = len(self._sent)
        else:
            under_way = sum(stage.running for stage in self._ledger.measure_stages().values())
        room = self._executor.capacity - under_way
        if room <= 0:
            return
        # Units that this process sent and that do not run yet are ready too, and passed over below.
        ready = self._ledger.take_ready(
            room + len(self._sent), redispatch_s=self._redispatch_s, batch_id=self._batch_id
        )
        for unit in [unit for unit in ready if unit.unit_id not in self._sent][:room]:
            if self._executor.returns_units:
                self._sent[unit.unit_id] = unit
            self._executor.send(unit)

    def _take_back(self, returned: Returned) -> None:
        unit = returned.unit
        self._sent.pop(unit.unit_id, None)
        if returned.died:
            self._bury(returned)
        self._look_at([unit.job_id], planned=unit.kind == "plan")

    def _bury(self, returned: Returned) -> None:
        """Count an attempt as failed because its worker died, before the lease runs out."""
        unit_id = returned.unit.unit_id
        entry = self._ledger.get_unit(unit_id)
        if entry is None or entry.owner != returned.owner:
            return
        final = entry.attempts >= self._place.max_attempts
        failure = UnitFailure(
            "transient",
            f"The worker that ran {unit_id} died: {returned.died}. Attempts: {entry.attempts}. "
            "Do: look for the kernel's out-of-memory killer (dmesg), or use fewer workers.",
            retry_after_s=None
            if final
            else choose_wait_s(entry.attempts, self._place.retry_base_s, random.Random()),
        )
        if self._ledger.give_back(unit_id, returned.owner, failure):
            self._ledger.add_events(
                [
                    Event(
                        time.time(),
                        "error" if final else "warning",
                        failure.error,
                        job_id=entry.job_id,
                        unit_id=unit_id,
                    )
                ]
            )

    def _give_back_expired(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_for_expired_s < self._place.lease_s / 10:
            return
        self._looked_for_expired_s = now_s
        failure = UnitFailure(
            "transient",
            f"The worker was silent for more than {self._place.lease_s:g} s. Do: see if its machine is up.",
            retry_after_s=0.0,
        )
        expired = self._ledger.give_back_expired(failure, max_attempts=self._place.max_attempts)
        for unit_id in expired:
            log.warning("The lease of %s ran out", unit_id)
        self._look_at({unit_id.split(":")[1] for unit_id in expired})

    def _look_at(self, job_ids: Collection[str], *, planned: bool = False) -> None:
        if self._watcher is None:
            return
        for job in self._ledger.get_jobs(job_ids).values():
            if job.state == "running":
                if planned and job.duration_s:
                    self._watcher.on_job_planned(job)
            elif job.job_id not in self._ended_jobs:
                self._ended_jobs.add(job.job_id)
                self._watcher.on_job_ended(job)
