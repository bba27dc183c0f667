"""Whom each part of a sentence is about: the object that is looked for, or another one; and in which order.

One walk over the pieces, from left to right, so the time grows with their number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from tubelet.index.parsing.lexicon import MOVING_RELATIONS, PORTABLE
from tubelet.index.parsing.ordering import Asked, Order
from tubelet.index.parsing.pieces import Meaning, Piece
from tubelet.index.structured_query import INVERSE, Count

NEGATION_REACH_WORDS = 4
"""A negation turns round what begins at most so many words after it."""

_CLAUSE_REACH_WORDS = 4
_INTRODUCES = ("count", "something")


@dataclass(slots=True)
class Other:
    """Another object that the sentence speaks of, and how the one that is looked for stands to it.

    `clause`: it is the subject of a clause of its own ("while a car stops"). `anything`: it may be any
    object. `each_other`: it is like the object itself.
    """

    kind: str
    start: int
    end: int
    negated: bool = False
    clause: bool = False
    anything: bool = False
    each_other: bool = False
    has_category: bool = False
    count: Count | None = None
    asked: list[Asked] = field(default_factory=list)

    @property
    def is_there(self) -> bool:
        """Whether an object was recognised after the words of relation."""
        return bool(self.kind) and (self.has_category or self.anything or self.each_other)


@dataclass(slots=True)
class Reading:
    """What a sentence asks of the object itself (`common`, and in `order`), and of `others`."""

    common: list[Asked] = field(default_factory=list)
    order: Order = field(default_factory=Order)
    others: list[Other] = field(default_factory=list)
    count: Count | None = None


def read_clauses(pieces: Sequence[Piece], text: str) -> Reading:
    """Give each piece to the object that it is about."""
    walk = _Walk(pieces, text)
    for position, piece in enumerate(pieces):
        walk.take(position, piece)
    return walk.finish()


def split_words(pieces: Sequence[Piece], rest: str) -> tuple[str, str]:
    """The words that no piece took: those that are asked for, and those that a negation excludes."""
    excluded: list[str] = []
    kept: list[str] = []
    at = 0
    for position, piece in enumerate(pieces):
        if piece.role not in ("negation", "lack") or piece.end < at:
            continue
        following = (pieces[after] for after in range(position + 1, len(pieces)))
        last = next((later.start for later in following if not _is_passed_over(later)), len(rest))
        words = list(islice(_WORD.finditer(rest, piece.end, last), NEGATION_REACH_WORDS))
        if words:
            kept.append(rest[at : words[0].start()])
            excluded += [word[0] for word in words]
            at = words[-1].end()
    return "".join([*kept, rest[at:]]), " ".join(excluded)


_WORD = re.compile(r"\S+")


def _is_passed_over(piece: Piece) -> bool:
    """Whether a negation's words may go on behind this piece."""
    return piece.is_object or piece.role in ("wearing", "count", "something", "scenery")


class _Walk:
    def __init__(self, pieces: Sequence[Piece], text: str) -> None:
        self._pieces = pieces
        self._text = text
        self._reading = Reading()
        self._other: Other | None = None
        self._has_subject = False
        self._subject_category: tuple[str, ...] = ()
        self._after_break = False
        self._other_moved = False  # a motion went to the other object, and more of it may follow
        self._joined = False
        self._negation: Piece | None = None
        self._negated_until = 0
        self._last_negated = False
        self._count: Count | None = None

    def take(self, position: int, piece: Piece) -> None:
        """Look at the next piece."""
        joined, self._joined = self._joined, False
        if piece.role == "ask":
            self._ask(position, piece, joined)
        elif piece.role == "or":
            self._joined = True
            if self._last_negated:
                self._negated_until = piece.end
        elif piece.role in ("negation", "lack"):
            self._negation, self._negated_until = piece, piece.end
        elif piece.role == "count":
            self._count = piece.meaning.count
        elif piece.role == "break":
            self._return()
        elif piece.role == "then":
            self._reading.order.mark("then")
            self._return()
        elif piece.role in ("before", "after", "while", "further"):
            self._open_clause(position, piece)
        elif piece.role == "relation":
            self._open(piece.meaning.relation, piece, negated=self._is_negated(piece))
        else:
            self._note(piece)

    def finish(self) -> Reading:
        """What was read; where no other object was recognised, its motion words still say "moving"."""
        reading = self._reading
        for other in reading.others:
            if other.kind in MOVING_RELATIONS and not other.is_there and not other.negated:
                text = self._text[other.start : other.end]
                moving = Piece(other.start, other.end, "ask", text, Meaning((("pace", ("moving",)),)))
                reading.order.add(Asked(moving), generic=True)
            if other.kind == "with" and any(
                kind == "category" and values[0] in PORTABLE
                for item in other.asked
                for kind, values in item.piece.asks
            ):
                other.kind = "touches"
        reading.others = [other for other in reading.others if other.is_there]
        return reading

    def _ask(self, position: int, piece: Piece, joined: bool) -> None:
        negated = self._is_negated(piece)
        lacks = negated and self._negation is not None and self._negation.role == "lack"
        if lacks and piece.is_object and self._has_subject and not self._is_lacking():
            assert self._negation is not None
            self._open("next-to", self._negation, negated=True)
        other = self._other
        if other is not None and self._belongs_to(other, position, piece):
            other.end = piece.end
            other.asked.append(Asked(piece, negated and not (lacks and piece.is_object), joined))
            other.has_category = other.has_category or piece.is_category
            other.count = self._take_count(piece) or other.count
        else:
            self._other = None
            asked = Asked(piece, negated, joined)
            if piece.is_object:
                self._reading.common.append(asked)
                self._reading.count = self._take_count(piece) or self._reading.count
            else:
                self._reading.order.add(asked)
            if piece.is_category:
                self._has_subject = True
                self._subject_category = piece.asks[0][1]
        self._last_negated = negated
        if not (lacks and piece.is_object):
            self._negated_until = -1

    def _belongs_to(self, other: Other, position: int, piece: Piece) -> bool:
        """Whether a piece says something of the other object, and note where it leads."""
        if piece.is_object:
            if self._after_break and other.has_category and not self._has_subject:
                return False  # "behind a truck, a red car"
            self._after_break = False
            return True
        if self._after_break:
            return False
        if other.clause:
            return True
        if other.has_category or other.anything:
            mine = piece.is_participle or self._other_moved
        else:
            mine = piece.is_participle and self._object_follows(position)
        self._other_moved = mine
        return mine

    def _object_follows(self, position: int) -> bool:
        following = (
            piece
            for piece in self._pieces[position + 1 : position + 4]
            if piece.role not in ("negation", "count")
        )
        return next((piece.is_object for piece in following), False)

    def _open(self, kind: str, piece: Piece, *, negated: bool = False, clause: bool = False) -> None:
        self._other = Other(kind, piece.start, piece.end, negated=negated, clause=clause)
        self._reading.others.append(self._other)
        self._after_break = self._other_moved = False
        if negated and piece is not self._negation:
            self._negated_until = -1

    def _open_clause(self, position: int, piece: Piece) -> None:
        """After "before", "after", "while" or "and a": another object, or an order of motions, or neither."""
        following = next(
            (later for later in self._pieces[position + 1 : position + 4] if later.role != "negation"), None
        )
        near = following is not None and self._gap(piece.end, following.start) <= _CLAUSE_REACH_WORDS
        if near and following is not None and self._asks_already:
            introduces = following.is_object or following.role in _INTRODUCES
            if introduces and not self._repeats_subject(piece, following):
                kind = piece.role if piece.role in ("before", "after") else "with"
                self._open(kind, piece, clause=piece.role != "further")
                return
        if near and following is not None and following.role == "ask" and piece.role in ("before", "after"):
            self._reading.order.mark("then" if piece.role == "before" else "earlier")
        self._return()

    @property
    def _asks_already(self) -> bool:
        return self._has_subject or any(self._reading.order.steps)

    def _repeats_subject(self, piece: Piece, following: Piece) -> bool:
        """ "and the car": the same one again."""
        between = self._text[piece.start : following.start].split()
        return (
            piece.role == "further"
            and "the" in between
            and following.is_category
            and following.asks[0][1] == self._subject_category
        )

    def _note(self, piece: Piece) -> None:
        """Pieces that say something of the other object that was named last."""
        others = self._reading.others
        if piece.role == "alone":
            others.append(Other("next-to", piece.start, piece.end, negated=True, anything=True))
            return
        if piece.role == "wearing":
            self._other = None
        other = self._other
        if other is None:
            return
        if piece.role == "something" and not other.has_category:
            other.anything, other.end = True, piece.end
        elif piece.role == "backward" and other.is_there and other.kind == "with" and not other.negated:
            other.kind, other.end = INVERSE[piece.meaning.relation], piece.end  # type: ignore[index]
        elif piece.role == "reciprocal" and not other.is_there:
            before = others[-2] if len(others) > 1 else None
            if before is not None and before.kind == "with" and before.is_there:
                before.kind = other.kind
                others.pop()
            else:
                other.each_other, other.end = True, piece.end

    def _is_negated(self, piece: Piece) -> bool:
        if self._negation is None or self._negated_until < 0:
            return False
        if self._gap(self._negated_until, piece.start) > NEGATION_REACH_WORDS:
            self._negated_until = -1
            return False
        return True

    def _is_lacking(self) -> bool:
        """Whether the other object that is spoken of is the one that is not to be there."""
        other = self._other
        return (
            other is not None
            and other.negated
            and self._negation is not None
            and (other.start == self._negation.start)
        )

    def _return(self) -> None:
        self._after_break = True
        self._negated_until, self._last_negated = -1, False

    def _take_count(self, piece: Piece) -> Count | None:
        if not piece.is_category:
            return None
        count, self._count = self._count, None
        return count

    def _gap(self, start: int, end: int) -> int:
        """Words between two places; more than any reach when they are far apart."""
        if end - start > 200:
            return 1000
        return len(self._text[start:end].split())
