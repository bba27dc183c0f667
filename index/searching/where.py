"""A limit on moments, said twice: as SQL for LanceDB, and as a test of the columns that are held in memory.

Both say the same of every row: tests compare each with brute force. No text of a user becomes SQL: it is
written from checked numbers, names of our own columns, and literals that `quote` makes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tubelet.index.held_columns import HeldColumns, Mask
from tubelet.index.sql import join_all, join_any, make_name_filter, quote

Measure = Callable[[HeldColumns], NDArray[Any]]

_OPERATORS: dict[str, Callable[[NDArray[Any], float], Mask]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Where:
    """Which moments pass. `test` is None where only the store can tell."""

    sql: str
    test: Callable[[HeldColumns], Mask] | None = None


NOTHING = Where("false", lambda held: np.zeros(len(held), dtype=bool))


def all_of(parts: Iterable[Where | None]) -> Where | None:
    """All of the limits; None when there are none."""
    given = [part for part in parts if part is not None]
    sql = join_all(part.sql for part in given)
    return None if sql is None else Where(sql, _join_tests(given, np.logical_and))


def any_of(parts: Iterable[Where]) -> Where:
    """Any of the limits, of which there is at least one."""
    given = list(parts)
    return Where(join_any(part.sql for part in given), _join_tests(given, np.logical_or))


def none_of(part: Where) -> Where:
    """What does not pass, of a limit on columns that are never null."""
    test = part.test
    return Where(f"NOT ({part.sql})", None if test is None else lambda held: ~test(held))


def among(column: str, names: Sequence[str]) -> Where:
    """The rows whose column, one of ours, holds one of these names, of which there is at least one."""
    sql = make_name_filter("`size`" if column == "size" else column, names)
    return Where(sql, (lambda held: held.is_among(column, names)) if HeldColumns.has(column) else None)


def holds_any(column: str, names: Iterable[str]) -> Where:
    """The rows whose column of lists holds any of these names."""
    wanted = sorted(names)
    listed = ", ".join(map(quote, wanted))
    return Where(f"array_has_any({column}, [{listed}])", lambda held: held.lists_any(column, wanted))


def is_true(column: str) -> Where:
    """The rows whose column of truths is true."""
    return Where(column, lambda held: held.numbers(column) > 0)


def compare(expression: str, sign: str, number: float, measure: Measure | None = None) -> Where:
    """The rows whose expression stands so to a number; `measure` gives it where it is no column."""
    found = measure or (lambda held: held.numbers(expression))
    compared = _OPERATORS[sign]
    return Where(f"{expression} {sign} {float(number)!r}", lambda held: compared(found(held), float(number)))


def _join_tests(
    parts: Sequence[Where], join: Callable[[Mask, Mask], Mask]
) -> Callable[[HeldColumns], Mask] | None:
    tests = [part.test for part in parts if part.test is not None]
    if len(tests) < len(parts):
        return None
    return lambda held: reduce(join, (test(held) for test in tests))
