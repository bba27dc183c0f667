"""From a sentence to what it says: category, colours, actions and turn of the object that it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tubelet.model.training.grammar.captions import TAILS
from tubelet.model.training.grammar.facts import TURNING, add_turns
from tubelet.model.training.grammar.words import COLOUR_WORDS, NOUNS, PHRASES, THING, VERBS
from tubelet.model.training.world.spec import Action, Category
from tubelet.records import Turn

MAX_COLOURS = 2


@dataclass(frozen=True, slots=True)
class ReadCaption:
    """What a sentence says of its object; what it does not say is empty, or "none" for the turn."""

    category: Category | None
    colours: tuple[str, ...]
    turn: Turn
    actions: tuple[Action, ...]


def read_caption(text: str) -> ReadCaption:
    """Read a caption or an answer. What it says of other objects ("followed by a white van") does not count.

    Any text can be read: words that no rule knows are passed over.
    """
    plain = " ".join(re.sub(r"[^\w\s,.;'-]", " ", text.lower()).split())
    own = _other_pattern().sub(r"\g<link> ", _tail_pattern().sub("", plain))
    noun = _noun_pattern().search(own)
    # Colours after the object's own noun are its own only where it wears them.
    end = len(own) if noun is None else noun.end()
    worn = re.compile(rf"\s(?:is|in)\s(?:{_colour_words()}|and|\s)+").match(own, end)
    end = worn.end() if worn else end
    colours = dict.fromkeys(_COLOURS[word] for word in _colour_pattern().findall(own[:end]))
    actions = tuple(_find_actions(own))
    return ReadCaption(
        category=None if noun is None else _CATEGORIES[noun[0]],
        colours=tuple(colours)[:MAX_COLOURS],
        turn=_sum_turns(actions, own),
        actions=actions,
    )


def _sum_turns(actions: tuple[Action, ...], text: str) -> Turn:
    if "circle" in actions:
        side = re.search(r"(?:circle|around)\sto\sthe\s(left|right)", text)
        if side:
            return "left" if side[1] == "left" else "right"
    return add_turns([TURNING[action] for action in actions if action in TURNING])


def _find_actions(text: str) -> Iterator[Action]:
    """The actions in the order of their words; of overlapping ones the longest."""
    taken: list[tuple[int, int, Action]] = []
    for pattern, action in _action_patterns():
        for match in pattern.finditer(text):
            if all(match.end() <= start or match.start() >= end for start, end, _ in taken):
                taken.append((match.start(), match.end(), action))
    last = None
    for _, _, action in sorted(taken):
        if action != last:
            yield action
        last = action


@lru_cache(maxsize=1)
def _action_patterns() -> tuple[tuple[re.Pattern[str], Action], ...]:
    phrases = {
        (phrase, action)
        for action, by_mover in PHRASES.items()
        for wording in by_mover.values()
        for phrase in wording.all
    }
    ordered = sorted(phrases, key=lambda item: (-len(item[0]), item))
    exact = [(re.compile(_make_pattern(phrase)), action) for phrase, action in ordered]
    return (*exact, *_LOOSE)


_LOOSE: tuple[tuple[re.Pattern[str], Action], ...] = (
    (re.compile(r"\bturn\w*\s(?:\w+\s){0,2}left\b|\bleft\sturn"), "turn-left"),
    (re.compile(r"\bturn\w*\s(?:\w+\s){0,2}right\b|\bright\sturn"), "turn-right"),
    (re.compile(r"\bu-?turn"), "u-turn"),
    (re.compile(r"\bstraight\b"), "straight"),
    (re.compile(r"\bparked\b|\bstationary\b"), "parked"),
)
"""What is understood of sentences that the grammar does not make."""


def _make_pattern(phrase: str) -> str:
    """All forms of a phrase. The other object in it was cut out of the text before."""
    parts = []
    for word in phrase.lower().split():
        if word == THING:
            continue
        if word == "{be}":
            parts.append(r"(?:(?:is|be)\s)?")
        elif word.startswith("{"):
            base = word[1:-1]
            parts.append(f"(?:{'|'.join((base, *VERBS[base]))})\\s")
        else:
            parts.append(re.escape(word) + r"\s")
    return rf"\b{''.join(parts).removesuffix(chr(92) + 's')}\b"


_CATEGORIES = {word.lower(): category for category, wording in NOUNS.items() for word in wording.all}
_COLOURS = {word: name for name, wording in COLOUR_WORDS.items() for word in wording.all}


def _alternatives(words: list[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: -len(word)))


def _colour_words() -> str:
    return _alternatives(list(_COLOURS))


@lru_cache(maxsize=1)
def _noun_pattern() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_alternatives(list(_CATEGORIES))})\b")


@lru_cache(maxsize=1)
def _colour_pattern() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_colour_words()})\b")


@lru_cache(maxsize=1)
def _other_pattern() -> re.Pattern[str]:
    """A word that leads to another object, and that object's noun phrase."""
    links = {
        word for wording in TAILS.values() for tail in wording.all for word in [tail.removesuffix(" {np}")]
    }
    for by_mover in (PHRASES["overtake"], PHRASES["follow"]):
        for wording in by_mover.values():
            for phrase in wording.all:
                verb, *rest = phrase.removesuffix(f" {THING}").split()
                base = verb[1:-1]
                links |= {" ".join((form, *rest)) for form in (base, *VERBS[base])}
    nouns = _alternatives([*_CATEGORIES, "vehicle", "object", "animal"])
    colours = _colour_words()
    return re.compile(
        rf"\b(?P<link>{_alternatives(sorted(links))})\s(?:an?|the|another)\s"
        rf"(?:(?:{colours}|and)\s)*(?:{nouns})\b(?:\sin\s(?:{colours})(?:\sand\s(?:{colours}))?)?"
    )


@lru_cache(maxsize=1)
def _tail_pattern() -> re.Pattern[str]:
    """What is said of another object behind a comma."""
    links = [tail.removesuffix(" {np}") for wording in TAILS.values() for tail in wording.all]
    return re.compile(rf",\s(?:{_alternatives(links)})\s[^.,;]*")
