"""What a training step sees is a function of its number, and prompts point where they should."""

from __future__ import annotations

import pickle
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.training.track.polygons import PolygonClips
from tubelet.errors import SettingsError
from tubelet.model.training.schedule import parse_settings
from tubelet.model.training.track.clips import LabelledClip
from tubelet.model.training.track.run import MixedBatches
from tubelet.model.training.track.samples import SampleSettings, TrackBatch, TrackBatches, crop_square

SIDE = 64


def make_settings(**values: object) -> SampleSettings:
    return parse_settings(SampleSettings, {"image_px": SIDE, "clips_per_batch": 3, **values})


def make_batches(**values: object) -> TrackBatches:
    return TrackBatches(PolygonClips(side=SIDE), make_settings(**values), seed=4)


def assert_same(first: TrackBatch, second: TrackBatch) -> None:
    for field in fields(TrackBatch):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if field.name == "groups":
            assert [group.kind for group in one] == [group.kind for group in other]
            for a, b in zip(one, other, strict=True):
                assert np.array_equal(a.rows, b.rows)
                assert np.array_equal(a.points_RP2, b.points_RP2)
        else:
            assert np.array_equal(one, other), field.name


@pytest.mark.parametrize("num_frames", [1, 4])
def test_batch_is_a_function_of_its_number(num_frames: int) -> None:
    batches = make_batches(num_frames=num_frames)
    later = [batches(number) for number in (5, 2)]
    again = pickle.loads(pickle.dumps(batches))
    assert_same(again(2), later[1])
    assert not np.array_equal(later[0].frames_ITSS3, later[1].frames_ITSS3)
    other = TrackBatches(batches.source, batches.settings, seed=5)
    assert not np.array_equal(other(2).frames_ITSS3, later[1].frames_ITSS3)


@settings(max_examples=12, deadline=None)
@given(number=st.integers(0, 10_000))
def test_prompts_point_at_their_object(number: int) -> None:
    batch = make_batches(prompts={"box": 1, "point": 1, "points": 1}, jitter=0.0, background_points=2)(number)
    rows = np.concatenate([group.rows for group in batch.groups])
    assert sorted(rows.tolist()) == list(range(len(batch.clip_B))), "each row is asked for once"
    assert rows.tolist() == sorted(rows.tolist()), "groups hold rows in order"
    for group in batch.groups:
        for row, points, labels in zip(group.rows, group.points_RP2, group.labels_RP, strict=True):
            mask = batch.first_masks_BSS[row]
            assert ((points >= 0) & (points <= SIDE)).all()
            if group.kind == "box":
                (x0, y0), (x1, y1) = points
                ys, xs = np.nonzero(mask)
                assert (x0, y0, x1, y1) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
                assert labels.tolist() == [2, 3]
            elif mask.any():
                on = [bool(mask[int(y), int(x)]) for x, y in points]
                assert on == [label == 1 for label in labels]
                assert len(on) == (1 if group.kind == "point" else 3)
            else:
                assert group.kind == "point", "only single points are put beside all objects"
                everything = batch.first_masks_BSS[batch.clip_B == batch.clip_B[row]].any(0)
                x, y = points[0].astype(int)
                assert not everything[y, x]


def test_targets_follow_the_object_and_are_empty_once_it_is_gone() -> None:
    labels = np.zeros((3, SIDE, SIDE), np.uint8)
    labels[0, 8:24, 8:24] = 7
    labels[1, 16:32, 8:24] = 7

    class OneClip:
        def get(self, number: int, num_frames: int) -> LabelledClip:
            return LabelledClip(np.zeros((3, SIDE, SIDE, 3), np.uint8), labels)

    settings_ = make_settings(num_frames=3, whole=1.0, prompts={"mask": 1.0}, clips_per_batch=1)
    batch = TrackBatches(OneClip(), settings_)(0)
    grid = SIDE // 4 * settings_.loss_scale
    targets = batch.targets_TBGG[:, 0]
    assert targets.shape == (3, grid, grid)
    for time in (0, 1):
        assert targets[time].mean() / 255 == pytest.approx((labels[time] > 0).mean(), abs=1e-3)
    assert not targets[2].any()
    assert (np.nonzero(targets[1])[0].mean() - np.nonzero(targets[0])[0].mean()) == pytest.approx(
        8 * grid / SIDE, abs=0.6
    )


def test_crops_keep_frames_and_labels_together_and_contain_an_object() -> None:
    clip = PolygonClips(side=96).get(3, 2)
    shown = np.stack([clip.labels_THW] * 3, axis=-1) * 60
    marked = LabelledClip(shown, clip.labels_THW)
    generator = np.random.default_rng(0)
    for _ in range(8):
        square = crop_square(marked, make_settings(whole=0.0, min_crop=0.3), generator)
        assert square.frames_THW3.shape == (2, SIDE, SIDE, 3)
        assert square.labels_THW[0].any()
        agrees = np.abs(square.frames_THW3[..., 0].astype(int) - 60 * square.labels_THW.astype(int)) < 30
        assert agrees.mean() > 0.95


def test_small_objects_are_not_asked_for() -> None:
    clips = make_batches(min_area_share=0.03, whole=1.0)
    batch = clips(1)
    areas = batch.first_masks_BSS.mean((1, 2))
    assert areas[areas > 0].min() >= 0.03


def test_pictures_are_mixed_in_by_their_share() -> None:
    mixed = MixedBatches(make_batches(num_frames=2), make_batches(num_frames=1), 0.4)
    lengths = [mixed(number).frames_ITSS3.shape[1] for number in range(40)]
    assert 8 <= lengths.count(1) <= 24
    assert mixed(7).frames_ITSS3.shape[1] == lengths[7]


def test_unknown_setting_is_refused() -> None:
    with pytest.raises(SettingsError, match="image_side"):
        make_settings(image_side=3)
