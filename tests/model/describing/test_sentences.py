"""What is read from a sentence about an object."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tubelet.index.parsing import lexicon
from tubelet.model.describing.colour import COLOUR_NAMES
from tubelet.model.describing.sentences import (
    CLOSE_COLOURS,
    are_close_colours,
    read_sentence,
    recolour,
    rename,
)
from tubelet.records import Turn


@pytest.mark.parametrize(
    ("text", "category", "colours"),
    [
        ("A red car turns left.", "car", ("red",)),
        ("A scarlet and white delivery van waits.", "van", ("red", "white")),
        ("A person in blue and black walks.", "person", ("blue", "black")),
        ("A pedestrian is wearing red", "person", ("red",)),
        ("a silver SUV followed by a red car", "suv", ("grey",)),
        ("A blue bus passes a yellow truck", "bus", ("blue",)),
        ("A dog runs on green grass.", "dog", ()),
        ("Something small moves.", "", ()),
    ],
)
def test_category_and_colours_of_the_object_itself(
    text: str, category: str, colours: tuple[str, ...]
) -> None:
    facts = read_sentence(text)
    assert (facts.category, facts.colours) == (category, colours)


@pytest.mark.parametrize(
    ("text", "turn"),
    [
        ("The car turns left", "left"),
        ("a bus makes a right turn", "right"),
        ("it is turning to the left", "left"),
        ("a van takes a left", "left"),
        ("a dog swerves right", "right"),
        ("The car makes a U-turn.", "u"),
        ("the van turns around", "u"),
        ("the car goes straight", "none"),
        ("it goes straight, then turns right", "right"),
        ("it turns left and then turns right", None),
        ("a car in the left lane", None),
        ("a car goes straight behind one that turns left", "none"),
    ],
)
def test_turns(text: str, turn: Turn | None) -> None:
    assert read_sentence(text).turn == turn


@pytest.mark.parametrize(
    ("text", "moving", "still"),
    [
        ("A car is parked", False, True),
        ("A man stands still", False, True),
        ("A car drives straight ahead", True, False),
        ("A van stops, then waits", True, True),
        ("A red car", False, False),
    ],
)
def test_whether_it_moves(text: str, moving: bool, still: bool) -> None:
    facts = read_sentence(text)
    assert (facts.moving, facts.still) == (moving, still)


def test_close_colours_are_those_of_a_search() -> None:
    assert CLOSE_COLOURS == lexicon.CLOSE_COLOURS
    assert are_close_colours(["grey"], ["red", "white"])
    assert not are_close_colours(["green"], ["red", "white"])


@given(st.text(max_size=80))
def test_any_text_can_be_read(text: str) -> None:
    assert set(read_sentence(text).colours) <= set(COLOUR_NAMES)


@pytest.mark.parametrize(
    ("text", "category", "renamed"),
    [
        ("A red car turns left.", "suv", "A red SUV turns left."),
        ("A car turns left, followed by a van.", "suv", "An SUV turns left, followed by a van."),
        ("An SUV  stops.", "van", "A van stops."),
        ("A pickup truck follows a car.", "bus", "A bus follows a car."),
        ("an umbrella", "box", "a box"),
        ("Something behind a car", "bus", "Something behind a car"),
        ("", "bus", ""),
        ("\u0130 car", "bus", "\u0130 car"),  # its lower case is longer
    ],
)
def test_an_object_is_called_something_else(text: str, category: str, renamed: str) -> None:
    assert rename(text, category) == renamed


@pytest.mark.parametrize(
    ("text", "colour", "recoloured"),
    [
        ("A red car turns left.", "orange", "An orange car turns left."),
        ("An orange car turns left.", "red", "A red car turns left."),
        (
            "There is a dark blue van, followed by a blue bus.",
            "grey",
            "There is a grey van, followed by a blue bus.",
        ),
        ("A red and white bus stops.", "blue", "A blue and white bus stops."),
        ("A red and white bus stops.", "white", "A white and red bus stops."),
        ("A light red and dark white bus stops.", "white", "A white and dark red bus stops."),
        ("A person in silver and black walks.", "black", "A person in black and grey walks."),
        (
            "A person wearing pink walks past a pink box.",
            "red",
            "A person wearing red walks past a pink box.",
        ),
        ("A car turns left behind a red van.", "blue", "A car turns left behind a red van."),
        ("Something red rolls.", "green", "Something green rolls."),
        ("", "red", ""),
    ],
)
def test_an_object_is_of_another_colour(text: str, colour: str, recoloured: str) -> None:
    assert recolour(text, colour) == recoloured


@given(st.text(), st.sampled_from(COLOUR_NAMES))
def test_any_text_is_recoloured_or_left(text: str, colour: str) -> None:
    said = read_sentence(text).colours
    changed = read_sentence(recolour(text, colour)).colours
    assert changed == said or (changed[0] == colour and set(changed) <= {colour, *said})
