"""The way of a batch: plan each source, hand its chunks to the executor, finish each video, keep the books.

One bad source never stops the others, and a run that failed anywhere says so in its report.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Protocol

from tubelet.errors import InputError, SourceError, TubeletError
from tubelet.index.masks import list_videos_with_masks, remove_masks, remove_unfinished_masks
from tubelet.index.store import IndexStore
from tubelet.model.registry import TRACKERS
from tubelet.orchestration.executor import Executor, Outcome
from tubelet.orchestration.ledger import Ledger, SqliteLedger, State, UnitEntry, VideoEntry
from tubelet.orchestration.local import LocalExecutor
from tubelet.orchestration.plan import PlannedVideo, find_reason_to_skip, plan_video
from tubelet.orchestration.resources import make_s3_options, open_index
from tubelet.orchestration.unit import Unit, UnitReport
from tubelet.orchestration.work_store import WorkStore
from tubelet.records import IndexReport, Source, VideoReport
from tubelet.settings import Settings
from tubelet.workers.source import SourceFailure, expand_sources, localise

log = logging.getLogger(__name__)


class Observer(Protocol):
    """Hears how a run gets on. Calls come from the thread that runs the batch."""

    def on_source_found(self, uri: str) -> None:
        """A source is about to be opened."""

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


@dataclass(slots=True)
class _OpenVideo:
    """A video under way: chunks not yet done, and the local copy that lives until it ends."""

    plan: PlannedVideo
    resources: ExitStack
    waiting: list[Unit]
    running: int = 0
    error: Exception | None = None


def index_sources(
    addresses: Sequence[str], *, settings: Settings, observer: Observer | None = None
) -> IndexReport:
    """Index every video that `addresses` name: files, folders, globs, `s3://` objects and prefixes.

    Raises InputError when nothing was asked for, StoreError when the home is in use. What goes wrong with
    one source is in the report.
    """
    if not addresses:
        raise InputError("No source was given", expected="a path, glob or s3:// address", do="name one")
    TRACKERS.check(settings.tracker_name)  # a wrong name ends the run before it begins
    work = WorkStore(settings.home)
    with work.claim(), LocalExecutor(settings.num_workers, max_attempts=settings.max_attempts) as executor:
        remove_unfinished_masks(settings.home)
        batch = _Batch(settings, executor, SqliteLedger(settings.home / "ledger.sqlite"), work, observer)
        return batch.run(addresses)


class _Batch:
    """One run over many sources. Few videos are open at a time, so a long list needs no more memory."""

    def __init__(
        self,
        settings: Settings,
        executor: Executor,
        ledger: Ledger,
        work: WorkStore,
        observer: Observer | None,
    ) -> None:
        self._settings = settings
        self._executor = executor
        self._ledger = ledger
        self._work = work
        self._observer = observer or SilentObserver()
        self._index: IndexStore = open_index(settings, create=True)
        self._s3 = make_s3_options(settings)
        self._open: dict[str, _OpenVideo] = {}
        self._reports: list[VideoReport] = []
        self._in_flight = 0
        self._done_s = 0.0

    def run(self, addresses: Iterable[str]) -> IndexReport:
        try:
            self._work_through(addresses)
        finally:
            self._close_all()
        if any(report.state == "indexed" for report in self._reports):
            self._index.optimize()
            self._drop_masks_of_gone_videos()
        return IndexReport(tuple(self._reports))

    def _drop_masks_of_gone_videos(self) -> None:
        """What lay at an address before is another video, and leaves the index when its successor comes."""
        kept = list_videos_with_masks(self._settings.home)
        for video_id in set(kept) - self._index.find_complete(kept):
            remove_masks(self._settings.home, video_id)

    def _work_through(self, addresses: Iterable[str]) -> None:
        with closing(self._plan(addresses)) as planned:
            exhausted = False
            while not exhausted or self._open:
                while not exhausted and not self._has_enough_units():
                    exhausted = next(planned, None) is None
                self._submit_waiting()
                for outcome in self._executor.wait(timeout_s=0.2):
                    self._settle(outcome)
                self._observer.on_progress(self._done_s + self._executor.seconds_under_way())

    def _has_enough_units(self) -> bool:
        return self._in_flight + sum(len(item.waiting) for item in self._open.values()) >= (
            self._executor.capacity
        )

    def _plan(self, addresses: Iterable[str]) -> Generator[str]:
        """Open the next source at each step, yielding its URI."""
        for found in expand_sources(addresses, s3=self._s3):
            if isinstance(found, SourceFailure):
                self._report(VideoReport(found.uri, "failed", reason=str(found.error)))
                yield found.uri
                continue
            self._observer.on_source_found(found.uri)
            reason = find_reason_to_skip(
                found, settings=self._settings, ledger=self._ledger, index=self._index
            )
            if reason is None and (twin := self._find_open_twin(found)):
                reason = f"the same content is being indexed as {twin}"
            if reason is not None:
                self._report(VideoReport(found.uri, "skipped", reason=reason))
            else:
                self._open_source(found)
            yield found.uri

    def _find_open_twin(self, source: Source) -> str | None:
        for item in self._open.values():
            if item.plan.video.identity == source.identity:
                return item.plan.video.uri
        return None

    def _open_source(self, source: Source) -> None:
        resources = ExitStack()
        try:
            path = resources.enter_context(localise(source, self._work.downloads, s3=self._s3))
            plan = plan_video(source, path, self._settings)
        except SourceError as error:
            resources.close()
            self._report(VideoReport(source.uri, "failed", reason=str(error)))
            return
        except BaseException:
            resources.close()
            raise
        video = plan.video
        units = [Unit("chunk", video, (chunk,), str(path), self._settings) for chunk in plan.chunks]
        self._open[video.video_id] = _OpenVideo(plan, resources, units)
        self._observer.on_video_planned(video.uri, video.duration_s)
        self._note_video(plan, "planned")

    def _submit_waiting(self) -> None:
        for item in self._open.values():
            while item.waiting and self._in_flight < self._executor.capacity:
                self._executor.submit(item.waiting.pop(0))
                item.running += 1
                self._in_flight += 1

    def _settle(self, outcome: Outcome) -> None:
        """Take a unit's end into the books, and move its video on."""
        unit = outcome.unit
        item = self._open[unit.video.video_id]
        item.running -= 1
        self._in_flight -= 1
        self._done_s += unit.span_s
        error = outcome.error
        self._ledger.put_unit(
            UnitEntry(
                unit.unit_id,
                unit.video.video_id,
                outcome.attempts,
                "failed" if error else "done",
                outcome.report.seconds if outcome.report else 0.0,
                str(error) if error else "",
            )
        )
        if error is not None:
            if not isinstance(error, TubeletError):
                log.error("Unit %s of %s failed", unit.unit_id, unit.video.uri, exc_info=error)
            item.error = item.error or error
            self._done_s += sum(waiting.span_s for waiting in item.waiting)
            item.waiting.clear()
        if item.waiting or item.running:
            return
        if item.error is not None:
            self._end_video(item, None)
        elif unit.kind == "chunk":
            item.waiting.append(Unit("video", unit.video, item.plan.chunks, unit.path, self._settings))
        else:
            self._end_video(item, outcome.report)

    def _end_video(self, item: _OpenVideo, report: UnitReport | None) -> None:
        video = item.plan.video
        del self._open[video.video_id]
        item.resources.close()
        if report is None:
            reason = _describe_error(item.error)
            self._note_video(item.plan, "failed", error=reason)
            self._report(VideoReport(video.uri, "failed", video.video_id, video.duration_s, reason=reason))
            return
        self._note_video(item.plan, "done", num_objects=report.num_objects)
        if not self._settings.keep_chunks:
            self._work.remove_video(video.video_id)
        self._report(
            VideoReport(
                video.uri,
                "indexed",
                video.video_id,
                video.duration_s,
                report.num_objects,
                report.num_moments,
                report.warnings,
            )
        )

    def _note_video(self, plan: PlannedVideo, state: State, *, num_objects: int = 0, error: str = "") -> None:
        video = plan.video
        self._ledger.put_video(
            VideoEntry(
                video.video_id,
                video.uri,
                self._settings.options_digest,
                state,
                len(plan.chunks),
                num_objects,
                error,
            )
        )

    def _report(self, report: VideoReport) -> None:
        self._reports.append(report)
        self._observer.on_video_ended(report)

    def _close_all(self) -> None:
        for item in self._open.values():
            item.resources.close()
        self._open.clear()


def _describe_error(error: Exception | None) -> str:
    assert error is not None
    if isinstance(error, TubeletError):
        return str(error)
    return f"{type(error).__name__}: {error}. This is a fault in Tubelet: please report it"
