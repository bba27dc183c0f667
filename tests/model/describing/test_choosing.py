"""Which sentence is shown: the network's or the measured one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tubelet.model.describing.base import Description, Naming
from tubelet.model.describing.choosing import MIN_CONFIDENCE, MIN_FAMILIARITY, MIN_SURE_WAY, choose_sentence
from tubelet.records import Attributes, Likelihoods, Motion

RED_CAR = Attributes(("red",), (0.8,), "medium", "car", 0.7, ("sports car",))
LEFT = Motion("left", 180.0, 2.0, "left", 80.0, False, False, False)
STRAIGHT = Motion("left", 180.0, 2.0, "none", 3.0, False, False, False)
STILL = Motion("none", None, 0.0, "none", 0.0, True, False, False)


def say(text: str, confidence: float = 0.6) -> Description:
    return Description(text, confidence, (1.0,))


@pytest.mark.parametrize(
    "text",
    [
        "A red car turns left.",
        "A crimson vehicle makes a left turn, followed by a white van.",
        "An orange car drives along.",  # orange and red are close
        "Something drives along.",
        "A car",
    ],
)
def test_a_sentence_that_nothing_speaks_against_is_shown(text: str) -> None:
    chosen = choose_sentence(say(text), RED_CAR, LEFT)
    assert (chosen.text, chosen.source, chosen.reason) == (text, "model", "")
    assert chosen.attributes == RED_CAR


@pytest.mark.parametrize(
    ("text", "motion", "reason"),
    [
        ("A red car turns right.", LEFT, "it turns left"),
        ("A red car goes straight.", LEFT, "it turns"),
        ("A red car turns left.", STRAIGHT, "it goes straight"),
        ("A red car makes a U-turn.", LEFT, "no U-turn"),
        ("A red car is parked.", LEFT, "it moves"),
        ("A red car drives straight ahead.", STILL, "it stands still"),
        ("A green car turns left.", LEFT, "it is red"),
        ("A red dog turns left.", LEFT, "recognised as a car"),
    ],
)
def test_a_sentence_that_measurements_contradict_is_replaced(text: str, motion: Motion, reason: str) -> None:
    chosen = choose_sentence(say(text, 0.65), RED_CAR, motion)
    assert chosen.source == "measured"
    assert reason in chosen.reason
    assert chosen.text.startswith("A medium red car ")
    assert chosen.attributes == RED_CAR


def test_what_looks_like_nothing_the_network_knows_is_told_by_what_was_measured() -> None:
    answer = say("A red car turns left.", 0.9)
    strange = replace(answer, familiarity=MIN_FAMILIARITY / 2)
    chosen = choose_sentence(strange, RED_CAR, LEFT)
    assert (chosen.source, chosen.attributes) == ("measured", RED_CAR)
    assert "looks like nothing" in chosen.reason
    assert choose_sentence(replace(answer, familiarity=MIN_FAMILIARITY), RED_CAR, LEFT).source == "model"


def test_a_network_that_knows_such_pictures_tells_what_it_is_and_its_colour() -> None:
    answer = replace(say("A green dog turns left.", 0.5), familiarity=0.4)
    chosen = choose_sentence(answer, RED_CAR, LEFT)
    assert (chosen.source, chosen.attributes.category) == ("model", "dog")
    assert chosen.attributes.kinds == ("car", "sports car")
    still = choose_sentence(answer, RED_CAR, STILL)  # what it is, it knows; how it moves was measured
    assert (still.source, still.reason) == ("measured", "it stands still")
    assert still.text == "A medium green dog stands still."
    assert choose_sentence(replace(answer, confidence=0.1), RED_CAR, LEFT).source == "measured"


def test_what_looks_like_it_in_training_names_an_object_that_the_network_knows() -> None:
    answer = replace(say("A dark red car turns left."), familiarity=0.4, naming=Naming("van", 0.9))
    chosen = choose_sentence(answer, RED_CAR, LEFT)
    assert (chosen.source, chosen.text) == ("model", "A dark red van turns left.")
    assert (chosen.attributes.category, chosen.attributes.category_score) == ("van", 0.9)
    assert chosen.attributes.kinds == ("car", "sports car")
    assert choose_sentence(answer, RED_CAR, STRAIGHT).text == "A medium red van moves to the left."
    other = choose_sentence(replace(answer, naming=Naming("dog", 0.9)), RED_CAR, LEFT)
    assert (other.source, other.reason) == ("measured", "it looks like a dog")
    unnamed = choose_sentence(replace(answer, text="Something turns left."), RED_CAR, LEFT)
    assert (unnamed.text, unnamed.attributes.category) == ("Something turns left.", "van")
    rider = replace(answer, text="A person in red turns left.", naming=Naming("bicycle", 0.9))
    assert choose_sentence(rider, RED_CAR, LEFT).text == rider.text
    unsure = choose_sentence(replace(answer, confidence=0.1), RED_CAR, LEFT)
    assert unsure.text == "A medium red van moves to the left and turns left."
    assert unsure.reason == "confidence 0.10"
    strange = replace(answer, familiarity=MIN_FAMILIARITY / 2)
    assert choose_sentence(strange, RED_CAR, LEFT).attributes == RED_CAR


def test_what_looks_like_it_in_training_tells_the_main_colour_of_an_object_that_the_network_knows() -> None:
    answer = replace(say("A blue and white car turns left."), familiarity=0.4, colour=Naming("orange", 0.9))
    chosen = choose_sentence(answer, RED_CAR, LEFT)
    assert (chosen.source, chosen.text) == ("model", "An orange and white car turns left.")
    assert chosen.attributes.colours == ("orange", "white")
    swapped = choose_sentence(replace(answer, colour=Naming("white", 0.6)), RED_CAR, LEFT)
    assert (swapped.text, swapped.attributes.colours) == (
        "A white and blue car turns left.",
        ("white", "blue"),
    )
    same = choose_sentence(replace(answer, colour=Naming("blue", 0.9)), RED_CAR, LEFT)
    assert (same.text, same.attributes.colours) == (answer.text, ("blue", "white"))
    silent = choose_sentence(replace(answer, text="A car turns left."), RED_CAR, LEFT)
    assert (silent.text, silent.attributes.colours) == ("A car turns left.", ("orange",))
    path = choose_sentence(answer, RED_CAR, STRAIGHT)
    assert path.text == "A medium orange and white car moves to the left."
    unsure = choose_sentence(replace(answer, confidence=0.1), RED_CAR, LEFT)
    assert unsure.text == "A medium orange car moves to the left and turns left."
    strange = replace(answer, familiarity=MIN_FAMILIARITY / 2)
    assert choose_sentence(strange, RED_CAR, LEFT).attributes == RED_CAR


def test_a_path_like_those_of_training_turns_as_they_did() -> None:
    answer = replace(say("A red car turns left."), familiarity=0.4, way=Naming("left", 0.9))
    chosen = choose_sentence(answer, RED_CAR, STRAIGHT)  # by the formula, 3 degrees
    assert (chosen.source, chosen.text) == ("model", answer.text)
    assert chosen.motion == replace(STRAIGHT, turn="left")
    straight = choose_sentence(replace(answer, way=Naming("none", 0.9)), RED_CAR, LEFT)
    assert (straight.source, straight.reason) == ("measured", "it goes straight")
    assert straight.text == "A medium red car moves to the left."
    u_turn = choose_sentence(replace(answer, way=Naming("u", 0.9)), RED_CAR, LEFT)
    assert u_turn.text.endswith("makes a U-turn.")
    assert u_turn.reason == "it makes a U-turn"
    still = choose_sentence(answer, RED_CAR, STILL)
    assert still.motion == STILL
    stands = choose_sentence(replace(answer, way=Naming("still", 0.9)), RED_CAR, LEFT)
    assert (stands.motion, stands.reason) == (STILL, "it stands still")
    crawling = replace(STRAIGHT, speed=0.1)
    creeps = choose_sentence(answer, RED_CAR, STILL, crawling)
    assert (creeps.source, creeps.motion) == ("model", replace(crawling, turn="left"))
    unsure = replace(answer, way=Naming("left", MIN_SURE_WAY - 0.01))
    assert choose_sentence(unsure, RED_CAR, STILL, crawling).motion == STILL
    slow = replace(STRAIGHT, speed=0.1)
    parked = replace(answer, text="A red car is parked.", way=Naming("none", 0.9))
    assert choose_sentence(parked, RED_CAR, slow).reason == "it moves"
    assert choose_sentence(replace(parked, way=None), RED_CAR, slow).source == "model"
    for unknown in (replace(answer, familiarity=MIN_FAMILIARITY / 2), replace(answer, familiarity=None)):
        assert choose_sentence(unknown, RED_CAR, STRAIGHT).motion == STRAIGHT
    assert choose_sentence(answer, RED_CAR, None).motion is None


def test_what_else_an_object_may_be_is_kept_whichever_sentence_is_shown() -> None:
    colour = Naming("teal", 0.6, (("teal", 0.6), ("green", 0.3)))
    way = Naming("left", 0.9, (("left", 0.9),))
    answer = replace(say("A red car turns left."), familiarity=0.4, colour=colour, way=way)
    likely = Likelihoods(("teal", "green"), (0.6, 0.3), ("left",), (0.9,))
    assert choose_sentence(answer, RED_CAR, STRAIGHT).likely == likely
    assert choose_sentence(replace(answer, confidence=0.1), RED_CAR, STRAIGHT).likely == likely
    assert choose_sentence(replace(answer, way=None), RED_CAR, None).likely == replace(
        likely, ways=(), way_scores=()
    )
    strange = replace(answer, familiarity=MIN_FAMILIARITY / 2)
    assert choose_sentence(strange, RED_CAR, STRAIGHT).likely == Likelihoods()
    assert choose_sentence(say("A red car turns left."), RED_CAR, STRAIGHT).likely == Likelihoods()


@pytest.mark.parametrize(
    ("said", "measured", "colours", "shares"),
    [
        ("A blue car", (("grey", 0.6), ("red", 0.2)), ("blue",), (1.0,)),
        ("A blue car", (("grey", 0.6), ("blue", 0.3)), ("blue",), (0.3,)),
        ("A red and white car", (("white", 0.6), ("red", 0.3)), ("red", "white"), (0.3, 0.6)),
        ("A red, white and blue car", (("white", 0.6),), ("red", "white"), (0.4, 0.6)),
        ("A blue car", (), ("blue",), (1.0,)),
        ("A car", (("grey", 0.6),), ("grey",), (0.6,)),
    ],
)
def test_a_network_that_knows_such_pictures_tells_the_colours(
    said: str, measured: tuple[tuple[str, float], ...], colours: tuple[str, ...], shares: tuple[float, ...]
) -> None:
    names, covered = tuple(name for name, _ in measured), tuple(share for _, share in measured)
    own = replace(RED_CAR, colours=names, colour_shares=covered)
    chosen = choose_sentence(replace(say(f"{said} turns left."), familiarity=0.4), own, LEFT).attributes
    assert chosen.colours == colours
    assert chosen.colour_shares == pytest.approx(shares)


def test_path_and_colours_count_more_than_any_confidence() -> None:
    assert choose_sentence(say("A red car turns right.", 1.0), RED_CAR, LEFT).source == "measured"
    assert choose_sentence(say("A green car turns left.", 1.0), RED_CAR, LEFT).source == "measured"


def test_of_two_categories_the_surer_source_is_shown() -> None:
    text = "A red dog turns left."
    assert choose_sentence(say(text, RED_CAR.category_score), RED_CAR, LEFT).source == "measured"
    sure = choose_sentence(say(text, RED_CAR.category_score + 0.01), RED_CAR, LEFT)
    assert (sure.source, sure.text) == ("model", text)
    assert (sure.attributes.category, sure.attributes.category_score) == ("", 0.0)
    assert sure.attributes.kinds == ("car", "sports car")


def test_the_narrower_of_two_names_for_one_thing_is_kept() -> None:
    vehicle = replace(RED_CAR, category="vehicle", kinds=())
    assert choose_sentence(say("A red pickup turns left."), vehicle, LEFT).attributes.category == "pickup"
    assert choose_sentence(say("A red vehicle turns left."), RED_CAR, LEFT).attributes.category == "car"


def test_a_rider_and_the_bicycle_are_one_object() -> None:
    bicycle = replace(RED_CAR, category="bicycle", category_score=0.95)
    chosen = choose_sentence(say("A person in red turns left."), bicycle, LEFT)
    assert chosen.source == "model"
    assert chosen.attributes.category == "bicycle"


def test_without_a_recognised_category_the_sentence_names_it() -> None:
    unknown = replace(RED_CAR, category="", category_score=0.0, kinds=())
    chosen = choose_sentence(say("A red dog turns left."), unknown, LEFT)
    assert chosen.source == "model"
    assert chosen.attributes == unknown


def test_colours_that_cover_little_are_no_facts() -> None:
    mixed = Attributes(("red", "blue"), (0.4, 0.3), "medium")
    assert choose_sentence(say("A green car turns left."), mixed, LEFT).source == "model"


def test_a_guess_is_not_shown() -> None:
    chosen = choose_sentence(say("A red car turns left.", MIN_CONFIDENCE - 0.01), RED_CAR, LEFT)
    assert chosen.source == "measured"
    assert "confidence" in chosen.reason


def test_a_measured_sentence_is_shown_as_it_is() -> None:
    description = Description("A medium red car turns left.", 0.1, (), "measured")
    chosen = choose_sentence(description, RED_CAR, LEFT)
    assert (chosen.text, chosen.source) == (description.text, "measured")


def test_a_single_picture_has_no_motion_to_contradict() -> None:
    assert choose_sentence(say("A red car turns right."), RED_CAR, None).source == "model"
    chosen = choose_sentence(say("A red dog."), RED_CAR, None)
    assert (chosen.source, chosen.text) == ("measured", "A medium red car.")
