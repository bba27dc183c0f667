"""Search over real tables: filters against brute force, ranking, explanations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lancedb
import pytest
from lancedb.expr import col, lit

from tests.index.factories import (
    MODELS,
    TEXT_DIMENSIONS,
    group_objects,
    make_attributes,
    make_moment,
    make_motion,
    make_path,
    make_vector,
    make_video,
)
from tubelet.errors import QueryError
from tubelet.index.query import parse_query
from tubelet.index.search import search_moments
from tubelet.index.searching.scoring import TEXT_WEIGHT
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import SearchFilter
from tubelet.model.embedding import MiniLmEmbedder
from tubelet.records import Hit, Likelihoods, Moment

Find = Callable[..., list[Hit]]


@pytest.fixture
def store(tmp_path: Path) -> IndexStore:
    return IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)


@pytest.fixture(params=["exact", "by candidates"])
def find(request: pytest.FixtureRequest, store: IndexStore) -> Find:
    """Search the store in both ways; a small store must give the same answers."""

    def search(sentence: str, vector: Any = None, **options: Any) -> list[Hit]:
        options.setdefault("exact_max_rows", 50_000 if request.param == "exact" else 0)
        return search_moments(store, parse_query(sentence), vector, **options)

    return search


def fill(store: IndexStore, *moments: Moment) -> None:
    video = make_video()
    store.replace_video(video, group_objects(moments), moments, MODELS)


def list_objects(hits: list[Hit]) -> list[str]:
    return [hit.object_id for hit in hits]


def test_structure_outranks_the_likeness_of_texts(store: IndexStore, find: Find) -> None:
    wanted, other = make_vector(1), make_vector(2)
    fill(
        store,
        make_moment(1, attributes=make_attributes("teal", category="car"), text_vector=wanted),
        make_moment(2, attributes=make_attributes("red", category="car"), text_vector=other),
    )
    assert list_objects(find("red car", wanted)) == ["v1-o2", "v1-o1"]
    assert list_objects(find("teal car", other)) == ["v1-o1", "v1-o2"]


def test_turning_left_and_right_are_told_apart(store: IndexStore, find: Find) -> None:
    fill(
        store,
        make_moment(1, motion=make_motion(turn="right", turn_deg=-90.0), text_vector=make_vector(1)),
        make_moment(2, motion=make_motion(turn="left", turn_deg=90.0), text_vector=make_vector(2)),
        make_moment(3, motion=make_motion(turn="none"), text_vector=make_vector(1)),
    )
    assert list_objects(find("turning left", make_vector(1)))[0] == "v1-o2"
    assert list_objects(find("turning right", make_vector(2)))[0] == "v1-o1"
    assert list_objects(find("not turning", make_vector(2)))[0] == "v1-o3"


def test_an_unknown_category_lies_between_match_and_mismatch(store: IndexStore, find: Find) -> None:
    caption = "A red object moves."
    for_category = {"person": 1, "": 2, "car": 3}
    fill(
        store,
        *(
            make_moment(number, caption=caption, attributes=make_attributes("red", category=category))
            for category, number in for_category.items()
        ),
    )
    hits = find("red car", make_vector(9))
    assert list_objects(hits) == ["v1-o3", "v1-o2", "v1-o1"]
    assert hits[0].score > 2 * hits[1].score
    assert "category unknown" in hits[1].why


def test_a_caption_names_the_category_where_nothing_measured_it(store: IndexStore, find: Find) -> None:
    fill(
        store, make_moment(1, caption="A grey dog runs."), make_moment(2, caption="A grey van passes a dog.")
    )
    assert list_objects(find("a dog"))[0] == "v1-o1"
    assert list_objects(find("a van"))[0] == "v1-o2"


def test_each_object_comes_once_with_its_best_moment(store: IndexStore, find: Find) -> None:
    left, right = make_motion(turn="left", turn_deg=80.0), make_motion()
    fill(
        store,
        make_moment(1, object_id="a", motion=right, start_s=0.0, end_s=3.0),
        make_moment(2, object_id="a", motion=left, start_s=3.0, end_s=6.0),
        make_moment(3, object_id="a", motion=right, start_s=6.0, end_s=9.0),
        make_moment(4, object_id="b", motion=right, start_s=0.0, end_s=3.0),
    )
    hits = find("turning left", limit=5)
    assert [(hit.object_id, hit.moment_id) for hit in hits] == [("a", "v1-m2"), ("b", "v1-m4")]
    assert len(find("turning left", limit=1)) == 1


def test_a_hit_tells_the_whole_moment_and_why(store: IndexStore, find: Find) -> None:
    moment = make_moment(
        1,
        caption="A red car turns left.",
        attributes=make_attributes("red", "grey", category="car"),
        motion=make_motion(turn="left", turn_deg=90.0),
        path=make_path(1.0, 4.0, x=100, y=200),
    )
    fill(store, moment)
    (hit,) = find("a crimson sedan turning left, FedEx", moment.text_vector)
    assert (hit.moment_id, hit.caption, hit.attributes, hit.motion, hit.thumbnail) == (
        moment.moment_id,
        moment.caption,
        moment.attributes,
        moment.motion,
        moment.thumbnail,
    )
    assert hit.box == moment.path[2][1:]
    assert hit.why == (
        "colour red (75 % of the object)",
        "category car",
        "turns left",
        "words: turning, left",
        "text similarity 1.00",
    )
    assert hit.score == pytest.approx(1 - TEXT_WEIGHT + TEXT_WEIGHT * 0.5)  # of two text parts, "fedex" fails


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("blue", "colour red (75 % of the object), not blue"),
        ("not red", "colour red (75 % of the object), though not wanted"),
        ("truck", "category car, only partly truck"),
        ("person", "category car, not person"),
        ("tiny", "size medium, not tiny"),
        ("turns left", "goes straight, not left"),
        ("makes a u-turn", "goes straight, not a U-turn"),
        ("moving left", "moves right, not left"),
        ("moving right", "moves right"),
        ("parked", "moves at 1.0 own lengths/s, not stopped"),
        ("approaching", "keeps its distance, not approaching"),
        ("entering from the left", "enters at the left"),
        ("leaving at the top", "does not leave the frame, not top"),
        ("on the left", "at 11 % of the width, 30 % of the height"),
        ("in the first minute", "in the time that was asked"),
    ],
)
def test_reasons_say_what_matched_and_what_did_not(
    store: IndexStore, find: Find, sentence: str, reason: str
) -> None:
    fill(
        store,
        make_moment(
            1,
            attributes=make_attributes("red", category="car"),
            motion=make_motion(entry_side="left"),
        ),
    )
    assert reason in find(sentence)[0].why


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("red", "colour red (75 % of the object)"),
        ("pink", "colour red (75 % of the object), perhaps pink (30 %)"),
        ("blue", "colour red (75 % of the object), not blue"),
        ("turns left", "goes straight, perhaps left (25 %)"),
        ("turns right", "goes straight, not right"),
    ],
)
def test_reasons_say_what_an_object_may_be(store: IndexStore, find: Find, sentence: str, reason: str) -> None:
    likely = Likelihoods(("red", "pink"), (0.6, 0.3), ("none", "left"), (0.7, 0.25))
    fill(store, make_moment(1, attributes=make_attributes("red"), likely=likely))
    assert reason in find(sentence)[0].why


def test_scores_stay_within_bounds_and_respect_the_threshold(store: IndexStore, find: Find) -> None:
    fill(
        store,
        *(
            make_moment(number, attributes=make_attributes(name))
            for number, name in enumerate(["red", "blue"])
        ),
    )
    scores = [hit.score for hit in find("red", make_vector(5))]
    assert 1 >= scores[0] > 0.5 > scores[1] > 0
    assert list_objects(find("red", make_vector(5), min_score=0.5)) == ["v1-o0"]
    assert find("purple elephant on the moon", make_vector(5), min_score=1.0) == []


def test_a_sentence_without_known_words_is_searched_by_meaning_and_words(
    store: IndexStore, find: Find
) -> None:
    fill(
        store,
        make_moment(1, caption="Ein Lieferwagen biegt ab.", text_vector=make_vector(1)),
        make_moment(2, caption="A courier with parcels.", text_vector=make_vector(2)),
    )
    assert list_objects(find("ein lieferwagen", make_vector(2)))[0] == "v1-o1"
    assert list_objects(find("something entirely unseen", make_vector(2)))[0] == "v1-o2"
    assert list_objects(find("🚗", make_vector(1)))[0] == "v1-o1"


def test_a_time_alone_gives_everything_in_it_in_order(store: IndexStore, find: Find) -> None:
    fill(
        store,
        *(make_moment(number, start_s=50.0 - 10 * number, end_s=55.0 - 10 * number) for number in range(6)),
    )
    hits = find("between 10 s and 30 s", make_vector(1))
    assert [hit.start_s for hit in hits] == [10.0, 20.0]
    assert {hit.score for hit in hits} == {1.0}
    assert [hit.start_s for hit in find("in the last 12 seconds")] == [50.0]


def test_videos_that_are_being_written_are_not_found(store: IndexStore, find: Find, tmp_path: Path) -> None:
    fill(store, make_moment(1))
    assert len(find("grey")) == 1
    lancedb.connect(tmp_path).open_table("videos").delete(col("video_id") == lit("v1"))
    assert find("grey") == []


def test_rows_are_found_before_and_after_optimizing(store: IndexStore, find: Find) -> None:
    for number in range(3):
        video = make_video(f"v{number}")
        moments = [make_moment(number, video, caption=f"A zebra crosses, number {number}.")]
        store.replace_video(video, group_objects(moments), moments, MODELS)
        if number == 1:
            store.optimize()
    assert len(find("zebra")) == 3
    store.remove_video("v0")
    assert len(find("zebra")) == 2


def test_an_empty_index_has_no_hits(find: Find) -> None:
    assert find("red car", make_vector(1)) == []


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0},
        {"limit": 10_001},
        {"min_score": -0.1},
        {"min_score": float("nan")},
        {"vector": (1.0,)},
        {"vector": (float("nan"),) * TEXT_DIMENSIONS},
    ],
)
def test_requests_that_cannot_be_meant_are_refused(
    store: IndexStore, find: Find, options: dict[str, Any]
) -> None:
    with pytest.raises(QueryError):
        find("red", **options)


def test_hostile_text_in_query_and_filter_is_only_text(store: IndexStore, find: Find) -> None:
    fill(store, make_moment(1, caption="It's a 'quoted' caption"))
    for text in ("'; DROP TABLE moments; --", 'quoted" OR "1"="1', "caption:* AND (", "\\x00%_"):
        find(text, make_vector(1))
        assert find("caption", within=SearchFilter(video_ids=(text,))) == []
        assert find("caption", within=SearchFilter(uris=(text,))) == []
    assert len(find("caption")) == 1


def test_measured_sentence_vectors_alone_confuse_left_and_right_but_search_does_not(tmp_path: Path) -> None:
    embedder = MiniLmEmbedder()
    captions = ["A red car turns right.", "A red car turns left.", "A teal car turns left.", "A dog sits."]
    vectors = [tuple(vector.tolist()) for vector in embedder.embed(captions)]
    store = IndexStore.open(tmp_path, create=True, text_dimensions=384, object_dimensions=0)
    fill(
        store,
        *(
            make_moment(
                number, caption=caption, attributes=make_attributes(colour), motion=motion, text_vector=vector
            )
            for number, (caption, colour, motion, vector) in enumerate(
                zip(
                    captions,
                    ["red", "red", "teal", "brown"],
                    [make_motion(turn=turn) for turn in ("right", "left", "left", "none")],
                    vectors,
                    strict=True,
                )
            )
        ),
    )
    query = parse_query("find the red car turning left")
    hits = search_moments(store, query, embedder.embed([query.text])[0])
    assert hits[0].object_id == "v1-o1"
    assert hits[0].score > 0.9
    assert hits[1].score < 0.4
