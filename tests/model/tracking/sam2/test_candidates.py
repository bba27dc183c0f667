"""What counts as new, and when a moving thing is asked about."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.model.tracking.film_factory import Thing
from tests.model.tracking.sam2.colour_network import ColourNetwork
from tests.model.tracking.sam2.plain_film import HEIGHT, RED, WIDTH, film_plainly
from tubelet.errors import InputError
from tubelet.model.masks import encode_mask
from tubelet.model.tracking.base import TrackedObject
from tubelet.model.tracking.sam2.candidates import (
    Candidate,
    MotionWatch,
    choose_corrections,
    choose_new,
    from_boxes,
    from_motion,
    take_motion,
)
from tubelet.model.tracking.sam2.detector import Detection
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.masks import FrameMasks
from tubelet.model.tracking.sam2.prompts import BoxPrompt, MaskPrompt
from tubelet.records import Box, Observation

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def candidate(left: int, right: int, *, score: float = 1.0, source: int = 1) -> Candidate:
    mask = torch.zeros(8, 40, dtype=torch.bool)
    mask[:, left:right] = True
    return Candidate(BoxPrompt(Box(left, 0, right, 8)), mask, score, source)


def strips(chosen: list[Candidate]) -> list[tuple[float, float]]:
    return [(item.prompt.box.x0, item.prompt.box.x1) for item in chosen if isinstance(item.prompt, BoxPrompt)]


def test_what_is_half_covered_is_not_new() -> None:
    covered = candidate(0, 10).mask_hw
    found = [candidate(5, 15), candidate(6, 16), candidate(20, 24)]
    assert strips(choose_new(found, covered, 0.5)) == [(6, 16), (20, 24)]
    assert covered.sum() == 80, "the caller's mask is left alone"


def test_surer_sources_come_first_then_the_larger_and_more_certain() -> None:
    nothing = torch.zeros(8, 40, dtype=torch.bool)
    found = [candidate(0, 10, score=0.5), candidate(20, 27), candidate(30, 32, source=0), candidate(0, 0)]
    assert strips(choose_new(found, nothing, 0.5)) == [(30, 32), (20, 27), (0, 10)]


def test_of_two_that_overlap_one_is_new() -> None:
    nothing = torch.zeros(8, 40, dtype=torch.bool)
    assert strips(choose_new([candidate(0, 10), candidate(1, 11, source=0)], nothing, 0.5)) == [(1, 11)]


def follow(*spans: tuple[int, int]) -> FrameMasks:
    """Objects 10, 11, ... that are followed, on these columns."""
    masks = torch.stack([candidate(left, right).mask_hw for left, right in spans])
    ones = torch.ones(len(spans))
    return FrameMasks(tuple(range(10, 10 + len(spans))), torch.where(masks, 5.0, -5.0), ones, ones)


def test_an_object_is_set_right_by_what_lies_on_it() -> None:
    followed = follow((0, 4), (20, 30), (34, 40))
    found = [candidate(0, 10), candidate(20, 29), candidate(12, 16)]
    corrections = choose_corrections(found, followed, 0.7)
    assert corrections == {10: found[0].prompt}, "the second agrees, the third is nobody's"
    assert choose_corrections(found, followed, 0.95) == {10: found[0].prompt, 11: found[1].prompt}


def test_what_lies_on_two_objects_sets_none_right() -> None:
    assert choose_corrections([candidate(0, 20)], follow((0, 6), (12, 20)), 0.7) == {}
    assert list(choose_corrections([candidate(0, 20)], follow((0, 6), (19, 30)), 0.7)) == [10]


def test_of_two_on_one_object_the_better_sets_it_right() -> None:
    found = [candidate(0, 4), candidate(0, 12)]
    assert choose_corrections(found, follow((0, 20)), 0.7) == {10: found[1].prompt}


def test_nothing_is_set_right_where_there_is_nothing() -> None:
    followed = follow((0, 6), (9, 9))
    assert choose_corrections([], followed, 0.7) == {}
    assert choose_corrections([candidate(5, 5), candidate(8, 10)], followed, 0.7) == {}
    assert choose_corrections([candidate(0, 6)], followed.select([]), 0.7) == {}


def moving(number: int, x: float) -> TrackedObject:
    box = Box(x, 50, x + 40, 90)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[50:90, int(x) : int(x) + 40] = True
    return TrackedObject(number, Observation(0.0, box, 1.0, encode_mask(mask)))


def test_a_mover_is_asked_about_when_it_appears_when_it_has_moved_and_in_key_frames() -> None:
    watch = MotionWatch(min_travel=0.5)
    asked = [
        watch.choose([moving(1, x)], is_key=is_key)
        for x, is_key in ((0, False), (10, False), (25, False), (30, False), (30, True), (0, True))
    ]
    assert [(len(sure), len(unsure)) for sure, unsure in asked] == [
        (0, 1),
        (0, 0),
        (1, 0),
        (0, 0),
        (1, 0),
        (1, 0),
    ]


def test_motions_masks_are_taken_without_asking_the_network(session: Sam2Session) -> None:
    (taken,) = take_motion(session, [moving(1, 102).observation])
    assert isinstance(taken.prompt, MaskPrompt)
    assert taken.prompt.mask.shape == session.size
    share = float(taken.mask_hw.float().mean())
    assert share == pytest.approx(float(taken.prompt.mask.mean()), rel=0.15)


@pytest.fixture
def session() -> Sam2Session:
    film = film_plainly([Thing(RED, (40, 40), lambda _: (120, 70))], 0.2)
    opened = Sam2Session(ColourNetwork())
    opened.advance(film.frames[0].image)
    return opened


def test_where_both_see_the_thing_its_box_is_the_prompt(session: Sam2Session) -> None:
    for is_sure in (True, False):
        (found,) = from_motion(session, [moving(1, 102).observation], is_sure=is_sure)
        assert isinstance(found.prompt, BoxPrompt)


def test_a_hole_in_the_background_is_followed_only_when_it_moves(session: Sam2Session) -> None:
    hole = moving(1, 220).observation
    assert from_motion(session, [hole], is_sure=False) == []
    (found,) = from_motion(session, [hole], is_sure=True)
    assert isinstance(found.prompt, MaskPrompt)


def test_a_detection_outside_the_frame_is_an_error(session: Sam2Session) -> None:
    (found,) = from_boxes(session, [Detection(Box(100, 50, 140, 90), 0.7)])
    assert found.score == 0.7
    with pytest.raises(InputError, match="outside the frame"):
        from_boxes(session, [Detection(Box(900, 50, 940, 90), 0.7)])
