"""One unit of work, and how it is run: the same on every executor.

A chunk unit leaves a chunk result in the work store; a video unit joins, describes and commits a video
whose chunks are all there. Running a unit that is already done does nothing, so every rerun is a resume.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tubelet.errors import StoreError
from tubelet.index.masks import write_masks
from tubelet.index.store import IndexStore
from tubelet.orchestration.resources import (
    make_captioner,
    make_embedder,
    make_recogniser,
    make_tracker,
    open_index,
)
from tubelet.orchestration.work_store import WorkStore
from tubelet.records import CameraStep, Chunk, ModelNames, Tubelet, Video, View
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
from tubelet.workers.track import track_chunk


@dataclass(frozen=True, slots=True)
class Unit:
    """What to do: track one chunk, or finish a video of which `chunks` are all done.

    `path` is the local file of the video; finishing does not need it.
    """

    kind: Literal["chunk", "video"]
    video: Video
    chunks: tuple[Chunk, ...]
    path: str
    settings: Settings

    @property
    def unit_id(self) -> str:
        return self.chunks[0].chunk_id if self.kind == "chunk" else self.video.video_id

    @property
    def span_s(self) -> float:
        """Seconds of video that the unit answers for; finishing answers for none."""
        return self.chunks[0].end_s - self.chunks[0].start_s if self.kind == "chunk" else 0.0


@dataclass(frozen=True, slots=True)
class UnitReport:
    """What a unit did."""

    unit_id: str
    seconds: float
    num_objects: int = 0
    num_moments: int = 0
    warnings: tuple[str, ...] = ()
    resumed: bool = False


def run_unit(unit: Unit, report_second: Callable[[float], None] = lambda _: None) -> UnitReport:
    """Do a unit, or find that it is done. `report_second` hears how far into its span a chunk is."""
    started = time.monotonic()
    if unit.kind == "chunk":
        return _run_chunk(unit, started, report_second)
    return _run_video(unit, started)


def _run_chunk(unit: Unit, started: float, report_second: Callable[[float], None]) -> UnitReport:
    settings, chunk = unit.settings, unit.chunks[0]
    tracker = make_tracker(settings)
    path = WorkStore(settings.home).chunk_path(unit.video, chunk, settings.options_digest)
    with suppress(StoreError):
        if path.exists() and read_tracker_name(path) == tracker.name:
            return UnitReport(unit.unit_id, time.monotonic() - started, resumed=True)
    with _READER.borrow(unit) as frames:
        result, views = track_chunk(
            frames,
            unit.video,
            chunk,
            tracker,
            make_recogniser(settings),
            report_frame=lambda time_s: report_second(
                min(max(time_s - chunk.start_s, 0.0), chunk.end_s - chunk.start_s)
            ),
        )
    write_chunk_result(path, result, views)
    return UnitReport(unit.unit_id, time.monotonic() - started, num_objects=len(result.tracklets))


def _run_video(unit: Unit, started: float) -> UnitReport:
    _READER.close()
    settings = unit.settings
    work = WorkStore(settings.home)
    paths = [work.chunk_path(unit.video, chunk, settings.options_digest) for chunk in unit.chunks]
    gathered = _Gathered(paths)
    tubelets = join_tracklets(unit.video, gathered.read_in_order(), rejoin_s=settings.rejoin_s)
    captioner, embedder = make_captioner(settings), make_embedder(settings)
    recogniser = make_recogniser(settings)
    described = list(
        describe_tubelets(
            unit.video,
            tubelets,
            gathered.camera,
            gathered.views_of,
            captioner,
            embedder,
            recogniser,
            max_moment_s=settings.max_moment_s,
        )
    )
    # Masks come first: a video in sight has its masks.
    _keep_masks(settings.home, unit.video.video_id, gathered, tubelets, described)
    video = with_warnings(unit.video, gathered.warnings)
    models = ModelNames(
        gathered.tracker, captioner.name, embedder.name, recogniser.name if recogniser else ""
    )
    _commit(open_index(settings, create=True), video, described, models)
    return UnitReport(
        unit.unit_id,
        time.monotonic() - started,
        num_objects=len(described),
        num_moments=sum(len(item.moments) for item in described),
        warnings=video.warnings,
    )


def _commit(
    index: IndexStore, video: Video, described: Sequence[DescribedObject], models: ModelNames
) -> None:
    index.replace_video(
        video,
        [item.summary for item in described],
        [moment for item in described for moment in item.moments],
        models,
    )


def _keep_masks(
    home: Path,
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
    write_masks(home, video_id, gather_masks(gathered.read_again(), object_of))


class _Reader:
    """Keeps the last video open: opening scans the whole file, and the next chunk is often of the same."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._frames: Frames | None = None

    @contextmanager
    def borrow(self, unit: Unit) -> Iterator[Frames]:
        settings = unit.settings
        key = (unit.path, unit.video.identity, settings)
        if self._frames is None or key != self._key:
            self.close()
            self._frames = Frames(
                Path(unit.path),
                unit.video,
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
