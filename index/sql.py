"""Conditions of LanceDB as text, made safely: names of our own columns, and literals that `quote` makes.

LanceDB's expressions cannot say all that is needed (lists, structs, merges), and turning them into SQL is not
safe: `Expr.to_sql` of LanceDB 0.40 leaves a quote after a backslash as it is, which ends the literal early.
"""

from __future__ import annotations

from collections.abc import Iterable


def quote(text: str) -> str:
    """A string literal of SQL. Only quotes mean something in one, and doubled they stand for themselves."""
    return "'" + text.replace("'", "''") + "'"


def match_name(column: str, name: str) -> str:
    """The rows whose column, one of ours, holds this name."""
    return f"{column} = {quote(name)}"


def make_name_filter(column: str, names: Iterable[str]) -> str:
    """The rows whose column, one of ours, holds one of these names, of which there is at least one."""
    return f"{column} IN ({', '.join(map(quote, names))})"


def join_all(parts: Iterable[str | None]) -> str | None:
    """All of the conditions; None when there are none."""
    given = [part for part in parts if part is not None]
    return " AND ".join(f"({part})" for part in given) if given else None


def join_any(parts: Iterable[str]) -> str:
    """Any of the conditions, of which there is at least one."""
    return " OR ".join(f"({part})" for part in parts)
