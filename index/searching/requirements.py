"""The rows that can meet a condition wholly, as a filter: they get a list of candidates of their own."""

from __future__ import annotations

from collections.abc import Iterable

from tubelet.categories import PARENTS
from tubelet.index.searching.judging import HEADING_ANGLES, match_category, match_colours
from tubelet.index.sql import join_any, make_name_filter, quote
from tubelet.index.structured_query import Condition

_SIDE_COLUMNS = {"entry": "entry_side", "exit": "exit_side"}


def make_requirement(condition: Condition) -> str | None:
    """SQL that every row meets which meets the condition wholly; None where it is a matter of degree."""
    meets = _make_positive(condition)
    if meets is None or not condition.negated:
        return meets
    return f"NOT ({meets})"


def _make_positive(condition: Condition) -> str | None:
    kind, values = condition.kind, condition.values
    if kind == "colour":
        names = ", ".join(quote(name) for name in sorted(match_colours(values)))
        return None if condition.negated else f"array_has_any(colours, [{names}])"
    if kind == "word":
        return _contain_any(values)
    if kind == "category":
        labels = [label for label in PARENTS if any(match_category(value, label) == 1 for value in values)]
        return make_name_filter("label", [*labels, *values] if condition.negated else [*labels, *values, ""])
    if kind == "turn":
        return join_any(
            "(turn = 'none' AND NOT stopped)" if value == "none" else f"turn = {quote(value)}"
            for value in values
        )
    if kind == "heading":
        angles = [HEADING_ANGLES[value] for value in values]
        near = [
            name
            for name, own in HEADING_ANGLES.items()
            if any(abs((own - angle + 180) % 360 - 180) < 60 for angle in angles)
        ]
        return make_name_filter("heading", near)
    if kind == "pace" and values in (("stopped",), ("moving",)):
        return "stopped" if values == ("stopped",) else "NOT stopped"
    if kind == "change" and len(values) == 1 and not condition.negated:
        return "stopped" if values == ("stops",) else "NOT stopped"
    if kind == "range":
        return join_any(f"{value}" for value in values)
    if kind in _SIDE_COLUMNS and not condition.negated:
        return make_name_filter(_SIDE_COLUMNS[kind], values)
    return None


def _contain_any(words: Iterable[str]) -> str:
    return join_any(f"contains(words, {quote(f' {word} ')})" for word in words)
