"""Filters and prefilters against brute force over random moments."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from tubelet.index.query import Condition, ParsedQuery, parse_query
from tubelet.index.searching.scoring import judge
from tubelet.index.search import SearchFilter, make_requirement, search_moments
from tubelet.index.store import IndexStore
from tubelet.records import Moment

VIDEOS = [make_video(f"v{number}", duration_s=40.0 + 10 * number) for number in range(4)]
COLOUR_NAMES = ("red", "orange", "grey", "blue", "white")


class Crowd(NamedTuple):
    """A store, and the moments that are in it."""

    store: IndexStore
    moments: list[Moment]

    def __repr__(self) -> str:
        return f"a crowd of {len(self.moments)} moments"


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    """200 random moments in four videos, some of them optimized and some not."""
    random = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp("crowd")
    store = IndexStore.open(folder, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    everything: list[Moment] = []
    for video in VIDEOS:
        moments = [make_random_moment(number, video, random) for number in range(50)]
        store.replace_video(video, group_objects(moments), moments, MODELS)
        everything += moments
        if video.video_id == "v2":
            store.optimize()
    return Crowd(store, everything)


def make_random_moment(number: int, video: Any, random: np.random.Generator) -> Moment:
    start_s = round(float(random.uniform(0, video.duration_s - 8)), 1)
    stopped = bool(random.random() < 0.25)
    heading_deg = float(random.uniform(0, 360))
    names = ("right", "up-right", "up", "up-left", "left", "down-left", "down", "down-right")
    sides = (None, "left", "right", "top", "bottom")
    return make_moment(
        number,
        video,
        start_s=start_s,
        end_s=round(start_s + float(random.uniform(0.5, 7)), 1),
        caption=str(random.choice(["A zebra.", "A quick fox.", "Something moves.", "A red zebra."])),
        text_vector=make_vector(int(random.integers(1000))),
        path=make_path(0, 1, x=float(random.uniform(0, 1100)), y=float(random.uniform(0, 650))),
        attributes=make_attributes(
            *random.choice(COLOUR_NAMES, size=int(random.integers(1, 3)), replace=False).tolist(),
            size=str(random.choice(["tiny", "small", "medium", "large"])),
            category=str(random.choice(["", "car", "sedan", "truck", "person", "zeppelin"])),
        ),
        motion=make_motion(
            heading="none" if stopped else names[round(heading_deg / 45) % 8],
            heading_deg=None if stopped else heading_deg,
            speed=0.0 if stopped else float(random.uniform(0.2, 4)),
            turn=str(random.choice(["left", "right", "u", "none"])),
            stopped=stopped,
            approaching=bool(random.random() < 0.5),
            leaving=bool(random.random() < 0.5),
            entry_side=sides[int(random.integers(5))],
            exit_side=sides[int(random.integers(5))],
        ),
    )


SECONDS = st.none() | st.floats(0, 80, allow_nan=False).map(lambda value: round(value, 1))
FILTERS = st.builds(
    SearchFilter,
    video_ids=st.lists(st.sampled_from(["v0", "v1", "v2", "v3", "v4"]), max_size=3).map(tuple),
    uris=st.lists(st.sampled_from([video.uri for video in VIDEOS]), max_size=3).map(tuple),
    start_s=SECONDS,
    end_s=SECONDS,
)
SENTENCES = st.sampled_from(
    ["zebra", "red car", "turning left after 10 s", "fox in the last 20 seconds", "not red before 30 s", "🚗"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(within=FILTERS, sentence=SENTENCES, exact=st.booleans(), with_vector=st.booleans())
def test_filters_equal_brute_force(
    crowd: Crowd,
    within: SearchFilter,
    sentence: str,
    exact: bool,
    with_vector: bool,
) -> None:
    store, moments = crowd
    query = parse_query(sentence)
    hits = search_moments(
        store,
        query,
        make_vector(3) if with_vector else None,
        limit=1000,
        within=within,
        exact_max_rows=1000 if exact else 0,
    )
    allowed = [moment for moment in moments if is_allowed(moment, within, query)]
    assert {hit.moment_id for hit in hits} == {moment.moment_id for moment in allowed}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def is_allowed(moment: Moment, within: SearchFilter, query: ParsedQuery) -> bool:
    if within.video_ids and moment.video_id not in within.video_ids:
        return False
    if within.uris and moment.uri not in within.uris:
        return False
    starts, ends = [within.start_s or 0.0], [within.end_s]
    if query.time:
        starts.append(query.time.start_s)
        ends.append(query.time.end_s)
        if query.time.last_s is not None:
            (duration_s,) = {video.duration_s for video in VIDEOS if video.video_id == moment.video_id}
            starts.append(duration_s - query.time.last_s)
    return moment.end_s >= max(starts) and all(end is None or moment.start_s < end for end in ends)


CONDITIONS = st.one_of(
    st.tuples(st.just("colour"), st.sets(st.sampled_from(COLOUR_NAMES), min_size=1, max_size=2)),
    st.tuples(
        st.just("category"), st.sets(st.sampled_from(["car", "truck", "vehicle", "person"]), min_size=1)
    ),
    st.tuples(st.just("size"), st.sets(st.sampled_from(["tiny", "large"]), min_size=1)),
    st.tuples(st.just("turn"), st.sets(st.sampled_from(["left", "right", "u", "none"]), min_size=1)),
    st.tuples(st.just("heading"), st.sets(st.sampled_from(["left", "up", "down-right"]), min_size=1)),
    st.tuples(st.just("pace"), st.sets(st.sampled_from(["stopped", "moving", "fast", "slow"]), min_size=1)),
    st.tuples(st.just("range"), st.sets(st.sampled_from(["approaching", "leaving"]), min_size=1)),
    st.tuples(st.sampled_from(["entry", "exit"]), st.sets(st.sampled_from(["left", "top"]), min_size=1)),
    st.tuples(st.just("place_x"), st.sets(st.sampled_from(["left", "centre"]), min_size=1)),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind_and_values=CONDITIONS, negated=st.booleans())
def test_prefilters_never_leave_out_a_row_that_meets_the_condition(
    crowd: Crowd, kind_and_values: tuple[Any, set[str]], negated: bool
) -> None:
    store, _ = crowd
    condition = Condition(kind_and_values[0], tuple(sorted(kind_and_values[1])), negated)
    requirement = make_requirement(condition)
    if requirement is None:
        return
    table = store.moments.to_arrow()
    judged = judge(condition, table)
    meeting = {
        moment_id
        for moment_id, value in zip(table["moment_id"].to_pylist(), judged, strict=True)
        if np.isnan(value) or value >= 0.999
    }
    selected = store.moments.search().where(requirement).select(["moment_id"]).limit(None).to_arrow()
    assert meeting <= set(selected["moment_id"].to_pylist())


def test_candidates_agree_with_exact_search_at_the_top(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = crowd
    monkeypatch.setattr("tubelet.index.search.MIN_CANDIDATES", 20)
    monkeypatch.setattr("tubelet.index.search.CANDIDATES_A_HIT", 4)
    for sentence in (
        "red car turning left",
        "a person on the left",
        "stopped truck",
        "zebra",
        "fox moving up",
    ):
        query = parse_query(sentence)
        exact = search_moments(store, query, make_vector(3), limit=3)
        quick = search_moments(store, query, make_vector(3), limit=3, exact_max_rows=0)
        assert [hit.moment_id for hit in quick] == [hit.moment_id for hit in exact]


def test_words_are_found_among_the_filtered_rows_however_many_others_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tubelet.index.search.MIN_CANDIDATES", 5)
    monkeypatch.setattr("tubelet.index.search.CANDIDATES_A_HIT", 1)
    store = IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    near, far = make_vector(1), make_vector(2)
    captions = {"v1": ["A zebra."] * 30, "v2": ["A fox."] * 30 + ["A zebra."]}
    for name, told in captions.items():
        video = make_video(name)
        moments = [
            make_moment(n, video, caption=caption, text_vector=near if "fox" in caption else far)
            for n, caption in enumerate(told)
        ]
        store.replace_video(video, group_objects(moments), moments, MODELS)
    within = SearchFilter(video_ids=("v2",))
    hits = search_moments(store, parse_query("zebra"), near, limit=1, within=within, exact_max_rows=0)
    assert [hit.caption for hit in hits] == ["A zebra."]
