"""The motion tracker on films with known truth, and on input that is not a film at all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from tests.model.tracking.film_factory import Film, Thing, collect, measure_ious, straight
from tubelet.errors import SettingsError, VideoFormatError
from tubelet.model.frame import Frame
from tubelet.model.tracking.base import TrackedFrame
from tubelet.model.tracking.motion import MotionTracker

RED, BLUE, GREEN, WHITE = (190, 30, 30), (30, 50, 200), (30, 160, 40), (240, 240, 240)


def track(film: Film, tracker: MotionTracker | None = None) -> list[TrackedFrame]:
    return list((tracker or MotionTracker()).track(film.frames, film.context()))


def assert_one_object(result: list[TrackedFrame], film: Film, thing: int, iou: float) -> int:
    """One object number covers the thing wherever it can be seen, with that mean IoU at least."""
    ious = measure_ious(result, film, thing)
    assert len(ious) == 1, {number: len(values) for number, values in ious.items()}
    number, values = ious.popitem()
    assert number >= 0
    assert np.mean(values) >= iou
    return number


def make_frame(image: np.ndarray, time_s: float) -> Frame:
    return Frame(time_s, image, image.shape[1], image.shape[0])


@pytest.mark.parametrize("fps", [2.0, 6.0, 15.0, 30.0])
def test_one_mover_is_one_object_at_any_rate(fps: float) -> None:
    film = Film([Thing(RED, (40, 24), straight((-20, 90), (60, 0)))], 7.0, fps)
    result = track(film)
    assert_one_object(result, film, 0, 0.8)
    assert len(collect(result)) == 1


def test_every_frame_comes_back_once_in_order() -> None:
    film = Film([Thing(RED, (40, 24), straight((-20, 90), (60, 0)))], 4.0)
    assert [item.frame for item in track(film)] == film.frames


def test_boxes_are_source_pixels_around_the_mask() -> None:
    film = Film([Thing(RED, (40, 24), straight((40, 90), (60, 0)))], 3.0)
    for observation in collect(track(film))[0]:
        centre_x = 40 + 60 * observation.time_s
        assert observation.box.centre == pytest.approx((2 * centre_x, 180), abs=6)
        assert observation.box.width == pytest.approx(80, abs=10)
        assert 0 <= observation.score <= 1


def test_same_film_gives_same_objects() -> None:
    film = Film(
        [
            Thing(RED, (40, 24), straight((-20, 60), (60, 0))),
            Thing(BLUE, (30, 30), straight((300, 90), (-50, 5))),
        ],
        5.0,
    )
    tracker = MotionTracker()
    assert collect(track(film, tracker)) == collect(track(film, tracker)) != {}


def test_look_ahead_is_bounded() -> None:
    film = Film([Thing(RED, (40, 24), straight((-20, 90), (60, 0)))], 6.0, fps=10.0)
    num_read = 0

    def read() -> Iterator[Frame]:
        nonlocal num_read
        for frame in film.frames:
            num_read += 1
            yield frame

    for num_given, _ in enumerate(MotionTracker().track(read(), film.context())):
        assert num_read - num_given <= 12


def test_two_that_cross_keep_their_numbers() -> None:
    film = Film(
        [
            Thing(RED, (44, 30), straight((-22, 85), (50, 0))),
            Thing(BLUE, (44, 30), straight((342, 97), (-50, 0)), seed=2),
        ],
        7.2,
    )
    result = track(film)
    first = assert_one_object(result, film, 0, 0.65)
    second = assert_one_object(result, film, 1, 0.65)
    assert first != second
    assert len(collect(result)) == 2


def test_two_that_meet_stay_and_part_share_the_blob() -> None:
    def meet(start: float, sign: float):  # type: ignore[no-untyped-def]
        def place(time_s: float) -> tuple[float, float]:
            gone = min(time_s, 2.0) if time_s < 5 else 2.0 - (time_s - 5)
            return start + sign * 50 * gone, 90.0

        return place

    film = Film(
        [Thing(RED, (40, 50), meet(40, 1), seed=3), Thing(BLUE, (40, 50), meet(279, -1), seed=4)], 7.0
    )
    result = track(film)
    touching = [covers for covers in film.truth if (covers[0] | covers[1]).any(axis=0)[140:180].all()]
    assert len(touching) > 12
    first = assert_one_object(result, film, 0, 0.8)
    second = assert_one_object(result, film, 1, 0.8)
    assert first != second
    assert len(collect(result)) == 2


def test_short_occlusion_keeps_the_number_and_leaves_a_gap() -> None:
    post = Thing((120, 120, 120), (50, 180), lambda time_s: (160.0, 90.0), seed=9)
    walker = Thing(RED, (30, 40), straight((-15, 90), (60, 0)))
    film = Film([walker, post], 6.0)
    result = track(film)
    objects = collect(result)
    assert len(objects) == 1
    assert_one_object(result, film, 0, 0.7)
    times = [observation.time_s for observation in objects[0]]
    assert max(b - a for a, b in pairwise(times)) > 1.5 / film.fps


def test_who_stands_still_for_long_is_still_seen() -> None:
    def visit(time_s: float) -> tuple[float, float] | None:
        if not 5 <= time_s < 37:
            return None
        return (160.0, 260.0 - 60 * min(time_s - 5, 2.5) - 60 * max(0.0, time_s - 34))

    film = Film([Thing(WHITE, (40, 80), visit)], 60.0, fps=3.0)
    result = track(film)
    assert_one_object(result, film, 0, 0.8)
    assert len(collect(result)) == 1
    middle = [frame for frame in film.frames if 15 <= frame.time_s < 25]
    seen = collect(MotionTracker().track(middle, film.context()))
    assert [len(observations) for observations in seen.values()] == [len(middle)]


def test_light_that_changes_makes_no_objects() -> None:
    film = Film(
        [Thing(RED, (40, 24), straight((-20, 90), (50, 0)))],
        8.0,
        light=lambda time_s: 0.55 if 3 <= time_s < 5 else 1.0 - 0.03 * time_s,
    )
    result = track(film)
    assert len(collect(result)) == 1
    assert_one_object(result, film, 0, 0.7)


def test_soft_shadow_is_no_object() -> None:
    film = Film([], 6.0)
    ys, xs = np.mgrid[0:180, 0:320]
    frames = []
    for frame in film.frames:
        distance = ((xs - 50 * frame.time_s) / 60) ** 2 + ((ys - 90) / 50) ** 2
        shade = 1 - 0.45 * np.exp(-distance)
        frames.append(Frame(frame.time_s, (frame.image * shade[..., None]).astype(np.uint8), 640, 360))
    assert collect(MotionTracker().track(frames, film.context())) == {}


def test_jitter_makes_no_objects_and_is_reported() -> None:
    film = Film(
        [Thing(RED, (40, 24), straight((-20, 90), (50, 0)))],
        8.0,
        shift=lambda time_s: (3, -2) if int(time_s * 2) % 3 == 0 else (0, 0),
    )
    result = track(film)
    assert len(collect(result)) == 1
    steps = [item.camera.matrix for item in result]
    assert any(
        matrix[2] == pytest.approx(-6, abs=1) and matrix[5] == pytest.approx(4, abs=1) for matrix in steps
    )
    assert any(matrix == (1, 0, 0, 0, 1, 0) for matrix in steps)


def test_pan_is_measured_and_a_mover_is_found_in_it() -> None:
    film = Film(
        [Thing(RED, (70, 50), straight((300, 90), (-60, 0)))],
        4.0,
        fps=10.0,
        shift=lambda time_s: (round(40 * time_s), 0),
    )
    result = track(film)
    for item in result[1:]:
        assert item.camera.matrix[2] == pytest.approx(-8, abs=1.5)
    objects = collect(result)
    assert 1 <= len(objects) <= 3
    centres = {frame.time_s: (2 * (300 - 60 * frame.time_s), 180.0) for frame in film.frames}
    found = {
        item.time_s
        for observations in objects.values()
        for item in observations
        if item.box.x0 < centres[item.time_s][0] < item.box.x1
    }
    assert len(found) >= 0.75 * len(film.frames)


def test_pan_over_plain_ground_is_measured() -> None:
    """Stripes along the way look the same from everywhere; what stands on them does not."""
    film = Film([], 4.0, shift=lambda time_s: (round(12 * time_s), 0), seed=4)
    stripes = np.linspace(60, 180, 45).repeat(4)[:, None, None]
    noise = np.random.default_rng(1)
    frames = []
    for frame in film.frames:
        picture = stripes + noise.normal(0, 2, frame.image.shape)
        picture[20:50] = frame.image[20:50]
        frames.append(Frame(frame.time_s, np.clip(picture, 0, 255).astype(np.uint8), 640, 360))
    moved = []
    for item in MotionTracker().track(frames, frames):
        a, b, c, *_ = item.camera.matrix
        moved.append(a * 320 + b * 70 + c - 320)
    assert np.median(moved) == pytest.approx(-4, abs=0.5)


def test_many_movers_are_capped_to_the_largest() -> None:
    things = [
        Thing(RED if i % 2 else BLUE, (12, 16), straight((15 + 24 * i, 10 + 80 * row), (0, 24)), seed=i)
        for i in range(10)
        for row in range(2)
    ]
    large = Thing(GREEN, (60, 40), straight((280, 0), (0, 40)))
    film = Film([*things, large], 4.0)
    everything = track(film)
    assert max(len(item.objects) for item in everything) == 21
    assert len(collect(everything)) == 21
    capped = track(film, MotionTracker(max_num_objects=8))
    assert max(len(item.objects) for item in capped) == 8
    assert [item.warnings for item in everything] == [()] * len(everything)
    (warning,) = [warning for item in capped for warning in item.warnings]
    assert "more objects than the 8 that are followed" in warning
    assert_one_object(capped, film, 20, 0.7)


@pytest.mark.parametrize(
    "picture", [np.zeros((90, 160, 3)), np.full((90, 160, 3), 255), np.full((90, 160, 3), 90)]
)
def test_blank_video_has_no_objects(picture: np.ndarray) -> None:
    frames = [make_frame(picture.astype(np.uint8), index / 6) for index in range(12)]
    assert collect(MotionTracker().track(frames, frames)) == {}
    assert collect(MotionTracker().track(frames, [])) == {}


def test_still_scene_has_no_objects() -> None:
    film = Film([], 5.0, noise=5.0)
    assert collect(track(film)) == {}
    assert collect(MotionTracker().track(film.frames, [])) == {}


def test_without_context_movers_are_found() -> None:
    film = Film([Thing(RED, (40, 24), straight((-20, 90), (50, 0), since_s=1.0))], 7.0)
    result = list(MotionTracker().track(film.frames, []))
    assert len(collect(result)) == 1
    assert_one_object(result, film, 0, 0.7)


def test_no_frames_and_one_frame() -> None:
    film = Film([Thing(RED, (40, 24), straight((160, 90), (0, 0)))], 2.0)
    assert list(MotionTracker().track([], film.context())) == []
    (only,) = MotionTracker().track(film.frames[:1], [])
    assert only.frame is film.frames[0]
    assert only.objects == ()
    assert only.camera.matrix == (1, 0, 0, 0, 1, 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 1), (3, 5), (17, 9)])
def test_tiny_pictures_pass(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    frames = [make_frame(random.integers(0, 255, (*shape, 3), np.uint8), index / 6) for index in range(8)]
    for context in (frames, []):
        result = list(MotionTracker().track(frames, context))
        assert [item.frame for item in result] == frames


def test_scene_cut_does_not_flood() -> None:
    first, second = Film([], 3.0, seed=1), Film([], 3.0, seed=2)
    frames = first.frames + [Frame(f.time_s + 3, f.image, 640, 360) for f in second.frames]
    for context in (frames[::2], []):
        assert len(collect(MotionTracker().track(frames, context))) <= 3


def test_changed_size_is_refused() -> None:
    frames = [
        make_frame(np.zeros((90, 160, 3), np.uint8), 0.0),
        make_frame(np.zeros((90, 120, 3), np.uint8), 0.2),
    ]
    with pytest.raises(VideoFormatError, match="120 x 90"):
        list(MotionTracker().track(frames, []))
    with pytest.raises(VideoFormatError, match="120 x 90"):
        list(MotionTracker().track(frames[:1], frames[1:]))


@pytest.mark.parametrize("setting", ["max_side_px", "max_num_objects", "num_context_frames", "confirm_s"])
def test_settings_out_of_range_are_refused(setting: str) -> None:
    with pytest.raises(SettingsError, match=setting):
        MotionTracker(**{setting: -1})
