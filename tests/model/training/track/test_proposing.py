"""A proposer learns from pictures where their objects lie."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.model.tracking.sam2.factories import make_model
from tests.model.training.track.polygons import PolygonClips
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.tracking.sam2.proposing import (
    GRID,
    BoxProposer,
    SeenFrames,
    measure_box_iou,
    propose,
    read_proposer,
)
from tubelet.model.training.track.proposing import (
    BoxedFrames,
    ProposerSettings,
    compare_boxes,
    fit_proposer,
    gather_boxes,
    make_targets,
    measure_loss,
    train_proposer,
)

SETTINGS = ProposerSettings(seed=3, num_pictures=60, steps=150, batch=8, width=16, learning_rate=4e-3)
SOURCE = PolygonClips(side=64)
SIDES = st.tuples(*[st.floats(0, 0.5)] * 2, *[st.floats(0.05, 0.5)] * 2)


@pytest.fixture(scope="module")
def network() -> TransformersNetwork:
    return TransformersNetwork(make_model())


def pick(frames: BoxedFrames, row: int) -> SeenFrames:
    """What was seen of one frame."""
    return SeenFrames(*(maps[row : row + 1].float() for maps in frames.seen))


def test_boxes_are_gathered_alike_whatever_comes_before(network: TransformersNetwork) -> None:
    together = gather_boxes(network, SOURCE, SETTINGS, range(4))
    alone = gather_boxes(network, SOURCE, SETTINGS, [3])
    assert torch.equal(together.seen.fine[-2:], alone.seen.fine)
    assert torch.equal(together.seen.picture[-2:], alone.seen.picture)
    assert all(torch.equal(a, b) for a, b in zip(together.boxes_O4[-2:], alone.boxes_O4, strict=True))


def test_each_picture_is_seen_mirrored_with_its_boxes(network: TransformersNetwork) -> None:
    frames = gather_boxes(network, SOURCE, SETTINGS, [1])
    straight, mirrored = frames.boxes_O4
    assert torch.allclose(frames.seen.picture[1], frames.seen.picture[0].flip(-1), atol=1e-2)
    assert torch.allclose(
        mirrored,
        (1 - straight[:, [2, 1, 0, 3]]) * torch.tensor([1, -1, 1, -1]) + torch.tensor([0, 1, 0, 1]),
        atol=1e-5,
    )
    assert torch.equal(frames.shares_O[0], frames.shares_O[1])


def test_a_cell_tells_the_smaller_of_two_things_and_nothing_of_what_is_too_small() -> None:
    boxes = torch.tensor([[0.1, 0.1, 0.9, 0.9], [0.4, 0.4, 0.6, 0.6], [0.0, 0.0, 0.06, 0.06]])
    targets = make_targets([boxes], [torch.tensor([0.5, 0.04, 0.002])], 0.003)
    middle, beside = (0, GRID // 2, GRID // 2), (0, GRID // 2, GRID // 2 + 4)
    assert targets.boxes_BGG4[middle].tolist() == pytest.approx(boxes[1].tolist())
    assert targets.boxes_BGG4[beside].tolist() == pytest.approx(boxes[0].tolist())
    assert not targets.is_asked_BGG[0, 0, 0]
    assert targets.is_left_out_BGG[0, 0, 0]
    assert not targets.is_left_out_BGG[0, GRID // 2].any()
    assert targets.is_asked_BGG.float().mean() == pytest.approx(0.4**2, abs=0.03)


def test_every_large_thing_is_asked_of_a_cell_at_least() -> None:
    thin = torch.tensor([[0.5, 0.1, 0.515, 0.9]])
    assert make_targets([thin], [torch.tensor([0.012])], 0.003).is_asked_BGG.any()


@given(SIDES, SIDES)
def test_boxes_are_compared_as_generalized_iou_is_defined(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> None:
    ours, theirs = (torch.tensor([[x, y, x + w, y + h]]) for x, y, w, h in (first, second))
    iou, apart = compare_boxes(ours, theirs)
    assert float(iou) == pytest.approx(float(measure_box_iou(ours, theirs)), abs=1e-4)
    assert 1 - float(iou) - 1e-4 <= float(apart) <= 2
    assert float(compare_boxes(ours, ours)[1]) == pytest.approx(0, abs=1e-4)


def test_boxes_that_do_not_meet_are_the_further_apart_the_worse() -> None:
    box = torch.tensor([[0.0, 0.0, 0.1, 0.1]])
    near, far = (compare_boxes(box, box + shift)[1] for shift in (0.2, 0.6))
    assert 1 < float(near) < float(far)
    assert float(near) == pytest.approx(1 + (0.3**2 - 0.02) / 0.3**2, abs=1e-4)


def test_a_proposer_finds_the_boxes_of_pictures_it_never_saw(
    network: TransformersNetwork, tmp_path: Path
) -> None:
    train_proposer(network, SOURCE, SETTINGS, tmp_path)
    proposer = read_proposer(tmp_path)
    assert proposer is not None
    unseen = gather_boxes(network, SOURCE, SETTINGS, range(200, 212))
    rows = range(len(unseen.boxes_O4))
    untaught = fit_proposer(unseen, SETTINGS.model_copy(update={"steps": 1, "learning_rate": 1e-9}))
    losses = [float(measure_loss(one, unseen, list(rows), 0.003).detach()) for one in (untaught, proposer)]
    assert losses[1] < 0.7 * losses[0]
    assert find_share(proposer, unseen) > 2.5 * find_share(untaught, unseen)


def find_share(proposer: BoxProposer, frames: BoxedFrames) -> float:
    """Of how many things of some frames it proposes a box with an IoU of at least 0.5."""
    found = [
        bool(len(proposals)) and bool((measure_box_iou(box[None], proposals.boxes_P4) >= 0.5).any())
        for row, boxes_O4 in enumerate(frames.boxes_O4)
        for proposals in [propose(proposer, pick(frames, row))]
        for box in boxes_O4
    ]
    return sum(found) / len(found)


def test_the_same_frames_and_seed_give_the_same_proposer(network: TransformersNetwork) -> None:
    frames = gather_boxes(network, SOURCE, SETTINGS, range(3))
    plan = SETTINGS.model_copy(update={"steps": 5})
    first, second = (fit_proposer(frames, plan).state_dict() for _ in range(2))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    other = fit_proposer(frames, plan.model_copy(update={"seed": 4})).state_dict()
    assert not torch.equal(first["head.weight"], other["head.weight"])
