"""What a sentence is held to."""

from __future__ import annotations

import pytest

from tubelet.model.training.grammar.facts import MomentFacts, ThingFacts
from tubelet.model.training.world.spec import Action
from tubelet.orchestration.evaluation.describing import DescribedTruth
from tubelet.records import Turn


def make(sentence: str, *actions: Action, turn: Turn = "none") -> DescribedTruth:
    facts = MomentFacts(ThingFacts("car", ("red", "white")), actions, turn)
    return DescribedTruth(1, 1, facts, sentence, sentence, ("A red car.",))


@pytest.mark.parametrize(
    ("actions", "turn", "expected"),
    [
        (("straight", "turn-left", "straight"), "left", "left"),
        (("straight",), "none", "straight"),
        (("straight", "stop"), "none", "straight"),
        (("lane-change-left",), "none", "straight"),
        (("parked", "start"), "none", ""),
        (("parked",), "none", ""),
        (("u-turn",), "u", ""),
        (("circle",), "none", ""),
    ],
)
def test_which_turn_is_asked_for(actions: tuple[Action, ...], turn: Turn, expected: str) -> None:
    assert make("", *actions, turn=turn).true_turn == expected


@pytest.mark.parametrize(
    ("sentence", "right"),
    [
        ("A red car goes straight.", True),
        ("A small red car moves to the right and leaves at the right.", True),
        ("A red car turns left.", False),
        ("A red car stands still.", False),
        ("", False),
    ],
)
def test_straight_on_has_to_be_said(sentence: str, right: bool) -> None:
    assert make(sentence, "straight").has_right_turn is right


def test_motion_is_all_that_is_done_and_nothing_else() -> None:
    assert make(
        "A red car goes straight, then turns left and then stops.", "turn-left", "stop"
    ).has_right_motion
    assert not make("A red car turns left.", "turn-left", "stop").has_right_motion
    assert not make("A red car turns left, then stops.", "turn-left").has_right_motion
    assert make("A red car starts moving, then goes straight.", "straight").has_right_motion
    assert not make("A red car.", "straight").has_right_motion


def test_the_main_colour_comes_first_and_the_category_is_exact() -> None:
    assert make("A red and white car turns left.", "turn-left").has_right_colour
    assert make("A red car turns left.", "turn-left").has_right_colour
    assert not make("A white and red car turns left.", "turn-left").has_right_colour
    assert make("A red automobile turns left.", "turn-left").has_right_category
    assert not make("A red SUV turns left.", "turn-left").has_right_category
    assert not make("A red object turns left.", "turn-left").has_right_category
