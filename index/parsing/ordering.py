"""The order of what an object does: "stops, then turns left", "turns right after stopping".

Two motions that one moment cannot have ("stops and turns left") are taken in the order they are told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tubelet.index.parsing.pieces import Asks, Piece

Mark = Literal["", "then", "earlier"]

_STILL = {("pace", "stopped"), ("change", "stops")}
_MOVING = {("pace", "moving"), ("pace", "fast"), ("pace", "slow"), ("change", "starts")}
_MOVING_KINDS = ("turn", "heading")
_EXCLUSIVE_KINDS = ("turn", "heading", "range", "change")


@dataclass(frozen=True, slots=True)
class Asked:
    """A piece that asks for something; `joined`: by "or" to the one before."""

    piece: Piece
    negated: bool = False
    joined: bool = False


@dataclass(slots=True)
class Order:
    """What an object does, as steps in time order: each is a list of what is asked of one moment."""

    steps: list[list[Asked]] = field(default_factory=lambda: [[]])
    _current: int = 0
    _mark: Mark = ""
    _flip: Mark = ""

    def mark(self, mark: Mark) -> None:
        """The next motion comes after the last one (`then`), or before it (`earlier`)."""
        if any(self.steps):
            self._mark = mark
        else:  # at the head of the sentence: "after stopping, it turns"; the motion after that follows
            self._flip = "then" if mark == "earlier" else "earlier"

    def add(self, asked: Asked, *, generic: bool = False) -> None:
        """Put a motion, place, entry or exit where it belongs. `generic` adds nothing to other motions."""
        step = self.steps[self._current]
        if not self._mark and any(_is_same(asked, old) for old in step):
            return  # so that a step stays short, however often a sentence says it
        if generic:
            if not any(self.steps):
                step.append(asked)
            return
        mark, self._mark = self._mark, ""
        if mark == "earlier":
            self.steps.insert(self._current, [asked])
            self._current += 1
        elif step and (mark == "then" or (not asked.joined and _conflicts(asked, step))):
            self._current += 1
            self.steps.insert(self._current, [asked])
        else:
            step.append(asked)
        if self._flip:
            self._mark, self._flip = self._flip, ""


def _is_same(first: Asked, second: Asked) -> bool:
    return (first.negated, first.joined, first.piece.asks) == (
        second.negated,
        second.joined,
        second.piece.asks,
    )


def _conflicts(new: Asked, step: list[Asked]) -> bool:
    """Whether one moment cannot have both."""
    if new.negated:
        return False
    return any(_exclude(new.piece.asks, old.piece.asks) for old in step if not old.negated)


def _exclude(first: Asks, second: Asks) -> bool:
    for kind, values in first:
        for other_kind, other_values in second:
            if kind == other_kind and kind in _EXCLUSIVE_KINDS and not set(values) & set(other_values):
                return True
            if {"fast", "slow"} == {*values, *other_values} and kind == other_kind == "pace":
                return True
            for (a, a_values), (b, b_values) in (
                ((kind, values), (other_kind, other_values)),
                ((other_kind, other_values), (kind, values)),
            ):
                still = any((a, value) in _STILL for value in a_values)
                moves = b in _MOVING_KINDS or any((b, value) in _MOVING for value in b_values)
                if still and moves:
                    return True
    return False
