"""The tree of categories, and reading one out of a sentence."""

from __future__ import annotations

import pytest

from tubelet.categories import PARENTS, list_lineage
from tubelet.index.parsing import lexicon
from tubelet.model.categories import WORDS, agree, choose_narrower, find_first_category


def test_sentences_and_queries_name_the_whole_tree() -> None:
    assert set(WORDS.values()) == set(lexicon.CATEGORIES.values()) == set(PARENTS)


def test_every_word_means_the_same_in_queries() -> None:
    known = {word: category for word, category in WORDS.items() if word in lexicon.CATEGORIES}
    assert known == {word: lexicon.CATEGORIES[word] for word in known}
    assert len(known) > 100


def test_lineages_end_at_the_widest() -> None:
    assert list_lineage("sedan") == ["sedan", "car", "vehicle"]
    assert list_lineage("ball") == ["ball"]


def test_a_car_is_a_vehicle_and_no_van() -> None:
    assert agree("car", "vehicle")
    assert agree("vehicle", "sedan")
    assert not agree("car", "van")
    assert choose_narrower("vehicle", "car") == choose_narrower("car", "vehicle") == "car"


@pytest.mark.parametrize(
    ("sentence", "category"),
    [
        ("A red car turns left.", "car"),
        ("a Pickup truck waits", "pickup"),
        ("the delivery-van stops behind a bus", "van"),
        ("a scarlet carpet", None),
        ("Two dogs chase a ball", "dog"),
        ("a motorbike passes a car", "motorcycle"),
        ("", None),
    ],
)
def test_the_first_category_of_a_sentence(sentence: str, category: str | None) -> None:
    found = find_first_category(sentence)
    assert (found.category if found else None) == category


def test_the_place_of_the_word_is_told() -> None:
    found = find_first_category("A white pickup truck waits")
    assert found is not None
    assert "A white pickup truck waits"[found.start : found.end] == "pickup truck"
