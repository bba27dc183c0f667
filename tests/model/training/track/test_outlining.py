"""An outliner learns from pictures what belongs to the things that masks mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model.tracking.sam2.factories import make_model
from tests.model.training.track.polygons import PolygonClips
from tubelet.errors import InputError
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.tracking.sam2.outlining import CELLS, read_outliner
from tubelet.model.training.track.clips import LabelledClip
from tubelet.model.training.track.outlining import (
    OutlinerSettings,
    fit_outliner,
    gather_crops,
    measure_loss,
    train_outliner,
    vary,
)

SETTINGS = OutlinerSettings(
    seed=3, num_pictures=60, steps=100, batch=8, widths=(16, 16, 16), learning_rate=1e-2
)
SOURCE = PolygonClips(side=64)


class BrightThings:
    """One bright rectangle on dark ground in each picture: what belongs to it is plain to see."""

    def get(self, number: int, num_frames: int) -> LabelledClip:
        generator = np.random.default_rng(number)
        frames = generator.integers(30, 60, (num_frames, 64, 64, 3)).astype(np.uint8)
        labels = np.zeros((num_frames, 64, 64), np.uint8)
        top, left, high, wide = generator.integers((8, 8, 12, 12), (28, 28, 28, 28))
        labels[:, top : top + high, left : left + wide] = 1
        frames[labels > 0] = frames[labels > 0] + 150
        return LabelledClip(frames, labels)


class Nothing:
    """Pictures without objects."""

    def get(self, number: int, num_frames: int) -> LabelledClip:
        return LabelledClip(
            np.full((num_frames, 48, 64, 3), 90, np.uint8), np.zeros((num_frames, 48, 64), np.uint8)
        )


class NothingAtFirst(Nothing):
    """Pictures without objects before number 30,000,058, polygons from there."""

    def get(self, number: int, num_frames: int) -> LabelledClip:
        source = super() if number < 3 * 10_000_019 + 1 else SOURCE
        return source.get(number, num_frames)


@pytest.fixture(scope="module")
def network() -> TransformersNetwork:
    return TransformersNetwork(make_model())


def test_crops_are_gathered_alike_whatever_comes_before(network: TransformersNetwork) -> None:
    together = gather_crops(network, SOURCE, SETTINGS, range(4))
    alone = gather_crops(network, SOURCE, SETTINGS, [3])
    count = len(alone.target_Bnn)
    assert count > 0
    for first, second in zip(together.crops, alone.crops, strict=True):
        assert torch.equal(first[-count:], second)
    assert torch.equal(together.target_Bnn[-count:], alone.target_Bnn)


def test_each_object_gives_masks_that_lie_on_it_and_pictures_without_any_give_none(
    network: TransformersNetwork,
) -> None:
    gathered = gather_crops(network, SOURCE, SETTINGS, range(6))
    numbers = [np.unique(SOURCE.get(30_000_057 + number, 1).labels_THW) for number in range(6)]
    num_objects = sum(map(len, numbers)) - 6
    assert num_objects <= len(gathered.target_Bnn) <= SETTINGS.num_each * num_objects
    crops, target_Bnn = gathered.unpack(list(range(len(gathered.target_Bnn))))
    masks_Bnn, true_Bnn = crops.mask[:, 0] > 0, target_Bnn >= 0.5
    shared_B, area_B, union_B = (
        cells.flatten(1).sum(1) for cells in (masks_Bnn & true_Bnn, masks_Bnn, masks_Bnn | true_Bnn)
    )
    lies_B = (shared_B >= 0.2 * union_B) | (shared_B >= 0.7 * area_B)
    assert lies_B.float().mean() > 0.95
    assert torch.all(crops.picture * (crops.inside == 0) == 0), "beyond the edge there is nothing"

    some = gather_crops(network, NothingAtFirst(), SETTINGS, range(3))
    assert torch.equal(some.target_Bnn, gather_crops(network, SOURCE, SETTINGS, [1, 2]).target_Bnn)


def test_nothing_but_empty_pictures_is_told(network: TransformersNetwork, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has an object"):
        train_outliner(network, Nothing(), SETTINGS.model_copy(update={"num_pictures": 2}), tmp_path)


def test_other_light_changes_the_picture_and_a_mirror_changes_all(network: TransformersNetwork) -> None:
    gathered = gather_crops(network, SOURCE, SETTINGS, range(2))
    crops, target_Bnn = gathered.unpack([0, 1, 2])
    torch.manual_seed(0)
    mirrored = set()
    for _ in range(12):
        varied, varied_target = vary(crops, target_Bnn)
        is_mirrored = not torch.equal(varied.mask, crops.mask)
        mirrored.add(is_mirrored)
        for before, after in ((crops.mask, varied.mask), (crops.middle, varied.middle)):
            assert torch.equal(before.flip(-1) if is_mirrored else before, after)
        assert torch.equal(target_Bnn.flip(-1) if is_mirrored else target_Bnn, varied_target)
        assert not torch.allclose(varied.picture, crops.picture.flip(-1) if is_mirrored else crops.picture)
        assert torch.all(varied.picture * (varied.inside == 0) == 0)
    assert mirrored == {True, False}


def test_a_better_mask_costs_less_and_what_is_beyond_the_picture_nothing() -> None:
    target = torch.zeros(1, CELLS, CELLS)
    target[:, 20:40, 20:40] = 1
    inside = torch.ones_like(target)
    inside[:, :, 50:] = 0
    right = 12 * (2 * target - 1)
    half = right.clone()
    half[:, 30:] = -12.0
    beyond = right.clone()
    beyond[:, :, 50:] = 12.0
    losses = [float(measure_loss(logits, target, inside)) for logits in (right, half, -right, beyond)]
    assert losses[0] < 0.01 < losses[1] < losses[2]
    assert losses[3] == pytest.approx(losses[0], abs=1e-6)


def test_an_outliner_sets_bad_masks_right_that_it_never_saw(
    network: TransformersNetwork, tmp_path: Path
) -> None:
    train_outliner(network, BrightThings(), SETTINGS, tmp_path)
    outliner = read_outliner(tmp_path)
    assert outliner is not None
    unseen = gather_crops(network, BrightThings(), SETTINGS, range(200, 220))
    untaught = fit_outliner(unseen, SETTINGS.model_copy(update={"steps": 1, "learning_rate": 1e-9}))
    crops, target_Bnn = unseen.unpack(list(range(len(unseen.target_Bnn))))
    with torch.inference_mode():
        before_Bnn, after_Bnn = untaught(crops), outliner(crops)
    losses = [float(measure_loss(drawn, target_Bnn, crops.inside[:, 0])) for drawn in (before_Bnn, after_Bnn)]
    assert losses[1] < 0.6 * losses[0]
    given_B, drawn_B = compare(crops.mask[:, 0], target_Bnn), compare(after_Bnn, target_Bnn)
    is_bad_B = given_B < 0.5
    assert is_bad_B.sum() > 5
    assert drawn_B[is_bad_B].mean() > given_B[is_bad_B].mean() + 0.2


def compare(logits_Bnn: Tensor, target_Bnn: Tensor) -> Tensor:
    """IoU of each mask with its target."""
    ours, theirs = logits_Bnn > 0, target_Bnn >= 0.5
    shared_B, union_B = ((ours & theirs).flatten(1).sum(1), (ours | theirs).flatten(1).sum(1))
    return shared_B / union_B.clamp(min=1)


def test_the_same_crops_and_seed_give_the_same_outliner(network: TransformersNetwork) -> None:
    crops = gather_crops(network, SOURCE, SETTINGS, range(3))
    short = SETTINGS.model_copy(update={"steps": 3})
    first, again, other = (
        fit_outliner(crops, short.model_copy(update={"seed": seed})).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
