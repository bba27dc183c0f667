"""The tracker `sam2` on films with known truth, before a network that understands them, and on bad input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model.tracking.film_factory import Thing, collect, straight
from tests.model.tracking.sam2.colour_network import ColourNetwork
from tests.model.tracking.sam2.factories import as_frames, make_clip, make_model
from tests.model.tracking.sam2.plain_film import (
    BLUE,
    GREEN,
    HEIGHT,
    RED,
    WHITE,
    WIDTH,
    PlainFilm,
    film_plainly,
)
from tubelet.errors import ModelError, SettingsError, VideoFormatError
from tubelet.model.frame import Frame
from tubelet.model.masks import Mask, decode_mask
from tubelet.model.tracking.base import TrackedFrame
from tubelet.model.tracking.sam2.detector import Detection
from tubelet.model.tracking.sam2.discovery import DiscoverySettings
from tubelet.model.tracking.sam2.network import DecodedMasks, ImageFeatures, TransformersNetwork
from tubelet.model.tracking.sam2.settings import TrackerSettings
from tubelet.model.tracking.sam2.tracker import Sam2Tracker, make_tracker
from tubelet.model.tracking.sam2.weights import save_model
from tubelet.model.tracking.shots import track_shots
from tubelet.records import Box

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


QUICK_TO_DROP = TrackerSettings(
    key_every_s=0.5, max_absent_s=1.0, discovery=DiscoverySettings(points_per_side=8)
)


def track(
    film: PlainFilm | Sequence[Frame], settings: TrackerSettings | None = None, **parts: object
) -> list[TrackedFrame]:
    frames = film.frames if isinstance(film, PlainFilm) else list(film)
    network = parts.pop("network", None) or ColourNetwork()
    tracker = Sam2Tracker(network, settings=settings, **parts)  # type: ignore[arg-type]
    return list(track_shots(tracker, frames, frames[:: max(1, len(frames) // 20)]))


def numbers_on(
    result: Sequence[TrackedFrame], truth: Sequence[Sequence[Mask]], thing: int
) -> list[int | None]:
    """The object on one thing in each frame in which it can be seen, None where there is none."""
    numbers: list[int | None] = []
    for tracked, covers in zip(result, truth, strict=True):
        cover = covers[thing]
        if cover.sum() < 200:
            continue
        found = None
        for item in tracked.objects:
            assert item.observation.mask is not None
            mask = decode_mask(item.observation.mask)
            if (mask & cover).sum() > 0.6 * (mask | cover).sum():
                found = item.number
        numbers.append(found)
    return numbers


def test_moving_and_still_things_keep_one_number_each() -> None:
    film = film_plainly(
        [
            Thing(RED, (40, 24), straight((-20, 60), (60, 0))),
            Thing(BLUE, (30, 30), straight((300, 120), (-50, 5))),
            Thing(GREEN, (30, 30), lambda _: (200, 160)),
        ],
        5.0,
    )
    result = track(film)
    assert [tracked.frame for tracked in result] == film.frames
    numbers = [numbers_on(result, film.truth, thing) for thing in range(3)]
    assert [len(set(found)) for found in numbers] == [1, 1, 1]
    assert {found[0] for found in numbers} == {0, 1, 2} == collect(result).keys()


def test_a_thing_behind_another_comes_back_under_its_number() -> None:
    wall = Thing(WHITE, (60, 180), lambda _: (160, 90))
    film = film_plainly([Thing(RED, (30, 24), straight((40, 60), (50, 0))), wall], 5.0)
    result = track(film)
    numbers = numbers_on(result, film.truth, 0)
    assert len(set(numbers)) == 1
    hidden = [index for index, covers in enumerate(film.truth) if not covers[0].any()]
    assert len(hidden) > 3
    assert all(item.number != numbers[0] for index in hidden for item in result[index].objects)


@pytest.mark.parametrize("motion_masks", [True, False])
def test_by_flow_what_moves_takes_its_mask_from_motion(motion_masks: bool) -> None:
    """The network says nothing useful: carried masks come late and drift, those of motion do not."""
    film = film_plainly([Thing(RED, (40, 24), straight((-20, 60), (60, 0)))], 5.0)
    settings = TrackerSettings(
        follow_by="flow", min_score=0.0, discovery=None, motion_masks=motion_masks, key_every_s=60
    )
    result = track(film, settings, network=TransformersNetwork(make_model()))
    overlaps = []
    for tracked, (cover,) in zip(result, film.truth, strict=True):
        masks = [decode_mask(item.observation.mask) for item in tracked.objects if item.observation.mask]
        if cover.any():
            ious = [float((mask & cover).sum() / (mask | cover).sum()) for mask in masks]
            overlaps.append(max(ious, default=0.0))
    assert (float(np.mean(overlaps)) > 0.9) is motion_masks


@pytest.mark.parametrize("motion_masks", [True, False])
def test_what_rests_through_a_whole_run_is_followed_where_motion_knows_it(motion_masks: bool) -> None:
    """A visitor stands still for all of the run; pictures of other minutes show the place without him."""

    def visit(time_s: float) -> tuple[float, float] | None:
        return (150, 90) if 3.0 <= time_s < 6.0 else None

    film = film_plainly([Thing(RED, (40, 40), visit)], 12.0)
    stay = [index for index, frame in enumerate(film.frames) if 3.0 <= frame.time_s < 6.0]
    settings = TrackerSettings(follow_by="flow", discovery=None, motion_masks=motion_masks)
    tracker = Sam2Tracker(TransformersNetwork(make_model()), settings=settings)
    result = list(tracker.track([film.frames[index] for index in stay], film.frames[::4]))
    numbers = numbers_on(result, [film.truth[index] for index in stay], 0)
    assert len(numbers) == len(stay)
    assert set(numbers) == ({0} if motion_masks else {None})


def test_what_motion_no_longer_sees_has_left() -> None:
    """The network believes that everything stays where it was last seen; the camera stands still."""

    def pass_by(time_s: float) -> tuple[float, float]:
        return (40 + 80 * time_s, 100) if time_s < 2.5 else (-400.0, 100.0)

    film = film_plainly([Thing(RED, (40, 40), pass_by)], 5.0)
    settings = TrackerSettings(follow_by="flow", min_score=0.0, discovery=None, motion_masks=True)
    result = track(film, settings, network=TransformersNetwork(make_model()))
    last_s = max(tracked.frame.time_s for tracked in result if tracked.objects)
    assert last_s == pytest.approx(2.5, abs=0.5)


def test_a_newcomer_is_noticed_between_key_frames() -> None:
    late = Thing(RED, (40, 24), straight((-20, 60), (80, 0), since_s=2.0))
    film = film_plainly([late, Thing(GREEN, (30, 30), lambda _: (200, 140))], 5.0)
    result = track(film, TrackerSettings(key_every_s=60))
    numbers = numbers_on(result, film.truth, 0)
    assert len({number for number in numbers if number is not None}) == 1
    assert numbers.count(None) <= 3
    assert set(numbers_on(result, film.truth, 1)) == {0}


def test_a_still_newcomer_is_noticed_at_the_next_key_frame() -> None:
    put_down = Thing(BLUE, (40, 40), lambda time_s: (100, 100) if time_s > 0.9 else None)
    film = film_plainly([put_down], 3.0)
    result = track(film, TrackerSettings(key_every_s=1.0))
    assert collect(result)[0][0].time_s <= 2.0
    assert len(collect(result)) == 1


def test_a_thing_that_is_gone_is_dropped_and_a_later_one_is_new() -> None:
    first = Thing(RED, (40, 24), lambda time_s: (80, 60) if time_s < 1 else None)
    later = Thing(RED, (40, 24), lambda time_s: (240, 120) if time_s > 3 else None)
    result = track(film_plainly([first, later], 5.0), QUICK_TO_DROP)
    assert sorted(collect(result)) == [0, 1]
    patient = replace(QUICK_TO_DROP, max_absent_s=3.0)
    returned = track(film_plainly([first, later], 5.0), patient)
    assert sorted(collect(returned)) == [0]


def test_nothing_is_followed_across_a_cut() -> None:
    before = film_plainly([Thing(RED, (60, 40), lambda _: (100, 100))], 2.0, ground=60)
    after = film_plainly([Thing(RED, (60, 40), lambda _: (100, 100))], 2.0, ground=110)
    frames = before.frames + [Frame(frame.time_s + 2.0, frame.image, WIDTH, HEIGHT) for frame in after.frames]
    objects = collect(track(frames))
    assert len(objects) == 2
    assert max(seen.time_s for seen in objects[0]) < 2.0 <= min(seen.time_s for seen in objects[1])
    assert [tracked.frame.time_s for tracked in track(frames) if tracked.begins_shot] == [2.0]


class DriftingNetwork(ColourNetwork):
    """Follows only the left 60 % of a thing, from the frame after the one it was shown it on."""

    def decode_masks(
        self,
        features: ImageFeatures,
        coarse_BCHW: Tensor,
        points_BP2: Tensor,
        labels_BP: Tensor,
        masks_B1hw: Tensor | None,
        *,
        multimask: bool,
    ) -> DecodedMasks:
        decoded = super().decode_masks(
            features, coarse_BCHW, points_BP2, labels_BP, masks_B1hw, multimask=multimask
        )
        if masks_B1hw is not None or labels_BP[0, 0] >= 0:
            return decoded
        logits_BKhw = decoded.logits_BKhw.clone()
        for logits_Khw in logits_BKhw:
            columns = (logits_Khw[0] > 0).any(0).nonzero().flatten()
            if len(columns):
                logits_Khw[:, :, int(columns[6 * len(columns) // 10]) + 1 :] = -20.0
        return replace(decoded, logits_BKhw=logits_BKhw)


def test_motion_sets_right_what_drifts() -> None:
    film = film_plainly([Thing(RED, (60, 40), straight((40, 80), (40, 0)))], 4.0)
    plain = TrackerSettings(key_every_s=0.5, discovery=None)
    corrected = replace(plain, reprompt_from_motion=True)

    def cover(settings: TrackerSettings) -> tuple[list[float], int]:
        """The share of the thing that is covered in key frames once it has moved, and how many objects."""
        result = track(film, settings, network=DriftingNetwork())
        shares = []
        for tracked, (truth,) in list(zip(result, film.truth, strict=True))[9::3]:
            masks = [decode_mask(item.observation.mask) for item in tracked.objects if item.observation.mask]
            shares.append(max(float((mask & truth).sum() / truth.sum()) for mask in masks))
        return shares, len(collect(result))

    shares, num_objects = cover(corrected)
    drifted, _ = cover(plain)
    assert num_objects == 1
    assert min(shares) > 0.9
    assert max(drifted) < 0.75


def test_what_agrees_with_motion_is_not_prompted_again() -> None:
    class Counting(ColourNetwork):
        num_memories = 0

        def encode_memory(self, features: ImageFeatures, masks_B1SS: Tensor) -> Tensor:
            self.num_memories += 1
            return super().encode_memory(features, masks_B1SS)

    film = film_plainly([Thing(RED, (60, 40), straight((40, 80), (40, 0)))], 3.0)
    counts = []
    for on, max_drifted_iou in ((False, 0.7), (True, 0.7), (True, 1.0)):
        network = Counting()
        settings = TrackerSettings(
            key_every_s=0.5, discovery=None, reprompt_from_motion=on, max_drifted_iou=max_drifted_iou
        )
        track(film, settings, network=network)
        counts.append(network.num_memories)
    assert counts[0] == counts[1] < counts[2]


def test_runs_that_begin_elsewhere_search_the_same_frames() -> None:
    """Key frames lie on the video's grid: in its margin a chunk's tracker learns what its neighbour knows."""
    searched: list[list[float]] = []

    class Noting:
        def detect(self, frame: Frame) -> list[Detection]:
            searched[-1].append(frame.time_s)
            return []

    film = film_plainly([], 7.0)
    for first in (0, 3, 10, 17):
        searched.append([])
        track(film.frames[first:], TrackerSettings(key_every_s=2.0, discovery=None), detector=Noting())
    whole = searched[0]
    assert whole == [0.0, 2.0, 4.0, 6.0]
    for times in searched[1:]:
        assert times[1:] == [time_s for time_s in whole if time_s > times[0]]


def test_masks_and_boxes_are_those_of_the_source_frame() -> None:
    film = film_plainly([Thing(RED, (60, 40), lambda _: (100, 100))], 1.0)
    frames = [Frame(frame.time_s, frame.image, 2 * WIDTH, 3 * HEIGHT) for frame in film.frames]
    for seen in collect(track(frames))[0]:
        assert seen.mask is not None
        assert (seen.mask.height, seen.mask.width) == (3 * HEIGHT, 2 * WIDTH)
        assert seen.box.centre == pytest.approx((200, 300), abs=8)
        assert (seen.box.width, seen.box.height) == pytest.approx((120, 120), abs=16)
        assert 0 < seen.score <= 1


def test_image_features_are_computed_once_a_frame() -> None:
    film = film_plainly([Thing(RED, (60, 40), lambda _: (100, 100))], 2.0)
    network = ColourNetwork()
    list(Sam2Tracker(network).track(film.frames, []))
    assert network.num_images == len(film.frames)


def test_two_hundred_small_things_are_capped_and_said_so() -> None:
    specks = [
        Thing(
            (20 + place, 30, 200 - place),
            (8, 8),
            lambda _, place=place: (8 + place % 20 * 16, 10 + place // 20 * 18),
        )
        for place in range(200)
    ]
    large = Thing(WHITE, (60, 40), lambda _: (160, 90))
    film = film_plainly([*specks, large], 0.5)
    result = track(
        film,
        TrackerSettings(
            max_num_objects=10, discovery=DiscoverySettings(points_per_side=40, max_num_masks=200)
        ),
    )
    assert len(collect(result)) <= 10
    assert set(numbers_on(result, film.truth, 200)) == {0}
    (warning,) = [warning for tracked in result for warning in tracked.warnings]
    assert "more objects than the 10 that are followed" in warning


def test_a_detector_brings_what_it_finds() -> None:
    class OneBox:
        def detect(self, frame: Frame) -> list[Detection]:
            return [Detection(Box(70, 80, 130, 120), 0.9)]

    film = film_plainly(
        [Thing(RED, (60, 40), lambda _: (100, 100)), Thing(BLUE, (60, 40), lambda _: (250, 60))], 1.0
    )
    result = track(film, TrackerSettings(discovery=None), detector=OneBox())
    assert set(numbers_on(result, film.truth, 0)) == {0}
    assert collect(result).keys() == {0}


@pytest.mark.parametrize("brightness", [0, 128, 255])
def test_a_blank_video_has_no_objects(brightness: int) -> None:
    frames = as_frames([np.full((HEIGHT, WIDTH, 3), brightness, np.uint8)] * 8)
    result = track(frames)
    assert len(result) == 8
    assert collect(result) == {}


def test_a_still_scene_keeps_its_objects() -> None:
    image = film_plainly([Thing(RED, (60, 40), lambda _: (100, 100))], 0.2).frames[0].image
    objects = collect(track(as_frames([image] * 30)))
    assert {number: len(seen) for number, seen in objects.items()} == {0: 30}
    assert len({seen.box for seen in objects[0]}) == 1


def test_an_object_that_leaves_at_once_is_seen_once() -> None:
    film = film_plainly([Thing(RED, (60, 40), lambda time_s: (100, 100) if time_s == 0 else None)], 2.0)
    objects = collect(track(film))
    assert {number: len(seen) for number, seen in objects.items()} == {0: 1}


def test_a_run_of_one_frame_and_of_none() -> None:
    film = film_plainly([Thing(RED, (60, 40), lambda _: (100, 100))], 0.17)
    assert len(film.frames) == 1
    assert len(collect(track(film))[0]) == 1
    assert track([]) == []


def test_another_frame_size_is_refused() -> None:
    frames = film_plainly([], 1.0).frames
    odd = Frame(1.0, np.full((90, 160, 3), 200, np.uint8), WIDTH, HEIGHT)
    with pytest.raises(VideoFormatError, match=r"1\.000 s is 160 x 90"):
        track([*frames, odd])


def test_features_that_are_not_numbers_are_an_error() -> None:
    model = make_model()
    with torch.no_grad():
        model.vision_encoder.neck.convs[0].bias.fill_(float("nan"))
    frames = as_frames(make_clip(2))
    with pytest.raises(ModelError, match="not finite"):
        list(Sam2Tracker(TransformersNetwork(model)).track(frames, []))


def test_random_weights_give_valid_observations_and_the_same_ones_again() -> None:
    tracker = Sam2Tracker(
        TransformersNetwork(make_model()),
        settings=TrackerSettings(
            key_every_s=0.5,
            discovery=DiscoverySettings(points_per_side=6, min_iou=0.3, min_stability=0.5),
            max_num_objects=5,
        ),
    )
    frames = as_frames(make_clip(12))
    first, again = (collect(tracker.track(frames, frames[::2])) for _ in range(2))
    assert first == again != {}
    for seen in (seen for observations in first.values() for seen in observations):
        assert 0 <= seen.box.x0 < seen.box.x1 <= 80
        assert 0 <= seen.box.y0 < seen.box.y1 <= 48


@pytest.mark.parametrize(
    "wrong",
    [{"max_num_objects": 0}, {"key_every_s": float("nan")}, {"max_batch": 0}, {"max_prompted_frames": 0}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        TrackerSettings(**wrong)  # type: ignore[arg-type]


def test_a_tracker_is_made_from_a_folder(tmp_path: Path) -> None:
    save_model(tmp_path / "own", make_model())
    tracker = make_tracker(tmp_path / "own", device="cpu")
    assert tracker.name.startswith("sam2-own@")
    assert tracker.num_context_frames > 0
    assert len(list(tracker.track(as_frames(make_clip(2)), []))) == 2
