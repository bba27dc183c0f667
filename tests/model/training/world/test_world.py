"""The rendered world: the same again by seed, and truth that agrees with the pixels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
import pytest

from tubelet.errors import InputError
from tubelet.model.describing.colour import name_colours
from tubelet.model.training.world import (
    CATEGORIES,
    COLOURS,
    ClipSpec,
    ObjectTruth,
    RenderedClip,
    render_clip,
    render_image,
)
from tubelet.model.training.world.camera import ELEVATION_BANDS, FOV_BANDS, MAX_TILT_DEG, VIEWS
from tubelet.model.training.world.degrade import recode
from tubelet.model.trajectory.motion import name_turn

SHORT = ClipSpec(num_frames=12, frame_rate=4.0, width=160, height=90)
SEEDS = range(14)
TURNING = ClipSpec(num_frames=16, frame_rate=4.0, width=96, height=54, theme="traffic", degrade=False)
TURNS = (4, 14, 15, 18, 62)
"""Seeds of clips with a fixed camera in which something turns left or right in full view."""


@lru_cache
def clips() -> tuple[RenderedClip, ...]:
    return tuple(render_clip(seed, SHORT) for seed in SEEDS)


@lru_cache
def images() -> tuple[RenderedClip, ...]:
    spec = ClipSpec(width=320, height=180, degrade=False)
    return tuple(render_image(seed, spec) for seed in range(40))


@pytest.mark.parametrize("encode", [0.0, 1.0])
def test_a_seed_gives_the_same_clip_again(encode: float) -> None:
    spec = replace(SHORT, num_frames=4, encode=encode)
    first, second = render_clip(7, spec), render_clip(7, spec)
    assert np.array_equal(first.frames_THWC, second.frames_THWC)
    assert np.array_equal(first.labels_THW, second.labels_THW)
    assert np.array_equal(first.visible_TO, second.visible_TO)
    assert (first.objects, first.relations, first.camera) == (second.objects, second.relations, second.camera)


def test_other_seeds_and_the_other_split_give_other_scenes() -> None:
    spec = replace(SHORT, num_frames=1)
    seen = {render_clip(seed, spec).frames_THWC.tobytes() for seed in range(4)}
    seen |= {render_clip(seed, replace(spec, split="held-out")).frames_THWC.tobytes() for seed in range(4)}
    assert len(seen) == 8


def test_another_size_shows_the_same_geometry() -> None:
    large = render_clip(3, replace(SHORT, num_frames=3, width=480, height=270))
    small = render_clip(3, replace(SHORT, num_frames=3))
    assert [item.category for item in large.objects] == [item.category for item in small.objects]
    for big, little in zip(large.labels_THW, small.labels_THW, strict=True):
        shrunk = cv2.resize(big, (160, 90), interpolation=cv2.INTER_NEAREST)
        assert (shrunk == little).mean() > 0.98


def test_arrays_have_the_shapes_and_numbers_of_the_contract() -> None:
    for clip in clips():
        count = len(clip.objects)
        assert clip.frames_THWC.shape == (12, 90, 160, 3)
        assert clip.frames_THWC.dtype == clip.labels_THW.dtype == np.uint8
        assert clip.visible_TO.shape == (12, count)
        assert clip.visible_TO.dtype == np.float32
        assert [item.number for item in clip.objects] == list(range(1, count + 1))
        assert set(np.unique(clip.labels_THW)) <= set(range(count + 1))
        assert len(clip.times_s) == len(clip.camera.poses) == 12
        assert all(pose.z > 0 for pose in clip.camera.poses)


def test_shares_say_when_an_object_is_seen() -> None:
    for clip in clips():
        for item in clip.objects:
            shares = clip.visible_TO[:, item.number - 1]
            pixels = (clip.labels_THW == item.number).sum(axis=(1, 2))
            assert shares.min() >= 0
            assert shares.max() <= 1
            assert not pixels[shares == 0].any()
            seen = np.flatnonzero(shares > 0)
            assert item.start_s == clip.times_s[seen[0]]
            assert item.end_s == clip.times_s[seen[-1]]


def test_an_object_that_leaves_or_hides_has_a_smaller_share() -> None:
    partly = 0
    for clip in clips():
        for item in clip.objects:
            shares = clip.visible_TO[:, item.number - 1]
            sizes = (clip.labels_THW == item.number).sum(axis=(1, 2))
            partly += int(((shares > 0) & (shares < 0.9) & (sizes > 0)).any())
    assert partly > 5


def test_phases_cover_the_visible_life_without_gaps() -> None:
    for clip in clips():
        for item in clip.objects:
            assert item.actions[0].start_s == item.start_s
            assert item.actions[-1].end_s == item.end_s
            assert all(a.end_s == b.start_s for a, b in pairwise(item.actions))
            assert all(a.action != b.action for a, b in pairwise(item.actions))
            assert item.turn == name_turn(item.turn_deg)


@pytest.mark.parametrize("seed", TURNS)
def test_a_left_turn_is_counter_clockwise_on_screen(seed: int) -> None:
    """The sign of the bend of the path of the object's middle, where the camera stands still."""
    clip = render_clip(seed, TURNING)
    turns = [
        (item.turn, bend) for item in clip.objects for bend in [_measure_bend(clip, item)] if abs(bend) > 0.3
    ]
    assert not clip.camera.moving
    assert [turn for turn, _ in turns if turn in ("left", "right")]
    for turn, bend in turns:
        assert turn in ("none", "u") or (bend > 0) == (turn == "left")


def _measure_bend(clip: RenderedClip, item: ObjectTruth) -> float:
    """Sine of the angle between the two halves of its path, counter-clockwise on screen; 0 when unknown."""
    shares = clip.visible_TO[:, item.number - 1]
    boxes = [clip.find_box(frame, item.number) for frame in np.flatnonzero(shares > 0.98).tolist()]
    path = np.array([box.centre for box in boxes if box is not None])
    if abs(item.turn_deg) > 100 or len(path) < 6:
        return 0.0
    a, b = path[len(path) // 2] - path[0], path[-1] - path[len(path) // 2]
    return float(-(a[0] * b[1] - a[1] * b[0]) / max(np.hypot(*a) * np.hypot(*b), 1e-6))


def test_objects_face_where_they_go_as_the_camera_sees_it() -> None:
    """What faces right moves right on the screen of a camera that stands, what faces away moves up."""
    spec = ClipSpec(num_frames=6, frame_rate=3.0, width=160, height=90, theme="traffic", degrade=False)
    checked = 0
    for seed in range(40):
        clip = render_clip(seed, spec)
        if clip.camera.moving or clip.camera.view not in ("overhead", "high"):
            continue
        assert clip.facing_TO.shape == clip.visible_TO.shape
        for place, truth in enumerate(clip.objects):
            ends = clip.find_box(2, truth.number), clip.find_box(3, truth.number)
            if clip.visible_TO[2:4, place].min() < 1 or ends[0] is None or ends[1] is None:
                continue
            (x0, y0), (x1, y1) = (((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) for box in ends)
            if np.hypot(x1 - x0, y1 - y0) < 4:
                continue
            apart = clip.facing_TO[2:4, place].mean() - np.arctan2(y0 - y1, x1 - x0)
            assert np.cos(apart) > 0.7  # the camera looks down at a slant, which flattens
            checked += 1
    assert checked > 10


def test_all_categories_and_colours_come_up() -> None:
    spec = ClipSpec(num_frames=1, width=64, height=36, max_objects=8, degrade=False)
    objects = [item for seed in range(90) for item in render_image(seed, spec).objects]
    assert {item.category for item in objects} == set(CATEGORIES)
    assert {item.colours[0] for item in objects} == set(COLOURS)
    assert all(1 <= len(item.colours) <= 2 for item in objects)
    people = [item for item in objects if item.category == "person"]
    assert all({"top", "trousers", "carries"} <= set(item.attributes) for item in people)


def test_measured_colours_agree_with_the_names() -> None:
    """Nearly always for strong colours; light ones look grey, brown or green in shade more often."""
    agree = Counter[bool]()
    total = Counter[bool]()
    for clip in images():
        for item in clip.objects:
            mask = clip.labels_THW[0] == item.number
            if mask.sum() < 300 or clip.visible_TO[0, item.number - 1] < 0.7:
                continue
            box = clip.find_box(0, item.number)
            assert box is not None
            x0, y0, x1, y1 = (int(value) for value in box)
            crop = np.s_[max(0, y0 - 12) : y1 + 12, max(0, x0 - 12) : x1 + 12]
            names, _ = name_colours(clip.frames_THWC[0][crop], mask[crop])
            is_light = item.colours[0] in ("white", "beige", "orange", "yellow", "pink")
            total[is_light] += 1
            agree[is_light] += item.colours[0] in names
    assert min(total[False], total[True]) > 10
    assert agree[False] / total[False] > 0.9
    assert agree[True] / total[True] > 0.5


def test_splits_never_share_a_pose() -> None:
    for view in VIEWS:
        for low, high in ELEVATION_BANDS["held-out"][view]:
            for others in ELEVATION_BANDS["train"].values():
                for start, end in others:
                    assert high + 2 * MAX_TILT_DEG < start or end + 2 * MAX_TILT_DEG < low
    for low, high in FOV_BANDS["held-out"]:
        assert all(high < start or end < low for start, end in FOV_BANDS["train"])
    poses = [render_image(seed, replace(SHORT, split="held-out")).camera.poses[0] for seed in range(12)]
    low, high = FOV_BANDS["held-out"][0]
    assert all(low <= pose.fov_deg <= high for pose in poses)


def test_fixed_cameras_stand_still_and_others_move() -> None:
    kinds = set()
    for clip in clips():
        kinds.add(clip.camera.moving)
        assert clip.camera.moving == (len(set(clip.camera.poses)) > 1)
    assert kinds == {True, False}


def test_relations_name_objects_in_view() -> None:
    kinds = Counter[str]()
    for seed in range(24):
        clip = render_clip(
            seed, ClipSpec(num_frames=12, frame_rate=3.0, width=96, height=54, theme="traffic")
        )
        numbers = {item.number for item in clip.objects}
        pairs = {(item.kind, item.subject, item.object) for item in clip.relations}
        for item in clip.relations:
            kinds[item.kind] += 1
            assert item.subject != item.object
            assert {item.subject, item.object} <= numbers
            assert item.start_s <= item.end_s
            if item.kind == "behind":
                assert ("in-front-of", item.object, item.subject) in pairs
    assert {"follows", "overtakes", "next-to", "behind", "crosses-path-of"} <= set(kinds)


def test_a_long_clip_has_entries_and_exits() -> None:
    spec = ClipSpec(num_frames=60, frame_rate=1.0, width=64, height=36, theme="traffic", max_objects=4)
    clip = render_clip(1, spec)
    assert len(clip.objects) > 4
    assert any(item.start_s > 20 for item in clip.objects)
    assert any(item.end_s < 40 for item in clip.objects)


def test_degrading_leaves_labels_alone() -> None:
    rough, clean = (render_clip(5, replace(SHORT, num_frames=2, degrade=wanted)) for wanted in (True, False))
    assert np.array_equal(rough.labels_THW, clean.labels_THW)
    assert not np.array_equal(rough.frames_THWC, clean.frames_THWC)


def test_recoding_keeps_every_frame_and_loses_detail() -> None:
    frames = clips()[0].frames_THWC[:4, :89, :159]
    decoded = recode(np.ascontiguousarray(frames), 4.0, 34)
    assert decoded.shape == frames.shape
    difference = np.abs(decoded.astype(int) - frames).mean()
    assert 0 < difference < 20


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_frames", 0),
        ("width", 8),
        ("max_objects", 0),
        ("encode", 1.5),
        ("theme", "moon"),
        ("split", "test"),
    ],
)
def test_a_spec_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        replace(ClipSpec(), **{name: value})  # type: ignore[arg-type]
