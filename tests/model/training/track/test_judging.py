"""A judge learns from pictures which masks are good, and the recipe keeps it beside the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.model.tracking.sam2.factories import make_model
from tests.model.training.track.polygons import PolygonClips
from tubelet.model.tracking.sam2.judge import MaskJudge, read_judge
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.training.track.judging import JudgeSettings, fit_judge, gather_masks, train_judge
from tubelet.model.training.track.perceptrons import Teaching
from tubelet.model.training.track.sampled_masks import MaskSampling

SETTINGS = JudgeSettings(
    seed=3,
    num_pictures=60,
    sampling=MaskSampling(points_per_side=6, num_each=4, num_others=6),
    teaching=Teaching(steps=300, batch=64, hidden=32),
)
SOURCE = PolygonClips(side=64)


@pytest.fixture(scope="module")
def network() -> TransformersNetwork:
    return TransformersNetwork(make_model())


def test_masks_good_and_bad_are_gathered_alike_whatever_comes_before(network: TransformersNetwork) -> None:
    together = gather_masks(network, SOURCE, SETTINGS, range(4))
    alone = gather_masks(network, SOURCE, SETTINGS, [3])
    assert torch.equal(together.measured_BX[-len(alone.iou_B) :], alone.measured_BX)
    assert torch.equal(together.iou_B[-len(alone.iou_B) :], alone.iou_B)
    assert float(together.iou_B.max()) > 0.95, "the true masks are among them"
    assert float(together.iou_B.min()) == 0
    assert torch.isfinite(together.measured_BX).all()


def test_a_picture_without_objects_gives_only_bad_masks(network: TransformersNetwork) -> None:
    plan = SETTINGS.model_copy(update={"sampling": MaskSampling(points_per_side=6, min_object_share=0.9)})
    masks = gather_masks(network, SOURCE, plan, range(2))
    assert len(masks.iou_B) > 0
    assert not masks.iou_B.any()


def test_a_judge_tells_the_good_masks_of_pictures_it_never_saw(
    network: TransformersNetwork, tmp_path: Path
) -> None:
    train_judge(network, SOURCE, SETTINGS, tmp_path)
    judge = read_judge(tmp_path)
    assert judge is not None
    unseen = gather_masks(network, SOURCE, SETTINGS, range(200, 212))
    guessed = judge.judge(unseen.measured_BX.float())
    assert np.corrcoef(guessed.numpy(), unseen.iou_B.numpy())[0, 1] > 0.6


def test_the_same_masks_and_seed_give_the_same_judge(network: TransformersNetwork) -> None:
    masks = gather_masks(network, SOURCE, SETTINGS, range(3))
    plan = SETTINGS.model_copy(update={"teaching": Teaching(steps=20, batch=64, hidden=32)})
    first, second = fit_judge(masks, plan), fit_judge(masks, plan)
    assert MaskJudge(first)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    other = fit_judge(masks, plan.model_copy(update={"seed": 4}))
    assert not torch.equal(first["last.weight"], other["last.weight"])
