"""The rows that can meet a condition wholly, as a filter: they get a list of candidates of their own."""

from __future__ import annotations

from collections.abc import Iterable

from tubelet.categories import PARENTS
from tubelet.index.searching.judging import HEADING_ANGLES, match_category, match_colours
from tubelet.index.searching.where import Where, all_of, among, any_of, holds_any, is_true, none_of
from tubelet.index.sql import join_any, quote
from tubelet.index.structured_query import Condition

STOPPED = is_true("stopped")
MOVING = none_of(STOPPED)

_SIDE_COLUMNS = {"entry": "entry_side", "exit": "exit_side"}


def make_requirement(condition: Condition) -> Where | None:
    """A limit that every row meets which meets the condition wholly; None where it is a matter of degree."""
    meets = _make_positive(condition)
    if meets is None or not condition.negated:
        return meets
    return none_of(meets)


def _make_positive(condition: Condition) -> Where | None:
    kind, values = condition.kind, condition.values
    if kind == "colour":
        return None if condition.negated else holds_any("colours", match_colours(values))
    if kind == "word":
        return _contain_any(values)
    if kind == "category":
        labels = [label for label in PARENTS if any(match_category(value, label) == 1 for value in values)]
        return among("label", [*labels, *values] if condition.negated else [*labels, *values, ""])
    if kind == "turn":
        return any_of(_turn(value) for value in values)
    if kind == "heading":
        angles = [HEADING_ANGLES[value] for value in values]
        near = [
            name
            for name, own in HEADING_ANGLES.items()
            if any(abs((own - angle + 180) % 360 - 180) < 60 for angle in angles)
        ]
        return among("heading", near)
    if kind == "pace" and values in (("stopped",), ("moving",)):
        return STOPPED if values == ("stopped",) else MOVING
    if kind == "change" and len(values) == 1 and not condition.negated:
        return STOPPED if values == ("stops",) else MOVING
    if kind == "range":
        return any_of(map(is_true, values))
    if kind in _SIDE_COLUMNS and not condition.negated:
        return among(_SIDE_COLUMNS[kind], values)
    return None


def _turn(value: str) -> Where:
    turn = among("turn", [value])
    straight = all_of([turn, MOVING])
    assert straight is not None, "it has two parts"
    return straight if value == "none" else turn


def _contain_any(words: Iterable[str]) -> Where:
    return Where(join_any(f"contains(words, {quote(f' {word} ')})" for word in words))
