"""Sentences are read back as what they were made from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tubelet.model.training.grammar.captions import choose_main, say_brief, say_detailed
from tubelet.model.training.grammar.facts import (
    TURNING,
    MomentFacts,
    RelationFacts,
    ThingFacts,
    add_turns,
    mirror_moment,
)
from tubelet.model.training.grammar.questions import ask_action, ask_category, ask_colour, ask_phrase
from tubelet.model.training.grammar.reading import read_caption
from tubelet.model.training.world.spec import ACTIONS, CATEGORIES, COLOURS, RELATIONS

THINGS = st.builds(
    ThingFacts,
    st.sampled_from(CATEGORIES),
    st.lists(st.sampled_from(COLOURS), min_size=1, max_size=2, unique=True).map(tuple),
)
RELATED = st.builds(RelationFacts, st.sampled_from(RELATIONS), st.sampled_from(["subject", "object"]), THINGS)
SPLITS = st.sampled_from(["train", "held-out"])
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def moments(draw: st.DrawFn) -> MomentFacts:
    drawn = draw(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=4))
    actions = tuple(action for n, action in enumerate(drawn) if n == 0 or drawn[n - 1] != action)
    turn = add_turns([TURNING[action] for action in actions if action in TURNING])
    if actions == ("circle",):
        turn = draw(st.sampled_from(["left", "right"]))
    relations = tuple(draw(st.lists(RELATED, max_size=2)))
    return MomentFacts(draw(THINGS), actions, turn, relations)


@given(moments(), SEEDS, SPLITS)
def test_a_detailed_caption_says_everything(facts: MomentFacts, seed: int, split: str) -> None:
    caption = say_detailed(facts, np.random.default_rng(seed), split)
    read = read_caption(caption)
    assert (read.category, read.colours) == (facts.thing.category, facts.thing.colours), caption
    assert (read.actions, read.turn) == (facts.actions, facts.turn), caption


@given(moments(), SEEDS, SPLITS)
def test_a_brief_caption_says_the_main_thing(facts: MomentFacts, seed: int, split: str) -> None:
    caption = say_brief(facts, np.random.default_rng(seed), split)
    read = read_caption(caption)
    assert (read.category, read.colours) == (facts.thing.category, facts.thing.colours), caption
    assert read.actions == choose_main(facts.actions), caption


@given(moments(), SEEDS)
def test_answers_are_read_as_well(facts: MomentFacts, seed: int) -> None:
    generator = np.random.default_rng(seed)
    assert read_caption(ask_colour(facts, generator).answer).colours == facts.thing.colours
    assert read_caption(ask_category(facts, generator).answer).category == facts.thing.category
    assert read_caption(ask_action(facts, generator).answer).actions == facts.actions
    phrase = read_caption(ask_phrase(facts, generator).answer)
    assert (phrase.category, phrase.colours) == (facts.thing.category, facts.thing.colours)


@given(moments(), SEEDS)
def test_the_same_generator_gives_the_same_caption(facts: MomentFacts, seed: int) -> None:
    first, second = (say_detailed(facts, np.random.default_rng(seed)) for _ in range(2))
    assert first == second


@given(moments())
def test_a_mirror_twice_is_none(facts: MomentFacts) -> None:
    assert mirror_moment(mirror_moment(facts)) == facts
    assert (mirror_moment(facts).turn == facts.turn) == (facts.turn in ("u", "none"))


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    read_caption(text)


@pytest.mark.parametrize(
    ("text", "category", "colours", "turn", "actions"),
    [
        (
            "A red car waits, then turns left, followed by a white van.",
            "car",
            ("red",),
            "left",
            ("parked", "turn-left"),
        ),
        ("White SUV making a right turn at the intersection.", "suv", ("white",), "right", ("turn-right",)),
        ("A person in red and blue walks straight ahead.", "person", ("red", "blue"), "none", ("straight",)),
        ("A silver pickup truck behind a black bus.", "pickup", ("grey",), "none", ()),
        ("", None, (), "none", ()),
    ],
)
def test_sentences_as_people_write_them(
    text: str, category: str | None, colours: tuple[str, ...], turn: str, actions: tuple[str, ...]
) -> None:
    read = read_caption(text)
    assert (read.category, read.colours, read.turn, read.actions) == (category, colours, turn, actions)
