"""A matcher learns from clips whose masks are of an object that was seen before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.model.tracking.sam2.factories import make_model
from tests.model.training.track.polygons import PolygonClips
from tubelet.model.tracking.sam2.matching import ObjectMatcher, read_matcher
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.training.track.matching import (
    MatcherSettings,
    fit_matcher,
    gather_meetings,
    train_matcher,
)
from tubelet.model.training.track.perceptrons import Teaching
from tubelet.model.training.track.sampled_masks import MaskSampling

SETTINGS = MatcherSettings(
    seed=3,
    num_clips=40,
    num_frames=5,
    sampling=MaskSampling(points_per_side=6, num_each=4, num_others=6, num_roughs=3, num_confused=4),
    teaching=Teaching(steps=300, batch=8, hidden=32),
)
SOURCE = PolygonClips(side=64)


@pytest.fixture(scope="module")
def network() -> TransformersNetwork:
    return TransformersNetwork(make_model())


def test_clips_are_gathered_alike_whatever_comes_before(network: TransformersNetwork) -> None:
    together = gather_meetings(network, SOURCE, SETTINGS, range(3))
    alone = gather_meetings(network, SOURCE, SETTINGS, [2])
    assert len(together) > len(alone) > 0
    for first, second in zip(together[-len(alone) :], alone, strict=True):
        assert torch.equal(first.known_VX, second.known_VX)
        assert torch.equal(first.measured_BX, second.measured_BX)
        assert torch.equal(first.iou_B, second.iou_B)


def test_meetings_hold_the_object_others_and_nothing(network: TransformersNetwork) -> None:
    meetings = gather_meetings(network, SOURCE, SETTINGS, range(12))
    assert max(float(meeting.iou_B.max()) for meeting in meetings) > 0.95, "the true mask is among them"
    for meeting in meetings:
        assert len(meeting.known_VX) >= 1
        assert meeting.known_VX.shape[1] == meeting.measured_BX.shape[1]
        assert torch.isfinite(meeting.known_VX).all()
        assert torch.isfinite(meeting.measured_BX).all()
        assert (meeting.iou_B <= meeting.best_B + 1e-6).all()
    assert any(((meeting.best_B > 0.5) & (meeting.iou_B < 0.1)).any() for meeting in meetings), "others"
    assert any((meeting.best_B == 0).any() for meeting in meetings), "nothing"


def test_a_matcher_tells_an_object_from_others_in_clips_it_never_saw(
    network: TransformersNetwork, tmp_path: Path
) -> None:
    train_matcher(network, SOURCE, SETTINGS, tmp_path)
    matcher = read_matcher(tmp_path)
    assert matcher is not None
    right = []
    for meeting in gather_meetings(network, SOURCE, SETTINGS, range(200, 215)):
        words = matcher.match(meeting.known_VX[:1].float(), meeting.measured_BX.float())
        its, others = meeting.iou_B > 0.7, (meeting.iou_B < 0.1) & (meeting.best_B > 0.7)
        right += (words[its][:, None] > words[others]).flatten().tolist()
    assert np.mean(right) > 0.75


def test_the_same_meetings_and_seed_give_the_same_matcher(network: TransformersNetwork) -> None:
    meetings = gather_meetings(network, SOURCE, SETTINGS, range(3))
    plan = SETTINGS.model_copy(update={"teaching": Teaching(steps=20, batch=4, hidden=8)})
    first, second = fit_matcher(meetings, plan), fit_matcher(meetings, plan)
    assert ObjectMatcher(first)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    other = fit_matcher(meetings, plan.model_copy(update={"seed": 4}))
    assert not torch.equal(first["last.weight"], other["last.weight"])
