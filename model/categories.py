"""The words by which sentences name categories, and what two categories say of one thing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tubelet.categories import PARENTS, list_lineage

_FURTHER_WORDS: Mapping[str, str] = {
    "person": "people pedestrian cyclist rider walker runner",
    "man": "men",
    "woman": "women lady",
    "child": "children boy girl",
    "car": "automobile",
    "sedan": "saloon limousine",
    "suv": "jeep",
    "wagon": "estate",
    "taxi": "cab",
    "lorry": "lorries",
    "bus": "buses coach minibus",
    "train": "tram",
    "boat": "ship",
    "airplane": "aeroplane plane aircraft",
    "motorcycle": "motorbike scooter moped",
    "bicycle": "bike",
    "dog": "puppy",
    "cat": "kitten",
    "ball": "football basketball",
    "bag": "handbag",
    "box": "boxes carton parcel crate",
    "stroller": "pram pushchair buggy",
}

WORDS: Mapping[str, str] = {
    form: category
    for category in PARENTS
    for word in (category, *_FURTHER_WORDS.get(category, "").split())
    for form in (word, f"{word}s")
}
"""Word, singular or plural -> the category that it names."""


SPELLINGS: Mapping[str, str] = {"suv": "SUV"}
"""Categories that sentences write otherwise than queries and rows."""


@dataclass(frozen=True, slots=True)
class NamedCategory:
    """A category that a text names, and where its word begins and ends."""

    category: str
    start: int
    end: int


def agree(first: str, second: str) -> bool:
    """Whether one thing can be both: the same category, or one inside the other."""
    return first in list_lineage(second) or second in list_lineage(first)


def are_kin(first: str, second: str) -> bool:
    """Whether two categories are of one widest kind, as a bus and a bicycle are vehicles."""
    return list_lineage(first)[-1] == list_lineage(second)[-1]


def choose_narrower(first: str, second: str) -> str:
    """Of two categories that agree, the one that says more."""
    return first if second in list_lineage(first) else second


def find_first_category(text: str) -> NamedCategory | None:
    """The first category that a text names by one of the known words, whole words only; None without any.

    Of words that stand together, as in "pickup truck" or "police car", the last one ends the name and the
    narrower category counts.
    """
    found: NamedCategory | None = None
    for match in re.finditer(r"[a-z]+", text.casefold()):
        category = WORDS.get(match[0])
        if found is None:
            if category is not None:
                found = NamedCategory(category, match.start(), match.end())
        elif category is not None and text[found.end : match.start()] in (" ", "-"):
            joined = (
                choose_narrower(found.category, category) if agree(found.category, category) else category
            )
            found = NamedCategory(joined, found.start, match.end())
        else:
            return found
    return found
