"""The tables: what is held out is never heard in training, and a search knows the words."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

from tubelet.categories import list_lineage
from tubelet.index.query import parse_query
from tubelet.model.describing.colour import COLOUR_NAMES
from tubelet.model.training.grammar.captions import say_brief, say_detailed
from tubelet.model.training.grammar.facts import MomentFacts, ThingFacts
from tubelet.model.training.grammar.reading import read_caption
from tubelet.model.training.grammar.words import COLOUR_WORDS, NOUNS, PHRASES, VERBS, Wording, inflect
from tubelet.model.training.world.spec import ACTIONS, CATEGORIES, COLOURS

SEARCHED = {"motorbike": "motorcycle"}
"""What a search calls a category, where it is not the same word."""


def list_wordings() -> Iterator[Wording]:
    yield from NOUNS.values()
    yield from COLOUR_WORDS.values()
    for by_mover in PHRASES.values():
        yield from by_mover.values()


def test_every_category_colour_and_action_has_words() -> None:
    assert set(NOUNS) == set(CATEGORIES)
    assert set(COLOUR_WORDS) == set(COLOURS) == set(COLOUR_NAMES)
    assert set(PHRASES) == set(ACTIONS)


def test_every_verb_has_its_forms() -> None:
    for wording in list_wordings():
        for phrase in wording.all:
            for base in re.findall(r"\{(\w+)\}", phrase):
                assert base in VERBS or base == "thing", phrase
    assert inflect("{turn} left", "third") == "turns left"
    assert inflect("{be} parked", "ing") == "parked"


def test_held_out_words_are_never_trained_on() -> None:
    for wording in list_wordings():
        assert not set(wording.held_out) & {wording.usual, *wording.others}
    generator = np.random.default_rng(0)
    for wording in list_wordings():
        chosen = {wording.choose(generator, "train") for _ in range(30)}
        assert not chosen & set(wording.held_out)


def test_held_out_text_uses_them() -> None:
    generator = np.random.default_rng(0)
    chosen = [NOUNS["car"].choose(generator, "held-out") for _ in range(200)]
    assert set(NOUNS["car"].held_out) <= set(chosen)


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("action", ["turn-left", "turn-right", "u-turn", "parked", "straight"])
def test_a_search_understands_the_captions(category: str, action: str) -> None:
    generator = np.random.default_rng(0)
    turn = {"turn-left": "left", "turn-right": "right", "u-turn": "u"}.get(action, "none")
    for colour in COLOURS:
        facts = MomentFacts(ThingFacts(category, (colour,)), (action,), turn)
        for say in (say_brief, say_detailed):
            caption = say(facts, generator)
            query = parse_query(caption)
            kinds = {wider for kind in query.find("category") for wider in list_lineage(kind)}
            assert SEARCHED.get(category, category) in kinds, caption
            assert colour in query.find("colour"), caption
            if turn != "none":
                assert turn in query.find("turn"), caption
            if action == "parked":
                assert query.find("pace") == ("stopped",), caption
            assert read_caption(caption).category == category
