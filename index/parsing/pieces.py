"""The parts of a sentence that patterns recognise, in order, and the words that are left.

Patterns (`rules.py`) are tried from the most to the least particular, and each takes its part of the sentence
away from those that follow: so "turn left", "to the left", "on the left" and "the left lane" stay apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from tubelet.index.structured_query import Count, Kind

Asks = tuple[tuple[Kind, tuple[str, ...]], ...]
Role = Literal[
    "ask",
    "scenery",
    "relation",
    "backward",
    "reciprocal",
    "further",
    "while",
    "negation",
    "lack",
    "alone",
    "wearing",
    "something",
    "count",
    "then",
    "before",
    "after",
    "break",
    "or",
]
"""What a part of the sentence does.

ask: asks for something. scenery: neither asks nor is looked up. relation: another object follows, `relation`
says how it stands to. backward: says so of the object just named ("behind it"). reciprocal: "each other".
further, while: another object that is there too. negation: turns the next part round. lack: so does
"without", which may also deny another object. alone: no other object near. wearing: colours after it are the
object's own. something: an object of any kind. then, before, after: order. break: the subject may return.
"""

OBJECT_KINDS = ("colour", "category", "size")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a pattern reads out of its match."""

    asks: Asks = ()
    relation: str = ""
    count: Count | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the sentence that some pattern took."""

    start: int
    end: int
    role: Role
    text: str
    meaning: Meaning

    @property
    def asks(self) -> Asks:
        return self.meaning.asks

    @property
    def is_object(self) -> bool:
        """Whether it says what an object is like, rather than what it does or where it is."""
        return any(kind in OBJECT_KINDS for kind, _ in self.asks)

    @property
    def is_category(self) -> bool:
        return any(kind == "category" for kind, _ in self.asks)

    @property
    def is_participle(self) -> bool:
        return re.match(r"\w+(?:ing|ed)\b", self.text) is not None


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, what its match does in the sentence, and how to read it."""

    pattern: re.Pattern[str]
    role: Role
    read: Callable[[re.Match[str]], Meaning]


def take_pieces(text: str, rules: Iterable[Rule]) -> tuple[list[Piece], str]:
    """The parts of a simplified sentence that rules take, in order, and the rest with blanks for them."""
    pieces: list[Piece] = []
    for rule in rules:

        def take(match: re.Match[str], rule: Rule = rule) -> str:
            pieces.append(Piece(match.start(), match.end(), rule.role, match[0].strip(), rule.read(match)))
            return "\0" * len(match[0])

        text = rule.pattern.sub(take, text)
    pieces.sort(key=lambda piece: piece.start)
    return pieces, text.replace("\0", " ")
