"""A batch from beginning to end in this process: list it, work on it, and report on every source.

One bad source never stops the others, and a run that failed anywhere says so in its report.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from queue import Empty, SimpleQueue
from typing import Protocol

from tubelet.errors import InputError, StoreError, TubeletError
from tubelet.orchestration.batches import MAX_PRIORITY, submit_batch
from tubelet.orchestration.coordinator import Coordinator
from tubelet.orchestration.executors import open_executor
from tubelet.orchestration.failures import choose_retry_s
from tubelet.orchestration.keeping import remove_committed_results
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Batch, Item, ItemState, Job, NewItem
from tubelet.orchestration.listing import list_batch
from tubelet.orchestration.masks_store import list_videos_with_masks, remove_masks
from tubelet.orchestration.resources import make_s3_options, open_index
from tubelet.records import IndexReport, VideoReport
from tubelet.settings import Settings

RUN_NAME = "tubelet index"
"""The name of batches that are worked on at once by the process that made them."""

PROGRESS_S = 0.5
"""How often progress is measured: that reads all units of the batch."""

ENDED: tuple[ItemState, ...] = ("done", "failed", "cancelled")


class Observer(Protocol):
    """Hears how a run gets on. Calls come from the thread that runs the batch."""

    def on_source_found(self, uri: str) -> None:
        """A source was found."""

    def on_video_planned(self, uri: str, duration_s: float) -> None:
        """A video was opened and will be worked on."""

    def on_progress(self, done_s: float) -> None:
        """So many seconds of video are tracked, over all videos of the run."""

    def on_video_ended(self, report: VideoReport) -> None:
        """A source is indexed, skipped or failed."""


class SilentObserver:
    """Hears and says nothing."""

    def on_source_found(self, uri: str) -> None:
        """Say nothing."""

    def on_video_planned(self, uri: str, duration_s: float) -> None:
        """Say nothing."""

    def on_progress(self, done_s: float) -> None:
        """Say nothing."""

    def on_video_ended(self, report: VideoReport) -> None:
        """Say nothing."""


def index_sources(
    addresses: Sequence[str], *, settings: Settings, observer: Observer | None = None
) -> IndexReport:
    """Index every video that `addresses` name: files, folders, globs, `s3://` objects and prefixes.

    Raises InputError when nothing was asked for, StoreError when the home is in use. What goes wrong with
    one source is in the report.
    """
    if not addresses:
        raise InputError("No source was given", expected="a path, glob or s3:// address", do="name one")
    with (
        closing(open_ledger(settings.ledger_location)) as ledger,
        open_executor(settings, ledger) as executor,
    ):
        broken_off = _find_broken_off(addresses, ledger)
        batch = submit_batch(
            addresses, settings=settings, ledger=ledger, name=RUN_NAME, priority=MAX_PRIORITY
        )
        run = _Run(batch, broken_off, settings, ledger, observer or SilentObserver())
        return run.work(Coordinator(ledger, executor, settings, batch_id=batch.batch_id, watcher=run))


def _find_broken_off(addresses: Sequence[str], ledger: Ledger) -> list[str]:
    """Earlier runs over the same addresses that never ended. This one takes over what they left."""
    return [
        batch.batch_id
        for batch in ledger.list_batches(limit=20)
        if (batch.name, batch.addresses) == (RUN_NAME, tuple(addresses))
        and batch.control != "cancelled"
        and not is_ended(batch, ledger)
    ]


def is_ended(batch: Batch, ledger: Ledger) -> bool:
    """Whether nothing of a batch is left to be done."""
    return batch.has_listing_ended and ledger.count_items(batch.batch_id).waiting == 0


class _Run:
    """One batch, listed by a thread of its own while its first videos are worked on already."""

    def __init__(
        self, batch: Batch, broken_off: Sequence[str], settings: Settings, ledger: Ledger, observer: Observer
    ) -> None:
        self._batch = batch
        self._broken_off = broken_off
        self._settings = settings
        self._ledger = ledger
        self._observer = observer
        self._index = open_index(settings, create=True)
        self._heard: SimpleQueue[NewItem] = SimpleQueue()
        self._reports: dict[str, VideoReport] = {}
        self._measured_s = 0.0
        self._found: set[str] = set()
        self._listing_failure: TubeletError | OSError | None = None
        self._deleted: tuple[str, ...] = ()

    def work(self, coordinator: Coordinator) -> IndexReport:
        lister = threading.Thread(target=self._list, name=f"listing {self._batch.batch_id}", daemon=True)
        lister.start()
        coordinator.run(is_over=self._is_over)
        lister.join()
        self._tell_found()
        self._tell_progress()
        self._report_rest()
        failure = self._get_batch().listing_error
        if failure:
            raise StoreError(f"Not every source could be listed: {failure}", do="run the same command again")
        if any(report.state == "indexed" for report in self._reports.values()):
            self._index.optimize()
            self._drop_masks_of_gone_videos()
        remove_committed_results(self._index, self._settings, self._ledger)
        return IndexReport(tuple(self._reports.values()), self._deleted)

    def on_job_planned(self, job: Job) -> None:
        """Pass it on."""
        self._observer.on_video_planned(job.uri, job.duration_s)

    def on_job_ended(self, job: Job) -> None:
        """Report on its video."""
        self._report(_make_report(job, job.error))

    def _list(self) -> None:
        try:
            self._list_patiently()
        except (TubeletError, OSError) as error:  # raised again by the thread that waits for the listing
            self._listing_failure = error

    def _list_patiently(self) -> None:
        """List all sources, and try again what may pass."""
        for attempt in count(1):
            wait_s = choose_retry_s(
                attempt, self._settings.max_attempts, self._settings.retry_base_s, random.Random()
            )
            try:
                self._deleted = list_batch(
                    self._batch,
                    ledger=self._ledger,
                    index=self._index,
                    s3=make_s3_options(self._settings),
                    hear=self._heard.put,
                    is_last=wait_s is None,
                )
                break
            except (TubeletError, OSError):
                if wait_s is None:
                    raise
                time.sleep(wait_s)
        for batch_id in self._broken_off:  # jobs that this batch asks for too go on
            self._ledger.set_control(batch_id, "cancelled")

    def _is_over(self) -> bool:
        if self._listing_failure is not None:
            raise self._listing_failure
        self._tell_found()
        if time.monotonic() - self._measured_s >= PROGRESS_S:
            self._tell_progress()
        return is_ended(self._get_batch(), self._ledger)

    def _get_batch(self) -> Batch:
        batch = self._ledger.get_batch(self._batch.batch_id)
        assert batch is not None, "a batch under way is not deleted"
        return batch

    def _tell_found(self) -> None:
        """Pass on what the listing found."""
        while True:
            try:
                item = self._heard.get_nowait()
            except Empty:
                break
            if item.uri in self._found:  # listed again
                continue
            self._found.add(item.uri)
            self._observer.on_source_found(item.uri)
            if item.state != "waiting":
                self._report(VideoReport(item.uri, item.state, reason=item.reason))

    def _tell_progress(self) -> None:
        """Pass on how far the chunks are."""
        self._measured_s = time.monotonic()
        stages = self._ledger.measure_stages(self._batch.batch_id)
        self._observer.on_progress(stages["chunk"].span_done_s if "chunk" in stages else 0.0)

    def _report_rest(self) -> None:
        """Report on the videos that other processes ended, unheard here."""
        after = ""
        while page := self._ledger.list_items(self._batch.batch_id, states=ENDED, after=after):
            after = page[-1].uri
            for item in page:
                if item.uri not in self._reports:
                    self._report(_make_report(item, item.reason))

    def _report(self, report: VideoReport) -> None:
        self._reports[report.uri] = report
        self._observer.on_video_ended(report)

    def _drop_masks_of_gone_videos(self) -> None:
        """What lay at an address before is another video, and leaves the index when its successor comes."""
        kept = list_videos_with_masks(self._settings)
        for video_id in set(kept) - self._index.find_complete(kept):
            remove_masks(self._settings, video_id)


def _make_report(ended: Job | Item, reason: str) -> VideoReport:
    """What became of a video that was worked on."""
    is_done = ended.state == "done"
    return VideoReport(
        ended.uri,
        "indexed" if is_done else "failed",
        ended.video_id,
        ended.duration_s,
        ended.num_objects,
        ended.num_moments,
        ended.warnings,
        reason or ("" if is_done else ended.state),
    )
