"""The structured form of a query as JSON: what is taken, and what is refused by name."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tubelet.errors import QueryError
from tubelet.index.query_checks import check_filter, make_query_schema, read_query
from tubelet.index.structured_query import (
    VALUES,
    Condition,
    Count,
    Query,
    Region,
    Relation,
    SearchFilter,
    Step,
    TimeWindow,
)

WHOLE: dict[str, Any] = {
    "text": "a red car",
    "conditions": [
        {"kind": "colour", "values": ["red", "orange"]},
        {"kind": "word", "values": ["helmet"], "negated": True},
        {"kind": "category", "values": ["zeppelin"]},
    ],
    "steps": [
        {"conditions": [{"kind": "change", "values": ["stops"]}]},
        {"conditions": [{"kind": "turn", "values": ["left"]}], "same_moment": True},
    ],
    "relations": [
        {"kind": "behind", "conditions": [{"kind": "category", "values": ["truck"]}], "count": {"least": 2}}
    ],
    "count": {"least": 2, "most": 3},
    "time": {"start_s": 1, "end_s": 2.5, "since": "2026-05-01T10:00:00", "until": "2026-05-02T00:00:00"},
    "region": {"box": [0, 0.5, 0.25, 1], "how": "touches"},
    "words": ["fedex"],
    "filters": {"video_ids": ["v1"], "labels": ["car"], "stopped": False, "min_speed": 0.5},
    "like": "o1",
    "object_vector": [0.5, -0.5],
}


def test_everything_that_can_be_said_is_read_and_written_back() -> None:
    query = read_query(json.dumps(WHOLE))
    assert query.conditions[0] == Condition("colour", ("red", "orange"))
    assert query.steps[1] == Step((Condition("turn", ("left",)),), same_moment=True)
    assert query.relations == (
        Relation("behind", (Condition("category", ("truck",)),), count=Count(least=2, most=None)),
    )
    assert query.time is not None
    assert query.time.end_s == 2.5
    assert query.region == Region((0.0, 0.5, 0.25, 1.0), "touches")
    assert query.filters == SearchFilter(video_ids=("v1",), labels=("car",), stopped=False, min_speed=0.5)
    assert read_query(json.dumps(query.to_json())) == query
    assert query.find("turn") == ("left",)


def test_nothing_is_asked_by_limits_alone() -> None:
    assert read_query('{"time": {"end_s": 5}, "filters": {"uris": ["a"]}}').asks_nothing
    assert not read_query('{"text": "a"}').asks_nothing


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": "red"}, "Unknown field colour"),
        ({"conditions": [{"kind": "colour", "values": ["red"], "weight": 2}]}, "conditions.0.weight"),
        ({"conditions": [{"kind": "smell", "values": ["good"]}]}, "conditions.0.kind"),
        ({"conditions": [{"kind": "colour", "values": ["mauve"]}]}, "'mauve'"),
        ({"conditions": [{"kind": "colour", "values": []}]}, "values of 'colour'"),
        ({"conditions": [{"kind": "colour", "values": "red"}]}, "conditions.0.values"),
        ({"conditions": [{"kind": "category", "values": [""]}]}, "a value of 'category'"),
        ({"steps": [{"conditions": []}]}, "0 of steps"),
        ({"relations": [{"kind": "near"}]}, "relations.0.kind"),
        ({"relations": [{"kind": "behind", "count": {"least": 0}}]}, "count is 0"),
        ({"count": {"least": 3, "most": 2}}, "count is 3 to 2"),
        ({"time": {"start_s": 5, "end_s": 5}}, "start_s is 5"),
        ({"time": {"start_s": -1}}, "start_s=-1"),
        ({"time": {"last_s": 0}}, "last_s=0"),
        ({"time": {"since": "2026-05-02T00:00:00", "until": "2026-05-01T00:00:00"}}, "since 2026-05-02"),
        ({"time": {"since": "2026-05-01T00:00:00Z", "until": "2026-05-02T00:00:00"}}, "offset"),
        ({"time": {"since": "first of May"}}, "time.since"),
        ({"region": {"box": [0.5, 0, 0.4, 1]}}, "region's box"),
        ({"region": {"box": [0, 0, 1.5, 1]}}, "region's box"),
        ({"region": {"box": [0, 0, 1]}}, "region.box"),
        ({"region": {"box": [0, 0, 1, 1], "how": "over"}}, "region.how"),
        ({"filters": {"where": "1=1"}}, "Unknown field filters.where"),
        ({"filters": {"turns": ["around"]}}, "'around'"),
        ({"filters": {"start_s": 9, "end_s": 3}}, "start_s is 9"),
        ({"filters": {"min_speed": 3, "max_speed": 1}}, "min_speed is 3"),
        ({"filters": {"min_track_score": 1.5}}, "min_track_score"),
        ({"filters": {"stopped": "yes"}}, "filters.stopped"),
        ({"object_vector": [1, "x"]}, "object_vector.1"),
        ({"text": "x" * 10_001}, "length of text"),
        ({"words": ["a"] * 65}, "65 of words"),
        ({"conditions": [{"kind": "colour", "values": ["red"]}] * 65}, "65 of conditions"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(QueryError) as caught:
        read_query(json.dumps(WHOLE | change))
    assert named in str(caught.value)
    assert caught.value.do


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"red car"', '{"object_vector": [1e999]}', "\xff"])
def test_what_is_no_query_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        read_query(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf") * -1, -0.5])
def test_limits_made_by_programs_are_checked_too(value: float) -> None:
    with pytest.raises(QueryError, match="min_duration_s"):
        check_filter(SearchFilter(min_duration_s=value))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.dictionaries(st.sampled_from([*WHOLE, "text_vector", "colour"]), JSON, max_size=4)


@settings(max_examples=200, deadline=None)
@given(FIELDS)
def test_any_json_is_read_or_refused_and_never_breaks(value: dict[str, Any]) -> None:
    try:
        query = read_query(json.dumps(value))
    except QueryError:
        return
    assert read_query(json.dumps(query.to_json())) == query


CONDITIONS = st.sampled_from(sorted(VALUES)).flatmap(
    lambda kind: st.builds(
        Condition,
        st.just(kind),
        st.lists(st.sampled_from(VALUES[kind]), min_size=1, max_size=3, unique=True).map(tuple),
        st.booleans(),
        st.text(max_size=5),
    )
)
QUERIES = st.builds(
    Query,
    text=st.text(max_size=20),
    conditions=st.lists(CONDITIONS, max_size=4).map(tuple),
    steps=st.lists(
        st.builds(Step, st.lists(CONDITIONS, min_size=1, max_size=2).map(tuple), st.booleans()), max_size=3
    ).map(tuple),
    relations=st.lists(
        st.builds(
            Relation,
            st.sampled_from(["behind", "next-to", "with"]),
            st.lists(CONDITIONS, max_size=2).map(tuple),
            st.booleans(),
            st.none() | st.builds(Count, st.integers(1, 3)),
        ),
        max_size=2,
    ).map(tuple),
    time=st.none() | st.builds(TimeWindow, st.floats(0, 50), st.floats(51, 100), st.none() | st.floats(1, 9)),
)


@settings(max_examples=100, deadline=None)
@given(QUERIES)
def test_queries_survive_being_written_and_read(query: Query) -> None:
    assert read_query(json.dumps(query.to_json())) == query


def test_the_schema_names_every_field_and_forbids_others() -> None:
    schema = make_query_schema()
    assert set(schema["properties"]) == {field.name for field in fields(Query)}
    assert schema["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())
