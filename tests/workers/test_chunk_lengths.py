"""The same tubelets whatever the chunk length: real trackers on decoded clips, in 1, 4 and 10 chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.model.tracking.film_factory import Thing, straight
from tests.model.tracking.sam2.colour_network import ColourNetwork
from tests.model.tracking.sam2.plain_film import BLUE, GREEN, RED, WHITE, film_plainly
from tubelet.api.demo_scene import VEHICLES, render_scene, true_boxes
from tubelet.model.tracking.base import Tracker
from tubelet.model.tracking.measures import measure_tracking
from tubelet.model.tracking.motion import MotionTracker
from tubelet.model.tracking.sam2.discovery import DiscoverySettings
from tubelet.model.tracking.sam2.settings import TrackerSettings
from tubelet.model.tracking.sam2.tracker import Sam2Tracker
from tubelet.model.training.world import ClipSpec, render_clip
from tubelet.records import Box, Source, Tubelet, Video
from tubelet.workers.chunk import plan_chunks
from tubelet.workers.frames import Frames
from tubelet.workers.join import join_tracklets
from tubelet.workers.probe import probe_video
from tubelet.workers.track import track_chunk
from tubelet.workers.video_writer import VideoWriter

FPS = 6.0
DURATION_S = 8.0
Truth = list[dict[int, Box]]


@contextmanager
def opened(path: Path) -> Iterator[tuple[Frames, Video]]:
    video = probe_video(path, Source(str(path), f"blake2b:{path.name}", path.stat().st_size), timeout_s=60)
    with Frames(path, video, sample_fps=FPS, frame_size_px=320, timeout_s=60) as frames:
        yield frames, video


def track_in_chunks(
    frames: Frames, video: Video, num_chunks: int, tracker: Tracker, *, margin_s: float
) -> list[Tubelet]:
    chunks = plan_chunks(video, chunk_s=video.duration_s / num_chunks + 1e-6, margin_s=margin_s)
    assert len(chunks) == num_chunks
    results = [track_chunk(frames, video, chunk, tracker)[0] for chunk in chunks]
    return join_tracklets(video, results, rejoin_s=10.0)


def compare_paths(first: Tubelet, second: Tubelet) -> float:
    """Mean IoU over the times of either; a time that only one has counts 0."""
    theirs = {seen.time_s: seen.box for seen in second.observations}
    mine = {seen.time_s: seen.box for seen in first.observations}
    times = mine.keys() | theirs.keys()
    return sum(mine[t].iou(theirs[t]) for t in mine.keys() & theirs.keys()) / len(times)


def sight(tubelets: Sequence[Tubelet], times_s: Sequence[float]) -> Truth:
    """Boxes frame by frame, as the measures take them."""
    place = {round(time_s, 3): index for index, time_s in enumerate(times_s)}
    frames: Truth = [{} for _ in times_s]
    for number, tubelet in enumerate(tubelets):
        for seen in tubelet.observations:
            frames[place[round(seen.time_s, 3)]][number] = seen.box
    return frames


def write_film(path: Path, pictures: Sequence[np.ndarray]) -> None:
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, width=width, height=height, frame_rate=FPS, quality=10) as writer:
        for picture in pictures:
            writer.write(picture)


def film_junction(path: Path, times_s: Sequence[float]) -> Truth:
    """Vehicles that turn and cross, one after the other."""
    render_scene(path, duration_s=DURATION_S)
    numbers = {vehicle.name: number for number, vehicle in enumerate(VEHICLES)}
    return [{numbers[vehicle.name]: box for vehicle, box in true_boxes(time_s)} for time_s in times_s]


def film_street(path: Path, times_s: Sequence[float]) -> Truth:
    """A street of the rendered world, from above: two cars all the time, a third for two seconds."""
    spec = ClipSpec(num_frames=len(times_s), frame_rate=FPS, theme="traffic", max_objects=5, degrade=False)
    clip = render_clip(2, spec)
    assert not clip.camera.moving
    write_film(path, clip.frames_THWC)
    return [
        {item.number: box for item in clip.objects if (box := clip.find_box(frame, item.number)) is not None}
        for frame in range(len(times_s))
    ]


def film_things(path: Path, times_s: Sequence[float]) -> Truth:
    """Plain things: one stands still, one passes behind a wall, two cross, one is there for a while."""
    film = film_plainly(
        [
            Thing(GREEN, (30, 30), lambda _: (40, 150)),
            Thing(RED, (40, 24), straight((-20, 40), (34, 0))),
            Thing(BLUE, (30, 30), straight((300, 100), (-28, 1))),
            Thing((200, 180, 30), (26, 26), straight((20, 118), (26, -2))),
            Thing((150, 40, 160), (30, 22), lambda t: (250, 150 - 14 * (t - 4)) if 4 < t < 7 else None),
            Thing(WHITE, (50, 60), lambda _: (160, 40)),
        ],
        len(times_s) / FPS,
    )
    write_film(path, [frame.image for frame in film.frames])
    truth: Truth = []
    for covers in film.truth:
        truth.append({})
        for number, cover in enumerate(covers):
            rows, columns = np.flatnonzero(cover.any(1)), np.flatnonzero(cover.any(0))
            if cover.sum() > 100:
                truth[-1][number] = Box(*map(float, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)))
    return truth


def make_motion() -> Tracker:
    return MotionTracker(num_context_frames=20)


def make_sam2() -> Tracker:
    settings = TrackerSettings(key_every_s=0.5, discovery=DiscoverySettings(points_per_side=8))
    return Sam2Tracker(ColourNetwork(128), settings=settings)


@pytest.mark.parametrize(
    ("make_film", "make_tracker", "least_iou"),
    [
        (film_junction, make_motion, 0.9),
        (film_street, make_motion, 0.9),
        (film_things, make_sam2, 0.9),
    ],
    ids=["motion-junction", "motion-street", "sam2-things"],
)
def test_tubelets_are_the_same_in_1_4_and_10_chunks(
    make_film: Callable[[Path, Sequence[float]], Truth],
    make_tracker: Callable[[], Tracker],
    least_iou: float,
    tmp_path: Path,
) -> None:
    path = tmp_path / "film.mp4"
    times_s = [index / FPS for index in range(round(DURATION_S * FPS))]
    truth = make_film(path, times_s)
    with opened(path) as (frames, video):
        sampled_s = [frame.time_s for frame in frames.read(0.0, DURATION_S)]
        whole, *parts = (
            track_in_chunks(frames, video, num, make_tracker(), margin_s=1.25) for num in (1, 4, 10)
        )
    assert whole
    for tubelets in parts:
        assert any(len(tubelet.tracklet_ids) > 1 for tubelet in tubelets), "nothing was joined"
        assert [tubelet.object_id for tubelet in tubelets] == [tubelet.object_id for tubelet in whole]
        for tubelet, same in zip(tubelets, whole, strict=True):
            assert compare_paths(tubelet, same) > least_iou
        assert measure_tracking(sight(whole, sampled_s), sight(tubelets, sampled_s)).num_switches == 0
        assert measure_tracking(truth, sight(tubelets, sampled_s)).num_switches == 0
