"""The tracking stage: the frames of one chunk in, tracklets, their looks and pictures of them out."""

from __future__ import annotations

from collections.abc import Callable

from tubelet.model.frame import Frame
from tubelet.model.recognising.base import Recogniser
from tubelet.model.tracking.base import Tracker
from tubelet.model.tracking.shots import track_shots
from tubelet.records import Chunk, Observation, Tracklet, Video, View
from tubelet.workers.chunk_result import ChunkResult
from tubelet.workers.evidence import ViewCollector
from tubelet.workers.frames import Frames
from tubelet.workers.recognise import TRACKLET_VIEWS, recognise_views

CONTEXT_S = 600.0
"""Background is estimated over at least this much video around a chunk, or all of it."""

MIN_OBSERVATIONS = 2


def track_chunk(
    frames: Frames,
    video: Video,
    chunk: Chunk,
    tracker: Tracker,
    recogniser: Recogniser | None = None,
    *,
    shrink: int = 0,
    report_frame: Callable[[float], None] = lambda _: None,
) -> tuple[ChunkResult, list[list[View]]]:
    """Run `tracker` over a chunk. Returns the result and, for each of its tracklets, the views kept.

    Objects seen only once, or never inside the chunk's own window, are dropped: a neighbour has the latter.
    The tracklets' appearances are the vectors of `recogniser`, and empty without one. `shrink` halves how
    many objects it is shown at once, so many times.
    """
    context = _read_context(frames, video, chunk, tracker.num_context_frames)
    observations: dict[int, list[Observation]] = {}
    camera = []
    cuts: list[float] = []
    warnings: list[str] = []
    collector = ViewCollector(chunk)
    num_frames = 0
    for tracked in track_shots(tracker, frames.read(chunk.read_start_s, chunk.read_end_s), context):
        num_frames += 1
        camera.append(tracked.camera)
        warnings += tracked.warnings
        if tracked.begins_shot:
            cuts.append(tracked.frame.time_s)
        for item in tracked.objects:
            observations.setdefault(item.number, []).append(item.observation)
        collector.add(tracked)
        report_frame(tracked.frame.time_s)

    kept = [
        number
        for number, seen in sorted(observations.items())
        if len(seen) >= MIN_OBSERVATIONS
        and any(chunk.start_s <= observation.time_s < chunk.end_s for observation in seen)
    ]
    views = [collector.views_of(number) for number in kept]
    looks: list[tuple[float, ...]] = [()] * len(kept)
    if recogniser is not None:
        found = recognise_views(recogniser, views, max_views=TRACKLET_VIEWS, shrink=shrink)
        looks = [() if recognition is None else recognition.vector for recognition in found]
    tracklets = tuple(
        Tracklet(f"{chunk.chunk_id}-{place}", chunk.index, tuple(observations[number]), looks[place])
        for place, number in enumerate(kept)
    )
    result = ChunkResult(
        chunk=chunk,
        tracker=tracker.name,
        tracklets=tracklets,
        camera=tuple(camera),
        warnings=(*frames.warnings, *dict.fromkeys(warnings)),
        num_frames=num_frames,
        cuts=tuple(cuts),
    )
    return result, views


def _read_context(frames: Frames, video: Video, chunk: Chunk, count: int) -> list[Frame]:
    if count == 0:
        return []
    if video.duration_s <= CONTEXT_S:
        return frames.glance(0.0, video.duration_s, count)
    middle = (chunk.start_s + chunk.end_s) / 2
    start_s = min(max(0.0, middle - CONTEXT_S / 2), video.duration_s - CONTEXT_S)
    return frames.glance(start_s, start_s + CONTEXT_S, count)
