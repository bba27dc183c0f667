"""Pages: every object once, in one order, of one version; and searches by look, place and time alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.index.factories import (
    MODELS,
    TEXT_DIMENSIONS,
    group_objects,
    make_attributes,
    make_moment,
    make_path,
    make_vector,
    make_video,
)
from tubelet.errors import QueryError
from tubelet.index.query import parse_query
from tubelet.index.search import SearchPage, search_page
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import Query, Region, SearchFilter
from tubelet.records import Moment

OBJECT_DIMENSIONS = 6


@pytest.fixture
def store(tmp_path: Path) -> IndexStore:
    return IndexStore.open(
        tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=OBJECT_DIMENSIONS
    )


def fill(store: IndexStore, *moments: Moment, video_id: str = "v1") -> None:
    store.replace_video(make_video(video_id), group_objects(moments), moments, MODELS)


def fill_many(store: IndexStore, count: int = 57) -> None:
    """Objects of which many score the same; every third has two moments."""
    video = make_video()
    moments = []
    for number in range(count):
        fields: dict[str, Any] = {
            "object_id": f"o{number:02d}",
            "attributes": make_attributes("red" if number % 2 else "blue"),
            "text_vector": make_vector(number % 5),
            "path": make_path(x=float(20 * number)),
        }
        moments.append(make_moment(2 * number, video, start_s=float(number % 7), end_s=9.0, **fields))
        if number % 3 == 0:
            moments.append(make_moment(2 * number + 1, video, start_s=10.0, end_s=12.0, **fields))
    fill(store, *moments)


def turn_pages(store: IndexStore, query: Query, limit: int, **options: Any) -> list[SearchPage]:
    pages = [search_page(store, query, make_vector(1), limit=limit, **options)]
    while pages[-1].next_cursor:
        assert len(pages) < 100
        cursor = pages[-1].next_cursor
        pages.append(search_page(store, query, make_vector(1), limit=limit, cursor=cursor, **options))
    return pages


@pytest.mark.parametrize("exact_max_rows", [50_000, 0], ids=["exact", "by candidates"])
@pytest.mark.parametrize("sentence", ["red", "red car next to a blue object", "after 1 s", "stops"])
def test_pages_together_are_one_long_page(store: IndexStore, sentence: str, exact_max_rows: int) -> None:
    fill_many(store)
    query = parse_query(sentence)
    whole = search_page(store, query, make_vector(1), limit=1000, exact_max_rows=exact_max_rows)
    pages = turn_pages(store, query, 10, exact_max_rows=exact_max_rows)
    ids = [hit.object_id for page in pages for hit in page.hits]
    assert ids == [hit.object_id for hit in whole.hits]
    assert len(ids) == len(set(ids)) == 57
    assert [len(page.hits) for page in pages] == [10, 10, 10, 10, 10, 7]
    assert whole.next_cursor == ""


def test_pages_end_at_the_least_score(store: IndexStore) -> None:
    fill_many(store)
    pages = turn_pages(store, parse_query("red"), 10, min_score=0.6)
    assert [len(page.hits) for page in pages] == [10, 10, 8]


def test_a_page_says_when_only_the_best_candidates_were_ranked(
    store: IndexStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tubelet.index.search.MIN_CANDIDATES", 20)
    monkeypatch.setattr("tubelet.index.search.CANDIDATES_A_HIT", 1)
    fill_many(store)
    pages = turn_pages(store, parse_query("purple haze"), 5, exact_max_rows=0)
    assert not pages[-1].is_exact
    assert pages[0].notes == ()
    assert pages[-1].notes[-1].endswith("of 76 moments were ranked: narrow the query")
    ids = [hit.object_id for page in pages for hit in page.hits]
    assert len(ids) == len(set(ids)) < 57


def test_a_cursor_goes_with_its_query_and_its_index(store: IndexStore) -> None:
    fill_many(store)
    red = parse_query("red")
    cursor = search_page(store, red, make_vector(1), limit=5).next_cursor
    again = [search_page(store, red, make_vector(1), limit=5, cursor=cursor) for _ in range(2)]
    assert again[0] == again[1]
    for query, options in (
        (parse_query("blue"), {}),
        (red, {"min_score": 0.1}),
        (red, {"within": SearchFilter(video_ids=("v1",))}),
    ):
        with pytest.raises(QueryError, match="another query"):
            search_page(store, query, make_vector(1), limit=5, cursor=cursor, **options)
    with pytest.raises(QueryError, match="another query"):
        search_page(store, red, make_vector(2), limit=5, cursor=cursor)


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "!!!!",
        "é",
        "A" * 5000,
        base64.urlsafe_b64encode(b"[[[[").decode(),
        *(
            base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
            for values in (
                [],
                {"a": 1},
                [1, "d", "v", -5, 10],
                [1, "d", "v", 5, 10**9],
                [1, "d", "v", "5", 10],
                [2, "d", "v", 5, 10],
                [1, 7, "v", 5, 10],
                [1, "d", "v", True, 10],
            )
        ),
    ],
)
def test_what_is_no_cursor_is_refused(store: IndexStore, cursor: str) -> None:
    fill_many(store, 3)
    with pytest.raises(QueryError, match="cursor"):
        search_page(store, parse_query("red"), make_vector(1), cursor=cursor)


def test_objects_that_look_like_a_vector_or_an_object(store: IndexStore) -> None:
    wanted, near = np.eye(OBJECT_DIMENSIONS)[0], np.eye(OBJECT_DIMENSIONS)[0] + 0.3
    fill(
        store,
        make_moment(1, object_vector=tuple(wanted.tolist()), attributes=make_attributes("red")),
        make_moment(2, object_vector=tuple(near.tolist()), attributes=make_attributes("blue")),
        make_moment(3, object_vector=tuple((-wanted).tolist()), attributes=make_attributes("red")),
        make_moment(4, object_vector=()),
    )
    for exact_max_rows in (50_000, 0):
        page = search_page(store, Query(object_vector=tuple(wanted)), exact_max_rows=exact_max_rows)
        assert [hit.object_id for hit in page.hits] == ["v1-o1", "v1-o2", "v1-o3"]
        assert page.hits[0].score == pytest.approx(1.0)
        assert page.hits[2].score == 0
        assert "looks alike 1.00" in page.hits[0].why

        like = search_page(store, Query(like="v1-o1"), exact_max_rows=exact_max_rows)
        assert [hit.object_id for hit in like.hits] == ["v1-o2", "v1-o3"]

        blue = Query(text="blue", conditions=parse_query("blue").conditions, like="v1-o1")
        mixed = search_page(store, blue, make_vector(9), exact_max_rows=exact_max_rows)
        assert mixed.hits[0].object_id == "v1-o2"
        assert mixed.hits[0].score > 2 * mixed.hits[1].score


@pytest.mark.parametrize(
    ("query", "named"),
    [
        (Query(like="nobody"), "no object 'nobody'"),
        (Query(like="v1-o4"), "No vector"),
        (Query(object_vector=(1.0, 2.0)), "6 finite numbers"),
        (Query(object_vector=(float("nan"),) * OBJECT_DIMENSIONS), "not finite"),
        (Query(text_vector=(1.0,)), "8 finite numbers"),
        (Query(like="v1-o1", object_vector=(1.0,) * OBJECT_DIMENSIONS), "one of them"),
    ],
)
def test_looks_that_cannot_be_meant_are_refused(store: IndexStore, query: Query, named: str) -> None:
    fill(store, make_moment(1, object_vector=(1.0,) * OBJECT_DIMENSIONS), make_moment(4, object_vector=()))
    with pytest.raises(QueryError, match=named):
        search_page(store, query)


def test_an_index_without_object_vectors_says_so(tmp_path: Path) -> None:
    store = IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    fill(store, make_moment(1))
    with pytest.raises(QueryError, match="keeps no object vectors"):
        search_page(store, Query(object_vector=(1.0,)))
    with pytest.raises(QueryError, match="No vector"):
        search_page(store, Query(like="v1-o1"))


def test_a_drawn_box_and_a_time_alone(store: IndexStore) -> None:
    fill(
        store,
        *(
            make_moment(
                number,
                start_s=10.0 - number,
                end_s=14.0,
                path=make_path(10.0 - number, 14.0, x=200.0 * number),
            )
            for number in range(6)
        ),
    )
    right_half = Query(region=Region((0.5, 0.0, 1.0, 1.0)))
    assert [hit.object_id for hit in search_page(store, right_half).hits] == ["v1-o5", "v1-o4", "v1-o3"]
    touching = Query(region=Region((0.5, 0.0, 1.0, 1.0), "touches"))
    assert len(search_page(store, touching).hits) == 3
    narrow = Query(region=Region((0.0, 0.0, 0.06, 1.0), "inside"))
    assert search_page(store, narrow).hits == ()
    page = search_page(store, Query(region=Region((0.0, 0.0, 0.25, 1.0))), exact_max_rows=0)
    assert [(hit.object_id, hit.score) for hit in page.hits] == [("v1-o1", 1.0), ("v1-o0", 1.0)]
    assert "in the region that was asked" in page.hits[0].why
