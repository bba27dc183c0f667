"""A search understands every word that the grammar of captions has for a category or a colour."""

from __future__ import annotations

import pytest

from tubelet.categories import list_lineage
from tubelet.index.query import parse_query
from tubelet.model.categories import WORDS
from tubelet.model.training.grammar.words import COLOUR_WORDS, NOUNS
from tubelet.model.training.world.spec import Category


@pytest.mark.parametrize(
    ("category", "noun"), [(category, noun) for category, wording in NOUNS.items() for noun in wording.all]
)
def test_nouns_name_their_category(category: Category, noun: str) -> None:
    (found,) = parse_query(f"a red {noun} that turns left").find("category")
    assert WORDS[category] in list_lineage(found)


@pytest.mark.parametrize(
    ("colour", "word"), [(colour, word) for colour, wording in COLOUR_WORDS.items() for word in wording.all]
)
def test_colour_words_name_their_colour(colour: str, word: str) -> None:
    assert parse_query(f"a {word} car that turns left").find("colour") == (colour,)
