"""What counts as new, and when a moving thing is asked about."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from tests.model.tracking.film_factory import Thing
from tests.model.tracking.sam2.colour_network import ColourNetwork
from tests.model.tracking.sam2.plain_film import BLUE, HEIGHT, RED, WIDTH, film_plainly
from tests.model.tracking.sam2.red_judge import make_red_judge
from tubelet.errors import InputError
from tubelet.model.masks import encode_mask
from tubelet.model.tracking.base import TrackedObject
from tubelet.model.tracking.sam2.assistants import Assistants
from tubelet.model.tracking.sam2.candidates import (
    Candidate,
    MotionWatch,
    choose_corrections,
    choose_new,
    choose_replacements,
    find_newcomers,
    from_boxes,
    from_motion,
    list_covered,
    take_motion,
)
from tubelet.model.tracking.sam2.detector import Detection
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.masks import FrameMasks
from tubelet.model.tracking.sam2.prompts import BoxPrompt, MaskPrompt
from tubelet.model.tracking.sam2.refining import RefiningSettings
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


def places(chosen: Mapping[int, Candidate], found: list[Candidate]) -> dict[int, int]:
    """Which of the candidates each object gets."""
    return {
        number: next(place for place, item in enumerate(found) if item is candidate)
        for number, candidate in chosen.items()
    }


def test_an_object_is_set_right_by_what_lies_on_it() -> None:
    followed = follow((0, 4), (20, 30), (34, 40))
    found = [candidate(0, 10), candidate(20, 29), candidate(12, 16)]
    corrections = choose_corrections(found, followed, 0.7)
    assert places(corrections, found) == {10: 0}, "the second agrees, the third is nobody's"
    assert places(choose_corrections(found, followed, 0.95), found) == {10: 0, 11: 1}


def test_what_lies_on_two_objects_sets_none_right() -> None:
    assert choose_corrections([candidate(0, 20)], follow((0, 6), (12, 20)), 0.7) == {}
    assert list(choose_corrections([candidate(0, 20)], follow((0, 6), (19, 30)), 0.7)) == [10]


def test_parts_that_are_followed_too_do_not_keep_the_whole_from_being_set_right() -> None:
    followed = follow((0, 18), (2, 6), (10, 14))
    assert list(choose_corrections([candidate(0, 20)], followed, 1.0)) == [10]


def test_of_two_on_one_object_the_better_sets_it_right() -> None:
    found = [candidate(0, 4), candidate(0, 12)]
    assert places(choose_corrections(found, follow((0, 20)), 0.7), found) == {10: 1}


def test_nothing_is_set_right_where_there_is_nothing() -> None:
    followed = follow((0, 6), (9, 9))
    assert choose_corrections([], followed, 0.7) == {}
    assert choose_corrections([candidate(5, 5), candidate(8, 10)], followed, 0.7) == {}
    assert choose_corrections([candidate(0, 6)], followed.select([]), 0.7) == {}


WEAK = RefiningSettings(weak=0.4, weak_gain=0.15)


def replace_weak(found: list[Candidate], followed: FrameMasks, *judged: float) -> dict[int, int]:
    return places(choose_replacements(found, followed, judged, WEAK), found)


def test_a_weak_mask_gives_way_to_a_better_one_at_its_place() -> None:
    part, whole, elsewhere = candidate(0, 6), candidate(0, 20), candidate(24, 34)
    assert replace_weak([elsewhere, part], follow((0, 12)), 0.3) == {10: 1}, "it held two things"
    assert replace_weak([elsewhere, whole], follow((0, 12)), 0.3) == {10: 1}, "it was half a thing"
    assert replace_weak([part], follow((0, 12)), 0.4) == {}, "it is not weak"
    assert replace_weak([candidate(0, 6, score=0.44)], follow((0, 12)), 0.3) == {}, "hardly better"
    assert replace_weak([candidate(0, 1)], follow((0, 12)), 0.3) == {}, "next to nothing of it"
    assert replace_weak([part], follow((9, 9)), 0.3) == {}, "out of sight"


def test_of_several_the_best_replaces_and_each_replaces_one() -> None:
    small, large = candidate(0, 4), candidate(4, 12, score=0.9)
    assert replace_weak([small, large], follow((0, 12)), 0.1) == {10: 1}
    assert replace_weak([small, large], follow((0, 12), (0, 11)), 0.1, 0.1) == {10: 1, 11: 0}


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


def test_the_judge_decides_what_of_a_mover_is_a_thing() -> None:
    """The mask of motion holds red and ground; of the blue thing the judge thinks little."""
    film = film_plainly(
        [Thing(RED, (40, 40), lambda _: (120, 70)), Thing(BLUE, (40, 40), lambda _: (250, 70))], 0.2
    )
    judging = Sam2Session(ColourNetwork(), assistants=Assistants(judge=make_red_judge()))
    judging.advance(film.frames[0].image)
    half_off, blue = moving(1, 118).observation, moving(2, 230).observation
    strict = RefiningSettings(weak=0.3)
    (found,) = from_motion(judging, [half_off], is_sure=True, refining=strict)
    assert isinstance(found.prompt, BoxPrompt)
    assert (found.source, found.score > 0.3) == (0, True)
    (found,) = from_motion(judging, [blue], is_sure=False, refining=strict)
    assert isinstance(found.prompt, MaskPrompt), "the judge has to like SAM 2's mask better"
    assert (found.source, found.score < 0.3) == (1, True)
    hole = moving(1, 20).observation
    assert from_motion(judging, [hole], is_sure=False, refining=strict) == []


def test_a_detection_outside_the_frame_is_an_error(session: Sam2Session) -> None:
    (found,) = from_boxes(session, [Detection(Box(100, 50, 140, 90), 0.7)])
    assert found.score == 0.7
    with pytest.raises(InputError, match="outside the frame"):
        from_boxes(session, [Detection(Box(900, 50, 940, 90), 0.7)])


def make_part(rows: slice, columns: slice, score: float) -> Candidate:
    mask_hw = torch.zeros(32, 32, dtype=torch.bool)
    mask_hw[rows, columns] = True
    return Candidate(MaskPrompt(mask_hw.numpy()), mask_hw, score, source=1)


def test_objects_lie_on_masks_by_half() -> None:
    objects = [make_part(slice(0, 8), slice(0, 8), 1.0), make_part(slice(0, 8), slice(16, 24), 1.0)]
    masks_Bhw = torch.stack([item.mask_hw for item in objects])
    seen = FrameMasks((4, 9), torch.where(masks_Bhw, 5.0, -5.0), torch.ones(2), torch.ones(2))
    half = make_part(slice(0, 8), slice(4, 19), 1.0).mask_hw
    assert list_covered([half], seen) == [4]
    assert list_covered([half, make_part(slice(0, 4), slice(0, 30), 1.0).mask_hw], seen) == [4, 9]
    assert list_covered([], seen) == []
    nothing = FrameMasks((1,), torch.full((1, 32, 32), -5.0), torch.ones(1), torch.ones(1))
    assert list_covered([half], nothing) == []


def test_of_two_alike_the_one_is_a_newcomer_whose_mask_has_changed_more() -> None:
    whole, part, other = (
        make_part(rows, slice(4, 20), 1.0).mask_hw for rows in (slice(0, 16), slice(0, 7), slice(20, 30))
    )

    def show(*masks_hw: torch.Tensor, numbers: tuple[int, ...]) -> FrameMasks:
        logits_Bhw = torch.where(torch.stack(masks_hw), 5.0, -5.0)
        return FrameMasks(numbers, logits_Bhw, torch.ones(len(numbers)), torch.ones(len(numbers)))

    before = show(part, whole, other, numbers=(3, 5, 8))
    assert find_newcomers(before, before, 0.85) == set()
    assert find_newcomers(before, show(whole, whole, other, numbers=(3, 5, 8)), 0.85) == {3}
    assert find_newcomers(before, show(part, part, other, numbers=(3, 5, 8)), 0.85) == {5}
    assert find_newcomers(before, show(whole, whole, whole, numbers=(3, 5, 8)), 0.85) == {3, 8}
    assert find_newcomers(before, show(whole, other, numbers=(3, 8)), 0.85) == set(), "5 is out of sight"
    both = show(whole, whole, other, numbers=(3, 5, 8))
    assert find_newcomers(both, both, 0.85) == {5}, "neither has changed: the later one"
