"""Which masks count as objects, and that a picture's objects are found without a prompt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.tracking.film_factory import Thing
from tests.model.tracking.sam2.colour_network import ColourNetwork
from tests.model.tracking.sam2.factories import make_model
from tests.model.tracking.sam2.plain_film import BLUE, GREEN, RED, film_plainly
from tubelet.errors import SettingsError
from tubelet.model.masks import decode_mask, mask_box
from tubelet.model.tracking.sam2.discovery import (
    DiscoverySettings,
    discover,
    drop_parts,
    is_background,
    measure_stability,
    suppress_duplicates,
)
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.masks import FrameMasks, measure_iou
from tubelet.model.tracking.sam2.network import DecodedMasks, TransformersNetwork

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def rectangles(*boxes: tuple[int, int, int, int], side: int = 32) -> torch.Tensor:
    """Masks from (x0, y0, x1, y1)."""
    masks = torch.zeros(len(boxes), side, side, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def test_a_duplicate_gives_way_to_the_better_mask() -> None:
    masks = rectangles((2, 2, 12, 12), (2, 2, 12, 11), (20, 20, 30, 30), (6, 6, 16, 16))
    assert suppress_duplicates(masks, 0.7) == [0, 2, 3]
    assert suppress_duplicates(masks, 0.1) == [0, 2]
    assert suppress_duplicates(masks[:0], 0.7) == []


def test_a_chain_of_overlaps_keeps_both_ends() -> None:
    """The middle one is gone, so the last has no kept mask that it copies."""
    masks = rectangles((0, 0, 10, 10), (3, 0, 13, 10), (6, 0, 16, 10))
    assert suppress_duplicates(masks, 0.5) == [0, 2]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 11)] * 2), max_size=12))
def test_what_is_kept_does_not_overlap_and_what_is_not_does(boxes: list[tuple[int, int, int, int]]) -> None:
    masks = rectangles(*((x, y, x + w, y + h) for x, y, w, h in boxes))
    kept = suppress_duplicates(masks, 0.5)
    iou = measure_iou(masks, masks)
    for place in range(len(masks)):
        copies = [other for other in kept if other < place and iou[place, other] > 0.5]
        assert (place in kept) == (not copies)


def test_a_part_gives_way_to_its_whole() -> None:
    car, window, neighbour = (4, 4, 24, 16), (8, 5, 14, 9), (23, 4, 31, 16)
    assert drop_parts(rectangles(car, window, neighbour), 0.9) == [0, 2]
    assert drop_parts(rectangles(window, car), 0.9) == [1]
    assert drop_parts(rectangles(car, car), 0.9) == [0, 1]


def test_background_touches_three_sides() -> None:
    road, sky, car, all_round = (0, 20, 32, 32), (0, 0, 32, 9), (0, 10, 9, 20), (0, 0, 32, 32)
    assert is_background(rectangles(road, sky, car, all_round), 3).tolist() == [True, True, False, True]


def test_stability_is_the_overlap_of_two_thresholds() -> None:
    logits = torch.full((3, 10, 10), -5.0)
    logits[0, :5] = 5.0  # sharp
    logits[1, :4], logits[1, 4:8] = 5.0, 0.5  # half of it depends on the threshold
    assert measure_stability(logits, 1.0).tolist() == [1.0, 0.5, 0.0]


def test_iou_of_masks() -> None:
    iou = measure_iou(rectangles((0, 0, 4, 4)), rectangles((0, 0, 4, 4), (2, 0, 6, 4), (9, 9, 10, 10)))
    assert iou.tolist()[0] == pytest.approx([1, 8 / 24, 0])


def test_all_things_of_a_picture_are_found_once_each() -> None:
    things = [
        Thing(RED, (60, 30), lambda _: (70, 60)),
        Thing(BLUE, (40, 40), lambda _: (200, 120)),
        Thing(GREEN, (30, 50), lambda _: (280, 60)),
    ]
    film = film_plainly(things, 0.2)
    session = Sam2Session(ColourNetwork())
    session.advance(film.frames[0].image)
    found = discover(session)
    masks = [decode_mask(mask) for mask in found.encode(180, 320)]
    assert len(masks) == len(things)
    for cover in film.truth[0]:
        assert max((mask & cover).sum() / (mask | cover).sum() for mask in masks) > 0.8
    assert session.numbers == ()


def test_what_is_followed_is_not_found_again() -> None:
    film = film_plainly([Thing(RED, (60, 30), lambda _: (70, 60))], 0.2)
    session = Sam2Session(ColourNetwork())
    session.advance(film.frames[0].image)
    found = discover(session)
    assert len(found) == 1
    assert len(discover(session, followed_hw=found.binary_Bhw.any(0))) == 0
    everything = torch.ones_like(found.binary_Bhw[0])
    assert len(discover(session, followed_hw=everything)) == 0


def test_a_blank_picture_has_no_objects() -> None:
    session = Sam2Session(ColourNetwork())
    session.advance(np.full((180, 320, 3), 90, np.uint8))
    assert len(discover(session)) == 0


def test_random_weights_keep_the_rules() -> None:
    """Whatever a network answers, what is found is distinct, within its sizes and no background."""
    session = Sam2Session(TransformersNetwork(make_model()))
    session.advance(np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8))
    rules = DiscoverySettings(
        points_per_side=8,
        min_iou=0.0,
        min_stability=0.0,
        max_area_share=0.8,
        background_sides=4,
        num_points_at_once=10,
    )
    found = discover(session, rules)
    assert len(found) > 0
    masks = found.binary_Bhw
    assert (
        drop_parts(masks, rules.min_part_inside) == suppress_duplicates(masks, 0.7) == list(range(len(found)))
    )
    assert not is_background(masks, 4).any()
    assert masks.float().mean((1, 2)).max() <= rules.max_area_share


def test_boxes_are_taken_from_masks() -> None:
    seen = FrameMasks((5,), torch.where(rectangles((3, 4, 10, 20)), 1.0, -1.0), torch.ones(1), torch.ones(1))
    (mask,) = seen.encode(32, 32)
    assert mask_box(mask) == (3, 4, 10, 20)
    (empty,) = FrameMasks((5,), -torch.ones(1, 32, 32), torch.ones(1), torch.ones(1)).encode(32, 32)
    assert mask_box(empty).area == 0


@pytest.mark.parametrize(
    "wrong", [{"points_per_side": 0}, {"min_iou": 1.5}, {"max_area_share": float("nan")}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        DiscoverySettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("per_side", "turns"), [(6, 2), (7, 2), (6, 4), (5, 1)])
def test_turns_together_ask_every_point_once(per_side: int, turns: int) -> None:
    asked: list[torch.Tensor] = []

    class Asked(Sam2Session):
        def look_at_points(self, points_B2: torch.Tensor) -> DecodedMasks:
            asked.append(points_B2)
            return super().look_at_points(points_B2)

    film = film_plainly([Thing(RED, (60, 40), lambda _: (100, 100))], 0.2)
    session = Asked(ColourNetwork())
    session.advance(film.frames[0].image)
    wanted = DiscoverySettings(points_per_side=per_side, num_turns=turns)
    discover(session, wanted)
    whole = torch.cat(asked)
    assert len(whole) == per_side**2
    asked.clear()
    for turn in range(100, 100 + turns):
        discover(session, wanted, turn=turn)
    assert sorted(torch.cat(asked).tolist()) == sorted(whole.tolist())
