"""Reading a sentence about one object: what it says that can be held against measurements.

Only the object's own part is read: what follows "behind", "followed by" and the like is about another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tubelet.model.categories import SPELLINGS, NamedCategory, find_first_category
from tubelet.records import Turn

_CLOSE = (
    "black-grey grey-white grey-blue grey-beige white-beige black-brown black-blue red-orange red-pink "
    "red-brown orange-yellow orange-brown brown-beige beige-yellow yellow-green green-teal teal-blue "
    "blue-purple purple-pink"
)
CLOSE_COLOURS: frozenset[frozenset[str]] = frozenset(frozenset(pair.split("-")) for pair in _CLOSE.split())
"""Pairs of colour names that light and cameras confuse; the same that a search lets pass."""

_COLOUR_WORDS: Mapping[str, str] = {
    word: name
    for name, words in {
        "black": "black",
        "grey": "grey gray silver silvery greyish grayish",
        "white": "white whitish",
        "red": "red reddish crimson scarlet",
        "orange": "orange",
        "brown": "brown brownish",
        "beige": "beige",
        "yellow": "yellow yellowish",
        "green": "green greenish",
        "teal": "teal turquoise",
        "blue": "blue bluish navy",
        "purple": "purple violet lavender",
        "pink": "pink pinkish",
    }.items()
    for word in words.split()
}

_OTHERS = re.compile(
    r",?\s(?:closely\s|being\s|is\s|are\s)*(?:follow(?:s|ed|ing)?|overtak(?:e|es|en|ing)|pass(?:es|ed|ing)?|"
    r"behind|in front of|ahead of|next to|beside|alongside|near|towards?|past|trail(?:s|ing)|while|as)\b"
)
_ANY_COLOUR = "|".join(_COLOUR_WORDS)
_COLOUR = re.compile(rf"(?:\b(?:dark|light|bright|deep|pale)\s)?\b(?P<name>{_ANY_COLOUR})\b")
_WORN = re.compile(
    rf"\s(?:is|in|wearing|dressed in|is in|is wearing)\s((?:\b(?:{_ANY_COLOUR}|and)\b|[\s,])+)"
)
_TURN = re.compile(
    r"\b(?:turn|veer|steer|swerv)\w*\s(?:(?:to|sharply|the)\s)*(left|right)\b"
    r"|\b(left|right)(?:-hand|\shand)?[\s-]turn"
    r"|\b(?:tak|mak)\w+\sa\s(left|right)\b"
)
_U_TURN = re.compile(r"\bu[\s-]?turn|\bturn\w*\s(?:around|back)\b")
_STRAIGHT = re.compile(r"\bstraight\b")
_STILL = re.compile(
    r"\b(?:parked|stationary|motionless|at rest|(?:stand|stay|remain|keep)\w*\s(?:still|there)|wait\w*|"
    r"standing)\b"
)
_MOVING = re.compile(
    r"\b(?:driv|mov|go(?:es|ing)?\b|travel|proceed|run|walk|rid|roll|turn|veer|steer|swerv|cross|chang|switch|merg|"
    r"enter|leav|com(?:es|ing)\b|start|set(?:s|ting)?\soff|stop|halt|fall|circl|loop|approach|accelerat)"
)

_ARTICLE = re.compile(r"\b(an?)\s$", re.IGNORECASE)
_SAID_AS_VOWELS = "aeiouS"
"""First letters of names that take "an"; the capital one is spelt out, as in "an SUV"."""


@dataclass(frozen=True, slots=True)
class SentenceFacts:
    """What a sentence says of its object. What it does not say is empty or False.

    `turn` is "none" where it says straight on, and None where it says nothing of turning or more than one
    way. A sentence may say both that the object moves and that it is still, one after the other.
    """

    category: str
    colours: tuple[str, ...]
    turn: Turn | None
    moving: bool
    still: bool


def read_sentence(text: str) -> SentenceFacts:
    """Read any text; words that are not known are passed over."""
    own = _keep_own_part(" ".join(text.casefold().split()))
    noun = find_first_category(own)
    return SentenceFacts(
        category=noun.category if noun else "",
        colours=_read_colours(own, noun),
        turn=_read_turn(own),
        moving=bool(_MOVING.search(own)),
        still=bool(_STILL.search(own)),
    )


def rename(text: str, category: str) -> str:
    """The sentence with its object called something else: "A red SUV turns." for "A red car turns.".

    A text that does not name its object stays as it is.
    """
    words = " ".join(text.split())
    noun = find_first_category(_keep_own_part(words.casefold()))
    if noun is None or len(words.casefold()) != len(words):
        return text
    name = SPELLINGS.get(category, category)
    return f"{_fit_article(words[: noun.start], name)}{name}{words[noun.end :]}"


def recolour(text: str, colour: str) -> str:
    """The sentence with another main colour of its object: "An orange car turns" for "A dark red car turns".

    A second colour of that name becomes the first's: "A red and white car" is "A white and red car". A text
    that names no colour of its object stays as it is.
    """
    words = " ".join(text.split())
    own = _keep_own_part(words.casefold())
    places = _find_colours(own, find_first_category(own))
    if not places or len(words.casefold()) != len(words):
        return text
    first, second = places[0], next((place for place in places[1:] if _name_colour(place) == colour), None)
    if second is not None:  # from the end, so that places before it stay
        words = f"{words[: second.start('name')]}{_name_colour(first)}{words[second.end() :]}"
    before, after = words[: first.start()], words[first.end() :]
    return f"{_fit_article(before, colour)}{colour}{after}"


def are_close_colours(first: Iterable[str], second: Iterable[str]) -> bool:
    """Whether any two of the names are the same, or easily taken for each other."""
    names = tuple(second)
    return any(a == b or frozenset((a, b)) in CLOSE_COLOURS for a in first for b in names)


def _fit_article(before: str, word: str) -> str:
    """The words before another one, "a" and "an" made to fit where they are the last."""
    article = _ARTICLE.search(before)
    if article is None:
        return before
    return f"{before[: article.start(1)]}{article[1][0]}{'n' if word[0] in _SAID_AS_VOWELS else ''} "


def _keep_own_part(text: str) -> str:
    found = _OTHERS.search(text)
    return text[: found.start()] if found else text


def _read_colours(own: str, noun: NamedCategory | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(_name_colour, _find_colours(own, noun))))


def _find_colours(own: str, noun: NamedCategory | None) -> list[re.Match[str]]:
    """Where colours are named before the object's noun, and behind it those it wears: "a person in red"."""
    if noun is None:
        return list(_COLOUR.finditer(own))
    worn = _WORN.match(own, noun.end)
    found = list(_COLOUR.finditer(own, 0, noun.start))
    return found + (list(_COLOUR.finditer(own, worn.start(1), worn.end(1))) if worn else [])


def _name_colour(place: re.Match[str]) -> str:
    return _COLOUR_WORDS[place["name"]]


def _read_turn(own: str) -> Turn | None:
    ways: set[Turn] = set()
    for match in _TURN.finditer(own):
        ways.add("left" if "left" in match.groups() else "right")
    if _U_TURN.search(own):
        ways.add("u")
    if not ways and _STRAIGHT.search(own):
        ways.add("none")
    return ways.pop() if len(ways) == 1 else None
