"""The tracking stage on decoded films: cuts, caps and single frames, from pictures to tubelets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.model.tracking.film_factory import Thing, straight
from tests.model.tracking.sam2.colour_network import ColourNetwork
from tests.model.tracking.sam2.plain_film import BLUE, GREEN, RED, film_plainly
from tubelet.model.frame import Image
from tubelet.model.tracking.base import Tracker
from tubelet.model.tracking.motion import MotionTracker
from tubelet.model.tracking.sam2.settings import TrackerSettings
from tubelet.model.tracking.sam2.tracker import Sam2Tracker
from tubelet.records import Source, Tracklet, Video
from tubelet.workers.chunk import plan_chunks
from tubelet.workers.chunk_result import ChunkResult
from tubelet.workers.frames import Frames
from tubelet.workers.join import join_tracklets
from tubelet.workers.probe import probe_video
from tubelet.workers.track import track_chunk
from tubelet.workers.video_writer import VideoWriter

FPS = 6.0


def track(
    path: Path, pictures: Sequence[Image], tracker: Tracker, *, chunk_s: float = 60.0
) -> tuple[Video, list[ChunkResult]]:
    """Write the pictures as a video, read it back, and track it in chunks."""
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, width=width, height=height, frame_rate=FPS, quality=10) as writer:
        for picture in pictures:
            writer.write(picture)
    video = probe_video(path, Source(str(path), "blake2b:film", path.stat().st_size), timeout_s=60)
    chunks = plan_chunks(video, chunk_s=chunk_s, margin_s=1.5)
    with Frames(path, video, sample_fps=FPS, frame_size_px=320, timeout_s=60) as frames:
        return video, [track_chunk(frames, video, chunk, tracker)[0] for chunk in chunks]


def give_looks(result: ChunkResult) -> ChunkResult:
    """The same with every tracklet looking alike."""
    tracklets = tuple(
        Tracklet(item.tracklet_id, item.chunk_index, item.observations, (1.0, 0.0))
        for item in result.tracklets
    )
    return replace(result, tracklets=tracklets)


@pytest.mark.parametrize("chunk_s", [60.0, 3.0, 2.6])
def test_no_tubelet_crosses_a_cut(chunk_s: float, tmp_path: Path) -> None:
    """The same red thing on the same path before another ground: two objects, however alike."""
    thing = Thing(RED, (60, 40), straight((40, 60), (20, 0)))
    before = film_plainly([thing], 4.0, ground=60)
    after = film_plainly([Thing(RED, (60, 40), straight((120, 60), (20, 0)))], 4.0, ground=150)
    pictures = [frame.image for frame in (*before.frames, *after.frames)]
    tracker = Sam2Tracker(ColourNetwork(128), settings=TrackerSettings(key_every_s=1.0))
    video, results = track(tmp_path / "film.mp4", pictures, tracker, chunk_s=chunk_s)
    (cut,) = {cut for result in results for cut in result.cuts}
    assert cut == pytest.approx(4.0, abs=0.01)
    first, second = join_tracklets(video, map(give_looks, results), rejoin_s=10.0)
    assert (first.start_s, second.end_s) == pytest.approx((0.0, 8.0 - 1 / FPS), abs=0.01)
    assert first.end_s == pytest.approx(4.0 - 1 / FPS, abs=0.01)
    assert second.start_s == pytest.approx(4.0, abs=0.01)


@pytest.mark.parametrize(
    "tracker",
    [
        MotionTracker(max_num_objects=1),
        Sam2Tracker(ColourNetwork(128), settings=TrackerSettings(max_num_objects=1)),
    ],
    ids=["motion", "sam2"],
)
def test_the_chunk_says_that_objects_were_left_out(tracker: Tracker, tmp_path: Path) -> None:
    film = film_plainly(
        [
            Thing(RED, (60, 40), straight((40, 60), (30, 0))),
            Thing(BLUE, (50, 40), straight((280, 130), (-30, 0))),
            Thing(GREEN, (30, 30), straight((160, 20), (0, 30))),
        ],
        3.0,
    )
    _, (result,) = track(tmp_path / "film.mp4", [frame.image for frame in film.frames], tracker)
    (warning,) = result.warnings
    assert "more objects than the 1 that are followed" in warning
    assert result.tracklets


@pytest.mark.parametrize(
    "tracker", [MotionTracker(), Sam2Tracker(ColourNetwork(128))], ids=["motion", "sam2"]
)
@pytest.mark.parametrize("num_frames", [1, 2])
def test_chunks_of_a_frame_or_two_pass(tracker: Tracker, num_frames: int, tmp_path: Path) -> None:
    film = film_plainly([Thing(RED, (60, 40), lambda _: (100, 100))], num_frames / FPS)
    video, results = track(tmp_path / "film.mp4", [np.asarray(frame.image) for frame in film.frames], tracker)
    assert [result.num_frames for result in results] == [num_frames]
    assert results[0].warnings == results[0].cuts == ()
    assert len(join_tracklets(video, results, rejoin_s=10.0)) <= 1
