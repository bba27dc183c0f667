"""The coordinator: sends units that may run to an executor, and buries those whose workers died.

All that it knows is in the ledger. It can be killed at any moment, and another one goes on; two of them on
one ledger do no harm, since only a lease gives the right to run a unit.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from itertools import islice
from typing import Protocol

from tubelet.errors import StoreError
from tubelet.orchestration.dead_workers import bury_worker
from tubelet.orchestration.executor import Executor, Returned
from tubelet.orchestration.ledger.opening import is_local_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Job, ReadyUnit, UnitFailure
from tubelet.settings import Settings

log = logging.getLogger(__name__)

REDISPATCH_S = 30.0
"""Where others send units too, one that was sent and that nobody took up is sent again after so long."""

WAIT_S = 0.2
"""How long the coordinator waits for something to end before it looks for more work."""

QUEUED_S = 3600.0
"""A unit in a queue that outlives us is sent again after so long only, as long as the queue is not empty: an
empty one has lost what was sent and not taken.
"""

LOOK_S = 1.0
"""How often jobs are asked for whose units do not come back, and how soon something is tried again."""

PAGE = 500
"""How many units are taken, and how many jobs are asked for, at a time."""


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
        goes_on: bool = False,
    ) -> None:
        """With `goes_on`, a ledger or an executor that does not answer is asked again until it does."""
        self._ledger = ledger
        self._executor = executor
        self._place = place
        self._batch_id = batch_id
        self._watcher = watcher
        self._goes_on = goes_on
        self._to_send: deque[ReadyUnit] = deque()
        self._sent: dict[str, ReadyUnit] = {}
        self._returned: deque[Returned] = deque()
        self._watched: dict[str, bool] = {}
        """Jobs whose units do not come back, and whether they are known to be planned."""
        self._ended_jobs: set[str] = set()
        self._looked_for_expired_s = 0.0
        self._looked_at_watched_s = 0.0
        self._is_alone = executor.returns_units and is_local_ledger(place.ledger_location)

    def run(self, *, is_over: Callable[[], bool], stop: threading.Event | None = None) -> None:
        """Work until `is_over` says so and nothing is under way here, or `stop` is set.

        `is_over` is asked at every turn, so that whoever waits can show how far the work is.
        Raises StoreError when the ledger or the executor does not answer, unless it is to go on then.
        """
        while stop is None or not stop.is_set():
            try:
                self._work()
                if is_over() and not self._sent and not self._returned:
                    self._look_at_watched(len(self._watched))
                    return
            except StoreError as error:
                if not self._goes_on:
                    raise
                log.warning("No work is given out now: %s", error)
                (stop or threading.Event()).wait(LOOK_S)

    def _work(self) -> None:
        self._send_ready()
        self._returned.extend(self._executor.wait(WAIT_S))
        while self._returned:
            self._sent.pop(self._returned[0].unit.unit_id, None)
            self._take_back(self._returned[0])
            self._returned.popleft()
        self._give_back_expired()
        now_s = time.monotonic()
        if now_s - self._looked_at_watched_s >= LOOK_S:
            self._looked_at_watched_s = now_s
            self._look_at_watched(PAGE)

    def _send_ready(self) -> None:
        if not self._to_send:
            self._take_ready()
        while self._to_send:
            unit = self._to_send[0]
            self._executor.send(unit)
            if self._executor.returns_units:
                self._sent[unit.unit_id] = unit
            elif self._watcher is not None and unit.job_id not in self._ended_jobs:
                self._watched.setdefault(unit.job_id, False)
            self._to_send.popleft()

    def _take_ready(self) -> None:
        under_way = self._executor.count_under_way()
        room = min(PAGE, self._executor.capacity - under_way)
        if room <= 0:
            return
        # Where nobody else takes units, those that were sent and do not run yet come again, and are passed
        # over below. Of a shared ledger no more is taken than is sent: what is taken is hidden from others.
        known = len(self._sent) if self._is_alone else 0
        ready = self._ledger.take_ready(
            room + known, redispatch_s=self._choose_redispatch_s(under_way), batch_id=self._batch_id
        )
        self._to_send.extend([unit for unit in ready if unit.unit_id not in self._sent][:room])

    def _choose_redispatch_s(self, under_way: int) -> float:
        if self._is_alone:
            return 0.0
        return QUEUED_S if under_way and not self._executor.returns_units else REDISPATCH_S

    def _take_back(self, returned: Returned) -> None:
        unit = returned.unit
        if returned.died:  # an attempt has failed, and that is known before the lease runs out
            bury_worker(unit.unit_id, returned.owner, returned.died, ledger=self._ledger, place=self._place)
        self._look_at([unit.job_id], planned=unit.kind == "plan")

    def _give_back_expired(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_for_expired_s < self._place.lease_s / 10:
            return
        failure = UnitFailure(
            "transient",
            f"The worker was silent for more than {self._place.lease_s:g} s. Do: see if its machine is up.",
            retry_after_s=0.0,
        )
        expired = self._ledger.give_back_expired(failure, max_attempts=self._place.max_attempts)
        self._looked_for_expired_s = now_s
        for unit_id in expired:
            log.warning("The lease of %s ran out", unit_id)
        self._look_at({unit_id.split(":")[1] for unit_id in expired})

    def _look_at_watched(self, limit: int) -> None:
        """Ask for jobs whose units do not come back, those first that were not asked for longest."""
        if self._watcher is None or not self._watched:
            return
        asked = list(islice(self._watched, limit))
        for job in self._ledger.get_jobs(asked).values():
            was_planned = self._watched.pop(job.job_id)
            is_planned = bool(job.duration_s)
            self._tell(job, planned=is_planned and not was_planned)
            if job.state == "running":
                self._watched[job.job_id] = is_planned

    def _look_at(self, job_ids: Collection[str], *, planned: bool = False) -> None:
        if self._watcher is not None and job_ids:
            for job in self._ledger.get_jobs(job_ids).values():
                self._tell(job, planned=planned and bool(job.duration_s))

    def _tell(self, job: Job, *, planned: bool) -> None:
        assert self._watcher is not None
        if job.job_id in self._ended_jobs:
            return
        if planned:
            self._watcher.on_job_planned(job)
        if job.state != "running":
            self._ended_jobs.add(job.job_id)
            self._watched.pop(job.job_id, None)
            self._watcher.on_job_ended(job)
