"""Boxes are proposed once for each thing, and are what is searched, judged and refined by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.model.tracking.film_factory import Thing
from tests.model.tracking.sam2.colour_matcher import make_colour_matcher
from tests.model.tracking.sam2.colour_network import ColourNetwork
from tests.model.tracking.sam2.factories import make_clip, make_model
from tests.model.tracking.sam2.plain_film import BLUE, RED, film_plainly
from tests.model.tracking.sam2.red_judge import make_red_judge
from tests.model.tracking.sam2.red_proposer import RedProposer
from tests.model.tracking.sam2.test_refining import Motionless
from tubelet.errors import ModelError, SettingsError
from tubelet.model.masks import Mask, decode_mask
from tubelet.model.tracking.sam2.assistants import Assistants
from tubelet.model.tracking.sam2.discovery import DiscoverySettings, discover
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.masks import FrameMasks, measure_iou
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.tracking.sam2.perceptron import write_weights
from tubelet.model.tracking.sam2.prompts import MaskPrompt
from tubelet.model.tracking.sam2.proposing import (
    GRID,
    MAX_NUM_BOXES,
    PROPOSER_FILE,
    VOUCHED_WEIGHT,
    BoxProposer,
    Proposals,
    SeenFrames,
    find_boxes,
    measure_box_iou,
    propose,
    read_proposer,
    write_proposer,
)
from tubelet.model.tracking.sam2.refining import RefiningSettings, refine
from tubelet.model.tracking.sam2.settings import TrackerSettings
from tubelet.model.tracking.sam2.tracker import Sam2Tracker
from tubelet.model.tracking.sam2.weights import name_checkpoint, save_model

FILM = film_plainly(
    [
        Thing(RED, (60, 40), lambda _: (70, 60)),
        Thing(BLUE, (60, 40), lambda _: (200, 60)),
        Thing(RED, (60, 40), lambda _: (240, 130)),
    ],
    0.5,
)
BOXES_ONLY = DiscoverySettings(use_boxes=True, points_per_side=0, min_judged=0.3)
RECTANGLES = st.lists(st.tuples(*[st.integers(0, 50)] * 2, *[st.integers(1, 14)] * 2), min_size=1, max_size=6)


class ToldProposer(BoxProposer):
    """Tells these boxes with these scores, a cell each."""

    def __init__(self, boxes: Sequence[Sequence[float]], scores: Sequence[float]) -> None:
        super().__init__((1, 1, 1), width=8)
        self.told = torch.tensor(boxes), torch.tensor(scores)

    def forward(self, seen: SeenFrames) -> tuple[Tensor, Tensor]:
        boxes_P4, scores_P = self.told
        logits_N, boxes_N4 = torch.full((GRID**2,), -20.0), torch.zeros(GRID**2, 4)
        logits_N[: len(scores_P)], boxes_N4[: len(scores_P)] = scores_P.logit(), boxes_P4
        return logits_N.view(1, GRID, GRID), boxes_N4.view(1, GRID, GRID, 4)


def tell(boxes: Sequence[Sequence[float]], scores: Sequence[float]) -> Proposals:
    nothing = torch.zeros(1, 1, 1, 1)
    return propose(ToldProposer(boxes, scores), SeenFrames(nothing, nothing, nothing, nothing))


def draw(rectangles: Sequence[tuple[int, int, int, int]]) -> Tensor:
    """Masks on a grid of 64 cells a side."""
    masks_Bhw = torch.zeros(len(rectangles), 64, 64, dtype=torch.bool)
    for mask_hw, (x, y, w, h) in zip(masks_Bhw, rectangles, strict=True):
        mask_hw[y : y + h, x : x + w] = True
    return masks_Bhw


def open_on_film() -> FlowSession:
    session = FlowSession(
        ColourNetwork(), assistants=Assistants(judge=make_red_judge(), proposer=RedProposer())
    )
    session.advance(FILM.frames[0].image)
    return session


def test_each_thing_is_proposed_once_the_best_first() -> None:
    car, nearly_the_car, person, faint = (
        (0.1, 0.1, 0.4, 0.4),
        (0.1, 0.1, 0.4, 0.38),
        (0.3, 0.2, 0.5, 0.8),
        (0.6, 0.6, 0.9, 0.9),
    )
    proposals = tell([nearly_the_car, person, car, faint, (0.7, 0.1, 0.7, 0.5)], [0.6, 0.5, 0.9, 0.01, 0.9])
    assert proposals.boxes_P4.tolist() == [pytest.approx(car), pytest.approx(person)]
    assert proposals.scores_P.tolist() == pytest.approx([0.9, 0.5])
    box = proposals.list_boxes((100, 200))[1]
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((60, 20, 100, 80))


def test_boxes_end_with_the_picture_and_their_number_is_bounded() -> None:
    assert tell([(-0.3, 0.2, 0.4, 1.7)], [0.9]).boxes_P4[0].tolist() == pytest.approx([0, 0.2, 0.4, 1])
    grid = [(x / 10, y / 10, x / 10 + 0.09, y / 10 + 0.09) for x in range(10) for y in range(4)]
    assert len(tell(grid, [0.5] * 40)) == MAX_NUM_BOXES
    assert len(tell([(0, 0, 1, 1)], [0.01])) == 0


@settings(max_examples=40, deadline=None)
@given(RECTANGLES, RECTANGLES)
def test_boxes_overlap_as_the_masks_that_fill_them(
    first: list[tuple[int, int, int, int]], second: list[tuple[int, int, int, int]]
) -> None:
    ours, theirs = draw(first), draw(second)
    boxes = find_boxes(ours)
    assert (boxes * 64).tolist() == [[x, y, x + w, y + h] for x, y, w, h in first]
    assert torch.allclose(measure_box_iou(boxes, find_boxes(theirs)), measure_iou(ours, theirs), atol=1e-5)


def test_what_is_empty_has_no_box_and_nobody_vouches_for_it() -> None:
    masks_Bhw = draw([(10, 10, 10, 10), (40, 40, 10, 10), (0, 0, 1, 1)])
    masks_Bhw[2] = False
    assert measure_box_iou(find_boxes(masks_Bhw[2:]), find_boxes(masks_Bhw)).tolist() == [[0, 0, 0]]
    proposals = tell([(10 / 64, 10 / 64, 20 / 64, 20 / 64), (10 / 64, 10 / 64, 20 / 64, 15 / 64)], [0.6, 0.9])
    assert proposals.vouch_for(masks_Bhw).tolist() == pytest.approx([0.6, 0, 0])
    assert tell([(0, 0, 1, 1)], [0.01]).vouch_for(masks_Bhw).tolist() == [0, 0, 0]


def test_a_proposer_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_proposer(tmp_path) is None
    torch.manual_seed(1)
    written = BoxProposer((16, 32, 128), width=16)
    write_proposer(tmp_path / PROPOSER_FILE, written)
    read = read_proposer(tmp_path)
    assert read is not None
    written.load_state_dict({name: tensor.half().float() for name, tensor in written.state_dict().items()})
    session = Sam2Session(TransformersNetwork(make_model()), assistants=Assistants(proposer=read))
    session.advance(make_clip(1)[0])
    seen = session.view.seen
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(written(seen), read(seen), strict=True))
    assert session.view.proposals is session.view.proposals, "once a frame"


def test_what_is_no_proposer_is_told(tmp_path: Path) -> None:
    (tmp_path / PROPOSER_FILE).write_bytes(b"PK no")
    with pytest.raises(ModelError, match="cannot be read"):
        read_proposer(tmp_path)
    weights = BoxProposer((16, 32, 128), width=16).state_dict()
    del weights["head.bias"]
    write_weights(tmp_path / PROPOSER_FILE, weights)
    with pytest.raises(ModelError, match=r"head\.bias"):
        read_proposer(tmp_path)


def test_the_name_of_a_checkpoint_tells_its_proposer(tmp_path: Path) -> None:
    save_model(tmp_path, make_model())
    plain = name_checkpoint(tmp_path)
    write_proposer(tmp_path / PROPOSER_FILE, BoxProposer((16, 32, 128), width=16))
    assert name_checkpoint(tmp_path) != plain


def test_discovery_finds_what_is_proposed_without_a_point() -> None:
    session = open_on_film()
    found = discover(session, BOXES_ONLY)
    assert measure_best(found, [FILM.truth[0][0], FILM.truth[0][2]]) == pytest.approx([1, 1], abs=0.2)
    assert len(found) == 2, "the blue one was not proposed"
    with_points = discover(
        session, replace(BOXES_ONLY, points_per_side=8, min_judged=0.0, min_judged_cut=0.0)
    )
    assert min(measure_best(with_points, FILM.truth[0])) > 0.8, "points find what is not proposed"


def measure_best(found: FrameMasks, truth: Sequence[Mask]) -> list[float]:
    """Of each thing the IoU of the best mask."""
    masks = [decode_mask(rle) for rle in found.encode(180, 320)]
    return [max(float((m & cover).sum() / (m | cover).sum()) for m in masks) for cover in truth]


def test_boxes_that_are_followed_already_are_not_searched() -> None:
    session = open_on_film()
    followed_hw = session.fit_masks(torch.from_numpy(FILM.truth[0][2])[None].float())[0] > 0.5
    found = discover(session, BOXES_ONLY, followed_hw=followed_hw)
    assert measure_best(found, [FILM.truth[0][0]]) == pytest.approx([1], abs=0.2)
    assert len(found) == 1
    assert len(discover(session, BOXES_ONLY, followed_hw=torch.ones_like(followed_hw))) == 0


def test_the_proposer_has_its_share_in_what_is_said_of_a_mask() -> None:
    session = open_on_film()
    alone = FlowSession(ColourNetwork(), assistants=Assistants(judge=make_red_judge()))
    alone.advance(FILM.frames[0].image)
    masks_Bhw = session.fit_masks(torch.from_numpy(np.stack(FILM.truth[0])).float()) > 0.5
    vouched = session.view.proposals.vouch_for(masks_Bhw)
    assert vouched[0] > 0.7
    assert vouched[1] == 0
    expected = (1 - VOUCHED_WEIGHT) * alone.view.judge(masks_Bhw) + VOUCHED_WEIGHT * vouched
    assert torch.allclose(session.view.judge(masks_Bhw), expected, atol=1e-5)


def test_a_mask_that_slid_away_is_set_right_by_the_box_proposed_for_it() -> None:
    """Neither its own box, nor its middle, which lies on the ground, show the whole thing."""
    slid = np.roll(FILM.truth[0][0], 34, axis=1)
    ious = []
    for session in (
        open_on_film(),
        FlowSession(ColourNetwork(), assistants=Assistants(judge=make_red_judge())),
    ):
        session.advance(FILM.frames[0].image)
        session.add({4: MaskPrompt(slid)})
        carried = session.advance(FILM.frames[1].image)
        refined = refine(session, carried, RefiningSettings(min_agreement=0.2)).masks
        ious += measure_best(refined, [FILM.truth[1][0]])
    assert ious[0] > 0.8
    assert ious[1] < 0.4


def test_what_nobody_vouches_for_is_not_discovered() -> None:
    session = open_on_film()
    lenient = DiscoverySettings(use_boxes=True, points_per_side=8, min_judged=0.0, min_judged_cut=0.0)
    assert len(discover(session, replace(lenient, min_vouched=0.5))) == 2, "the blue one is not proposed"
    assert len(discover(session, replace(lenient, min_vouched=0.99))) == 0


def test_of_masks_that_were_given_proposals_say_nothing() -> None:
    slid = np.roll(FILM.truth[0][0], 34, axis=1)
    refined = []
    for session in (
        open_on_film(),
        FlowSession(ColourNetwork(), assistants=Assistants(judge=make_red_judge())),
    ):
        session.advance(FILM.frames[0].image)
        session.add({4: MaskPrompt(slid)})
        carried = session.advance(FILM.frames[1].image)
        refined.append(refine(session, carried, RefiningSettings(min_agreement=0.2), were_given=True).masks)
    assert torch.equal(refined[0].logits_Bhw, refined[1].logits_Bhw)


def test_what_is_lost_is_looked_for_in_proposed_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_ground = torch.tensor([[5.0, 5.0]])
    monkeypatch.setattr(FlowSession, "find_alike", lambda *_: on_the_ground)
    film = film_plainly([Thing(RED, (60, 40), lambda t: (70 if t < 0.1 else 220, 60))], 0.5)
    session = FlowSession(
        ColourNetwork(),
        assistants=Assistants(judge=make_red_judge(), matcher=make_colour_matcher(), proposer=RedProposer()),
    )
    session.advance(film.frames[0].image)
    session.add({4: MaskPrompt(film.truth[0][0])})
    session.hide(4)
    carried = session.advance(film.frames[1].image)
    found = refine(session, carried, RefiningSettings(), were_given=True).masks
    assert measure_best(found, film.truth[1])[0] > 0.8
    assert session.hidden == frozenset()


def test_a_tracker_finds_by_boxes_and_needs_the_proposer_it_was_set_up_for() -> None:
    plan = TrackerSettings(follow_by="flow", refine_every=1, discovery=BOXES_ONLY)
    tracker = Sam2Tracker(
        ColourNetwork(),
        settings=plan,
        assistants=Assistants(judge=make_red_judge(), proposer=RedProposer()),
        motion=Motionless(),
    )
    assert [len(step.objects) for step in tracker.track(FILM.frames, [])] == [2, 2, 2]
    with pytest.raises(SettingsError, match=r"no proposer.*proposer\.npz"):
        Sam2Tracker(ColourNetwork(), settings=plan, assistants=Assistants(judge=make_red_judge()))
    with pytest.raises(SettingsError, match="points_per_side is 0"):
        DiscoverySettings(points_per_side=0)
