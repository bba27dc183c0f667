"""Verdicts on hits: what they do to scores, order and reasons, and what is said of hits without one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.index.factories import (
    MODELS,
    TEXT_DIMENSIONS,
    group_objects,
    make_attributes,
    make_moment,
    make_video,
)
from tubelet.errors import QueryError
from tubelet.index.query import parse_query
from tubelet.index.search import search_moments
from tubelet.index.searching.judging import UNKNOWN
from tubelet.index.searching.verifying import VERDICT_FLOOR, Verdict, make_question, verify_hits
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import Query
from tubelet.records import Hit


class FixedVerifier:
    """Gives verdicts by object, and remembers what it was asked."""

    name = "fixed@1"

    def __init__(self, verdicts: dict[str, Verdict]) -> None:
        self.verdicts = verdicts
        self.asked: list[tuple[str, list[str], float]] = []

    def verify(self, question: str, hits: Sequence[Hit], *, seconds: float) -> list[Verdict]:
        self.asked.append((question, [hit.object_id for hit in hits], seconds))
        return [self.verdicts[hit.object_id] for hit in hits]


@pytest.fixture
def hits(tmp_path: Path) -> list[Hit]:
    """Four red objects that score the same."""
    store = IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    moments = [make_moment(number, attributes=make_attributes("red")) for number in range(4)]
    store.replace_video(make_video(), group_objects(moments), moments, MODELS)
    return search_moments(store, parse_query("red"), None)


def test_verdicts_are_factors_and_what_has_none_counts_as_unknown(hits: list[Hit]) -> None:
    verifier = FixedVerifier(
        {
            "v1-o0": Verdict(0.0),
            "v1-o1": Verdict(None, "the source is gone"),
            "v1-o2": Verdict(0.95),
        }
    )
    ranked, notes = verify_hits(hits, parse_query("red"), verifier, count=3, seconds=7.0)
    assert verifier.asked == [(make_question(parse_query("red")), ["v1-o0", "v1-o1", "v1-o2"], 7.0)]
    assert [hit.object_id for hit in ranked] == ["v1-o2", "v1-o1", "v1-o3", "v1-o0"]
    share = 1 - VERDICT_FLOOR
    assert [hit.score / hits[0].score for hit in ranked] == pytest.approx(
        [VERDICT_FLOOR + share * p for p in (0.95, UNKNOWN, UNKNOWN, 0.0)]
    )
    assert [hit.verified for hit in ranked] == [0.95, None, None, 0.0]
    assert [hit.why[-1] for hit in ranked] == [
        "verified by fixed@1: yes 0.95",
        "not verified: the source is gone",
        "not verified: not asked",
        "verified by fixed@1: no 0.00",
    ]
    assert notes == ("1 of 3 hits were not verified: the source is gone",)


@pytest.mark.parametrize(("count", "seconds"), [(-1, 5.0), (101, 5.0), (5, 0.0), (5, float("nan"))])
def test_requests_that_cannot_be_meant_are_refused(hits: list[Hit], count: int, seconds: float) -> None:
    with pytest.raises(QueryError):
        verify_hits(hits, parse_query("red"), FixedVerifier({}), count=count, seconds=seconds)


def test_the_question_says_what_was_asked() -> None:
    assert '"red car turning left"' in make_question(parse_query("red car turning left."))
    structured = Query(
        conditions=parse_query("red car").conditions,
        steps=parse_query("stops, then turns left").steps,
        relations=parse_query("a car followed by a bus").relations,
    )
    assert '"red car, then stops, then turns left, followed by a bus"' in make_question(structured)
    assert '"what was asked for"' in make_question(Query())
