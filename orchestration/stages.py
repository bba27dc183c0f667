"""What is done in a unit: the same on every executor.

A plan unit opens a source and cuts it into chunks; a chunk unit leaves a chunk result in the work store; a
video unit joins, describes and commits a video whose chunks are all there. Running a unit that is already
done costs nothing, so every rerun is a resume.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tubelet.errors import ObjectMissingError, StoreError, TransientError
from tubelet.index.store import IndexStore
from tubelet.model.frame import Frame
from tubelet.orchestration.ledger.records import NewUnit, UnitResult
from tubelet.orchestration.masks_store import write_masks
from tubelet.orchestration.resources import (
    make_captioner,
    make_embedder,
    make_recogniser,
    make_tracker,
    open_index,
)
from tubelet.orchestration.unit import Unit, cut_units, name_generation, name_unit
from tubelet.orchestration.watching.unit_watch import timed, timed_iteration
from tubelet.orchestration.work_store import WorkStore, open_copies
from tubelet.records import CameraStep, ModelNames, Tubelet, Video, View
from tubelet.settings import Settings
from tubelet.workers.chunk_result import (
    ChunkResult,
    read_chunk_result,
    read_tracker_name,
    read_views,
    write_chunk_result,
)
from tubelet.workers.describe import DescribedObject, describe_tubelets, with_warnings
from tubelet.workers.frames import Frames
from tubelet.workers.join import join_tracklets
from tubelet.workers.masks import gather_masks
from tubelet.workers.probe import probe_video
from tubelet.workers.track import track_chunk


class ResultsMissingError(StoreError):
    """Results of chunks that were done are gone from the work store; `unit_ids` are theirs."""

    def __init__(self, unit_ids: Sequence[str]) -> None:
        self.unit_ids = tuple(unit_ids)
        super().__init__(
            f"{len(self.unit_ids)} chunk results are no longer in the work store",
            expected="the result of every chunk that is done",
            do="leave the work store alone while a batch runs; the chunks are tracked again",
        )


@dataclass(frozen=True, slots=True)
class Done:
    """What a unit did, and the units that come after it."""

    result: UnitResult
    then: tuple[NewUnit, ...] = ()


def run_stage(
    unit: Unit,
    report_second: Callable[[float], None] = lambda _: None,
    confirm: Callable[[], None] = lambda: None,
) -> Done:
    """Do a unit, or find that it is done.

    `report_second` hears how far into its span a chunk is; `confirm` is asked just before a video is
    committed. What either raises ends the unit. Raises SourceError, StoreError or ModelError,
    ResultsMissingError for a video unit.
    """
    started = time.monotonic()
    if unit.kind == "plan":
        return _plan(unit, started)
    if unit.kind == "chunk":
        return _track(unit, started, report_second)
    return _finish(unit, started, confirm)


def _plan(unit: Unit, started: float) -> Done:
    with ExitStack() as copy:
        with timed("fetch"):
            path = copy.enter_context(open_copies(unit.settings).borrow(unit.source))
        with timed("open"):
            video = probe_video(path, unit.source, timeout_s=unit.settings.decode_timeout_s)
    units = cut_units(unit.job_id, video, unit.settings)
    return Done(UnitResult(time.monotonic() - started, duration_s=video.duration_s), tuple(units))


def forget_results(unit: Unit) -> None:
    """Remove the chunk results of a video that was committed, unless its options keep them."""
    if not unit.settings.keep_chunks:
        WorkStore(unit.settings).remove_video(unit.opened.video_id, unit.settings.options_digest)


def close_reader() -> None:
    """Stop the decoder that is kept for the next chunk, and let go of its video."""
    _READER.close()


def _track(unit: Unit, started: float, report_second: Callable[[float], None]) -> Done:
    settings, chunk, video = unit.settings, unit.chunks[0], unit.opened
    tracker = make_tracker(settings)
    work = WorkStore(settings)
    key = work.chunk_key(video.video_id, settings.options_digest, chunk.chunk_id)
    is_there = work.has_chunk(key)
    if is_there and _is_made_by(tracker.name, work, key):
        return Done(UnitResult(time.monotonic() - started, models=tracker.name, resumed=True))
    with _READER.borrow(unit) as frames, timed("track"):
        result, views = track_chunk(
            frames,
            video,
            chunk,
            tracker,
            make_recogniser(settings),
            shrink=settings.shrink,
            report_frame=lambda time_s: report_second(
                min(max(time_s - chunk.start_s, 0.0), chunk.end_s - chunk.start_s)
            ),
        )
    with timed("keep"):
        work.keep_chunk(key, lambda path: write_chunk_result(path, result, views), replace=is_there)
    return Done(
        UnitResult(
            time.monotonic() - started,
            num_objects=len(result.tracklets),
            num_frames=result.num_frames,
            models=tracker.name,
        )
    )


def _is_made_by(tracker: str, work: WorkStore, key: str) -> bool:
    """Whether a result can be read and is this tracker's; another version of it tracks the chunk again."""
    try:
        with work.borrow_chunk(key) as path:
            return read_tracker_name(path) == tracker
    except TransientError:
        raise
    except StoreError:
        return False


def _finish(unit: Unit, started: float, confirm: Callable[[], None]) -> Done:
    _READER.close()
    with ExitStack() as borrowed:
        with timed("fetch"):
            paths = _borrow_results(unit, borrowed)
        return _describe(unit, _Gathered(paths), started, confirm)


def _borrow_results(unit: Unit, borrowed: ExitStack) -> list[Path]:
    """Local files with the results of all chunks. Raises ResultsMissingError."""
    work = WorkStore(unit.settings)
    paths, missing = [], []
    for chunk in unit.chunks:
        key = work.chunk_key(unit.opened.video_id, unit.settings.options_digest, chunk.chunk_id)
        try:
            paths.append(borrowed.enter_context(work.borrow_chunk(key)))
        except ObjectMissingError:
            missing.append(name_unit("chunk", unit.job_id, chunk.index))
    if missing:
        raise ResultsMissingError(missing)
    return paths


def _describe(unit: Unit, gathered: _Gathered, started: float, confirm: Callable[[], None]) -> Done:
    settings, video = unit.settings, unit.opened
    with timed("join"):
        tubelets = join_tracklets(video, gathered.read_in_order(), rejoin_s=settings.rejoin_s)
    captioner, embedder = make_captioner(settings), make_embedder(settings)
    recogniser = make_recogniser(settings)
    with timed("describe"):
        described = list(
            describe_tubelets(
                video,
                tubelets,
                gathered.camera,
                gathered.views_of,
                captioner,
                embedder,
                recogniser,
                max_moment_s=settings.max_moment_s,
                shrink=settings.shrink,
            )
        )
    video = with_warnings(video, gathered.warnings)
    models = ModelNames(
        gathered.tracker, captioner.name, embedder.name, recogniser.name if recogniser else ""
    )
    confirm()
    with timed("commit"):  # masks come first: a video in sight has its masks
        _keep_masks(settings, video.video_id, gathered, tubelets, described)
        _commit(open_index(settings, create=True), unit, video, described, models)
    return Done(
        UnitResult(
            time.monotonic() - started,
            num_objects=len(described),
            num_moments=sum(len(item.moments) for item in described),
            warnings=video.warnings,
            models=json.dumps(asdict(models)),
        )
    )


def _commit(
    index: IndexStore, unit: Unit, video: Video, described: Sequence[DescribedObject], models: ModelNames
) -> None:
    index.replace_video(
        video,
        [item.summary for item in described],
        [moment for item in described for moment in item.moments],
        models,
        fence=unit.fence,
        generation=name_generation(unit.settings.options_digest, unit.fence),
    )


def _keep_masks(
    settings: Settings,
    video_id: str,
    gathered: _Gathered,
    tubelets: Sequence[Tubelet],
    described: Sequence[DescribedObject],
) -> None:
    shown = {item.summary.object_id for item in described}
    object_of = {
        tracklet_id: tubelet.object_id
        for tubelet in tubelets
        if tubelet.object_id in shown
        for tracklet_id in tubelet.tracklet_ids
    }
    write_masks(settings, video_id, gather_masks(gathered.read_again(), object_of))


class _TimedFrames(Frames):
    """Frames, the wait for which counts as reading."""

    def read(self, start_s: float, end_s: float) -> Iterator[Frame]:
        """Yield the samples with start_s <= time < end_s in order."""
        return timed_iteration("read", super().read(start_s, end_s))

    def glance(self, start_s: float, end_s: float, num: int) -> list[Frame]:
        """At most `num` frames spread over a window."""
        with timed("read"):
            return super().glance(start_s, end_s, num)


class _Reader:
    """Keeps the last video open: opening scans the whole file, and the next chunk is often of the same."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._frames: Frames | None = None
        self._copy = ExitStack()

    @contextmanager
    def borrow(self, unit: Unit) -> Iterator[Frames]:
        settings = unit.settings
        key = (unit.source, settings)
        if self._frames is None or key != self._key:
            self.close()
            with timed("fetch"):
                path = self._copy.enter_context(open_copies(settings).borrow(unit.source))
            with timed("open"):
                self._frames = _TimedFrames(
                    path,
                    unit.opened,
                    sample_fps=settings.sample_fps,
                    frame_size_px=settings.frame_size_px,
                    timeout_s=settings.decode_timeout_s,
                    decoder=settings.decoder,
                )
            self._key = key
        try:
            yield self._frames
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop the decoder; the next chunk opens its video again."""
        if self._frames is not None:
            self._frames.close()
        self._frames = None
        self._copy.close()


_READER = _Reader()


class _Gathered:
    """The chunk results of a video, read one after another; pictures only for the tubelet that asks."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._path_of: dict[str, Path] = {}
        self.camera: list[CameraStep] = []
        self.warnings: list[str] = []
        self.tracker = ""

    def read_in_order(self) -> Iterator[ChunkResult]:
        for path in self._paths:
            result = read_chunk_result(path)
            self.tracker = result.tracker
            self.warnings += result.warnings
            self.camera += [
                step for step in result.camera if result.chunk.start_s <= step.time_s < result.chunk.end_s
            ]
            self._path_of.update({tracklet.tracklet_id: path for tracklet in result.tracklets})
            yield result

    def read_again(self) -> Iterator[ChunkResult]:
        return map(read_chunk_result, self._paths)

    def views_of(self, tubelet: Tubelet) -> list[View]:
        views: list[View] = []
        for tracklet_id in tubelet.tracklet_ids:
            views += read_views(self._path_of[tracklet_id], [tracklet_id])[tracklet_id]
        return sorted(views, key=lambda view: view.time_s)
