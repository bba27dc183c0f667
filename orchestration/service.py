"""Work on every batch of a ledger until told to stop: what `tubelet work` does.

Batches are listed one after the other by a thread, their units sent to an executor by another, and the index
is put in order when a batch has ended. Any of it may be killed at any moment; the next process goes on.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator

from tubelet.errors import StoreError, TubeletError
from tubelet.index.background import BackgroundOptimize, optimize_in_background
from tubelet.orchestration.coordinator import Coordinator
from tubelet.orchestration.executors import open_executor
from tubelet.orchestration.failures import choose_wait_s
from tubelet.orchestration.keeping import remove_committed_results
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Batch, Job
from tubelet.orchestration.listing import list_batch
from tubelet.orchestration.options import thaw_options
from tubelet.orchestration.progress import ENDED, name_state
from tubelet.orchestration.resources import make_s3_options, open_index, s3_storage_options
from tubelet.settings import Settings

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often new batches are looked for."""

PAGE = 100


class WorkService:
    """The work of one process on all batches of a ledger."""

    def __init__(self, settings: Settings, ledger: Ledger, *, stop: threading.Event | None = None) -> None:
        self._settings = settings
        self._ledger = ledger
        self._stop = stop or threading.Event()
        self._lister_stop = threading.Event()
        self._has_news = False
        self._optimizing: BackgroundOptimize | None = None
        self._ended: set[str] = set()
        self._relist: dict[str, tuple[int, float]] = {}
        """Batches whose listing did not work: how often, and when it is tried again."""

    def run(self, *, until_idle: bool = False) -> None:
        """Work until `stop` is set or, with `until_idle`, until no batch has anything left to do.

        Units that run here are ended before it returns. A ledger or broker that is away for a while only
        holds the work up. Raises StoreError when the home is in use by another run.
        """
        with open_executor(self._settings, self._ledger) as executor:
            lister = threading.Thread(target=self._list, name="listing", daemon=True)
            lister.start()
            coordinator = Coordinator(self._ledger, executor, self._settings, watcher=self, goes_on=True)
            coordinator.run(is_over=lambda: until_idle and self._is_idle(), stop=self._stop)
            self._lister_stop.set()
            lister.join()
        self._is_idle()
        while self._has_news or self._optimizing is not None:
            self._put_index_in_order(wait=True)

    def on_job_planned(self, job: Job) -> None:
        """Say so."""
        log.info("%s: %.1f s to index", job.uri, job.duration_s)

    def on_job_ended(self, job: Job) -> None:
        """Say how."""
        if job.state == "done":
            log.info("%s: indexed, %d objects", job.uri, job.num_objects)
        else:
            log.warning("%s: %s. %s", job.uri, job.state, job.error)

    def _put_index_in_order(self, *, wait: bool = False) -> None:
        """Compact the index, build its indexes and tidy up once a batch has brought something in.

        That takes a process of its own, and listing goes on beside it.
        """
        if self._has_news and self._optimizing is None:
            self._has_news = False
            self._optimizing = optimize_in_background(
                self._settings.index_location, s3_storage_options(self._settings)
            )
        if self._optimizing is not None and (wait or not self._optimizing.is_running):
            under_way, self._optimizing = self._optimizing, None
            try:
                under_way.wait()
                remove_committed_results(open_index(self._settings), self._settings, self._ledger)
            except StoreError as error:  # searches are slower until the next batch has ended
                log.warning("The index is not in order: %s", error)

    def _list(self) -> None:
        """List batches as they come, the most urgent first."""
        while not (self._stop.is_set() or self._lister_stop.is_set()):
            try:
                waiting = [batch for batch in self._iterate_open() if not batch.has_listing_ended]
                for batch in sorted(waiting, key=lambda batch: (-batch.priority, batch.batch_id)):
                    self._list_one(batch)
                self._put_index_in_order()
            except StoreError as error:
                log.warning("No listing now: %s", error)
            self._lister_stop.wait(LOOK_S)

    def _list_one(self, batch: Batch) -> None:
        """List a batch. Where it does not work now it is listed again later; the others have their turn."""
        num_tries, not_before_s = self._relist.get(batch.batch_id, (0, 0.0))
        if time.monotonic() < not_before_s:
            return
        try:
            index = open_index(thaw_options(batch.options, self._settings), create=True)
            s3 = make_s3_options(self._settings)
            deleted = list_batch(batch, ledger=self._ledger, index=index, s3=s3)
        except (TubeletError, OSError) as error:
            wait_s = choose_wait_s(num_tries + 1, self._settings.retry_base_s, random.Random())
            self._relist[batch.batch_id] = (num_tries + 1, time.monotonic() + wait_s)
            log.warning("Batch %s is not listed yet: %s", batch.batch_id, error)
        else:
            self._relist.pop(batch.batch_id, None)
            if deleted:
                log.warning("Batch %s: %d indexed sources are no longer there", batch.batch_id, len(deleted))

    def _is_idle(self) -> bool:
        return next(self._iterate_open(), None) is None

    def _iterate_open(self) -> Iterator[Batch]:
        """Batches that are to be worked on, the newest first; what has ended is not asked for again."""
        before = ""
        while page := self._ledger.list_batches(limit=PAGE, before=before):
            before = page[-1].batch_id
            for batch in page:
                if batch.batch_id in self._ended:
                    continue
                counts = self._ledger.count_items(batch.batch_id)
                state = name_state(batch, counts)
                if state in ENDED:
                    self._ended.add(batch.batch_id)
                    self._has_news |= counts.done > 0
                elif state != "paused":
                    yield batch
