"""Reading structured queries strictly: what cannot be meant is refused, by name, before anything is searched.

Unknown fields and values, reversed times and boxes, numbers that are not finite and lists that are too long
raise QueryError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from tubelet.errors import QueryError
from tubelet.index.structured_query import (
    MAX_CONDITIONS,
    MAX_NAMES,
    MAX_RELATIONS,
    MAX_STEPS,
    MAX_TEXT_CHARACTERS,
    MAX_VALUE_CHARACTERS,
    MAX_VALUES,
    MAX_WORDS,
    QUERY_ADAPTER,
    VALUES,
    Condition,
    Count,
    Kind,
    Query,
    Region,
    SearchFilter,
    TimeWindow,
)


def read_query(text: str | bytes) -> Query:
    """A query from JSON. Raises QueryError that names the first field that cannot be meant."""
    try:
        query = QUERY_ADAPTER.validate_json(text)
    except ValidationError as error:
        raise _explain(error) from None
    check_query(query)
    return query


def make_query_schema() -> dict[str, Any]:
    """The JSON schema of the structured form."""
    return QUERY_ADAPTER.json_schema()


def check_query(query: Query) -> None:
    """Raise QueryError for what no search can mean: unknown values, reversed times or boxes, too much."""
    _check_text("text", query.text, MAX_TEXT_CHARACTERS)
    _check_size("words", query.words, MAX_WORDS)
    for word in query.words:
        _check_text("words", word, MAX_VALUE_CHARACTERS)
    _check_conditions("conditions", query.conditions)
    _check_size("steps", query.steps, MAX_STEPS)
    for step in query.steps:
        _check_size("steps", step.conditions, MAX_CONDITIONS, least=1)
        _check_conditions("steps", step.conditions)
    _check_size("relations", query.relations, MAX_RELATIONS)
    for relation in query.relations:
        _check_conditions("relations", relation.conditions)
        _check_count(relation.count)
    _check_count(query.count)
    if query.time is not None:
        _check_time(query.time)
    if query.region is not None:
        _check_region(query.region)
    check_filter(query.filters)
    _check_text("like", query.like, MAX_VALUE_CHARACTERS)
    for name in ("object_vector", "text_vector"):
        if not all(math.isfinite(value) for value in getattr(query, name)):
            raise _refuse(f"{name} has numbers that are not finite", "finite numbers")


def check_filter(limits: SearchFilter) -> None:
    """Raise QueryError for limits that cannot be meant."""
    for item in fields(limits):
        value = getattr(limits, item.name)
        if isinstance(value, tuple):
            _check_size(item.name, value, MAX_NAMES)
            for name in value:
                _check_text(item.name, name, MAX_TEXT_CHARACTERS)
        elif isinstance(value, float | int) and not isinstance(value, bool) and not value >= 0:
            raise _refuse(f"{item.name} is {value}", "0 or more")
    for name, kind in _LISTED.items():
        for value in getattr(limits, name):
            if value not in VALUES[kind]:
                raise _refuse(f"{name} holds {value!r}", f"one of: {', '.join(VALUES[kind])}")
    _check_order("start_s", limits.start_s, "end_s", limits.end_s)
    _check_order("min_speed", limits.min_speed, "max_speed", limits.max_speed, may_equal=True)
    if limits.min_track_score is not None and not limits.min_track_score <= 1:
        raise _refuse(f"min_track_score is {limits.min_track_score}", "0 to 1")


_LISTED: Mapping[str, Kind] = {"colours": "colour", "sizes": "size", "turns": "turn", "headings": "heading"}


def _check_conditions(where: str, conditions: tuple[Condition, ...]) -> None:
    _check_size(where, conditions, MAX_CONDITIONS)
    for condition in conditions:
        _check_size(f"the values of {condition.kind!r}", condition.values, MAX_VALUES, least=1)
        known = VALUES.get(condition.kind)
        for value in condition.values:
            _check_text(f"a value of {condition.kind!r}", value, MAX_VALUE_CHARACTERS, least=1)
            if known is not None and value not in known:
                raise _refuse(f"{condition.kind!r} cannot be {value!r}", f"one of: {', '.join(known)}")


def _check_count(count: Count | None) -> None:
    if count is not None and not 1 <= count.least <= (count.least if count.most is None else count.most):
        raise _refuse(f"The count is {count.least} to {count.most}", "at least 1, and no reversed range")


def _check_time(time: TimeWindow) -> None:
    if time.start_s < 0 or (time.last_s is not None and time.last_s <= 0):
        raise _refuse(f"The time is {time}", "seconds from the start of the video, 0 or more")
    _check_order("start_s", time.start_s, "end_s", time.end_s)
    if time.since is not None and time.until is not None:
        if (time.since.tzinfo is None) != (time.until.tzinfo is None):
            raise _refuse(
                "Only one of since and until has an offset from UTC", "both with an offset, or none"
            )
        if time.since >= time.until:
            raise _refuse(f"since {time.since} is not before until {time.until}", "the earlier one first")


def _check_region(region: Region) -> None:
    x0, y0, x1, y1 = region.box
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise _refuse(
            f"The region's box is {list(region.box)}",
            "x0 < x1 and y0 < y1, as shares of the frame's width and height, 0 to 1",
        )


def _check_order(
    low_name: str, low: float | None, high_name: str, high: float | None, *, may_equal: bool = False
) -> None:
    least = low or 0.0
    if high is not None and not (high > least or (may_equal and high == least)):
        raise _refuse(f"{low_name} is {least:g} and {high_name} is {high:g}", "the smaller one first")


def _check_size(name: str, values: tuple[Any, ...], most: int, *, least: int = 0) -> None:
    if not least <= len(values) <= most:
        raise _refuse(f"There are {len(values)} of {name}", f"{least} to {most}")


def _check_text(name: str, text: str, most: int, *, least: int = 0) -> None:
    if not least <= len(text) <= most:
        raise _refuse(f"The length of {name} is {len(text)}", f"{least} to {most} characters")


def _refuse(found: str, expected: str) -> QueryError:
    return QueryError(found, expected=expected, do="correct the query")


def _explain(error: ValidationError) -> QueryError:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "query"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return QueryError(
            f"Unknown field {place}",
            expected="the fields of the structured query (docs/search.md)",
            do="correct or remove it",
        )
    return QueryError(
        f"The query's {place} cannot be used: {first['msg']}",
        expected=f"a structured query as JSON, with fields {', '.join(_list_fields())}",
        do="correct the query",
    )


def _list_fields() -> tuple[str, ...]:
    """Names of the query's fields."""
    return tuple(item.name for item in fields(Query))
