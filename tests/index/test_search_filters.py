"""Filters and prefilters against brute force over random moments, with and without indexes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lancedb.index import IvfSq

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
from tubelet.categories import list_wider
from tubelet.index.parsing.lexicon import CATEGORIES
from tubelet.index.query import choose_label, parse_query
from tubelet.index.search import search_moments, search_page
from tubelet.index.searching.filters import make_filter, make_time_filter
from tubelet.index.searching.judging import judge
from tubelet.index.searching.requirements import make_requirement
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import Condition, Query, Region, SearchFilter, TimeWindow
from tubelet.records import Moment, Video

HOSTILE = 'it\'s OR true; -- "q" %_` \\'
VIDEOS = [
    make_video(name, duration_s=40.0 + 10 * number) for number, name in enumerate(["v0", "v1", "v2", HOSTILE])
]
COLOUR_NAMES = ("red", "orange", "grey", "blue", "white")
HEADINGS = ("right", "up-right", "up", "up-left", "left", "down-left", "down", "down-right")
OBJECT_DIMENSIONS = 4


class Crowd(NamedTuple):
    """A store, and the moments that are in it."""

    store: IndexStore
    moments: list[Moment]

    def __repr__(self) -> str:
        return f"a crowd of {len(self.moments)} moments"


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    """200 random moments of 100 objects in four videos: two videos are in every index, two in none yet."""
    random = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp("crowd")
    store = IndexStore.open(
        folder, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=OBJECT_DIMENSIONS
    )
    everything: list[Moment] = []
    for video in VIDEOS:
        moments = [make_random_moment(number, video, random) for number in range(50)]
        store.replace_video(video, group_objects(moments), moments, MODELS)
        everything += moments
        if video.video_id == "v1":
            store.moments.create_index("text_vector", config=IvfSq(distance_type="cosine", num_partitions=2))
            store.optimize()
    return Crowd(store, everything)


def make_random_moment(number: int, video: Video, random: np.random.Generator) -> Moment:
    start_s = round(float(random.uniform(0, video.duration_s - 8)), 1)
    end_s = round(start_s + float(random.uniform(0.5, 7)), 1)
    stopped = bool(random.random() < 0.25)
    heading_deg = float(random.uniform(0, 360))
    sides = (None, "left", "right", "top", "bottom")
    return make_moment(
        number,
        video,
        object_id=f"{video.video_id}-o{number // 2}",
        start_s=start_s,
        end_s=end_s,
        caption=str(random.choice(["A zebra.", "A quick fox.", "Something moves.", "A red zebra."])),
        text_vector=make_vector(int(random.integers(1000))),
        object_vector=make_vector(number, OBJECT_DIMENSIONS) if number % 3 else (),
        path=make_path(start_s, end_s, x=float(random.uniform(0, 1100)), y=float(random.uniform(0, 650))),
        score=round(float(random.uniform(0.3, 1)), 3),
        attributes=make_attributes(
            *random.choice(COLOUR_NAMES, size=int(random.integers(1, 3)), replace=False).tolist(),
            size=str(random.choice(["tiny", "small", "medium", "large"])),
            category=str(random.choice(["", "car", "sedan", "truck", "person", "zeppelin"])),
        ),
        motion=make_motion(
            heading="none" if stopped else HEADINGS[round(heading_deg / 45) % 8],
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


def some_of(*names: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.just(()) | st.lists(st.sampled_from(names), max_size=3).map(tuple)


NUMBER = st.none() | st.floats(0, 80).map(lambda value: round(value, 1))
SHARE = st.floats(0, 1).map(lambda value: round(value, 2))
IDS = [video.video_id for video in VIDEOS]
FILTERS = st.builds(
    SearchFilter,
    video_ids=some_of(*IDS, "v4", "' OR true --"),
    uris=some_of(*(video.uri for video in VIDEOS)),
    object_ids=st.just(()) | st.just(tuple(f"{name}-o{number}" for name in IDS for number in range(9))),
    labels=some_of("vehicle", "sedan", "automobile", "zeppelin", "x' OR '1'='1"),
    colours=some_of(*COLOUR_NAMES),
    sizes=some_of("tiny", "large"),
    turns=some_of("left", "none"),
    headings=some_of(*HEADINGS),
    stopped=st.none() | st.booleans(),
    start_s=NUMBER,
    end_s=NUMBER,
    min_duration_s=st.none() | st.floats(0, 6),
    min_speed=st.none() | st.floats(0, 3),
    max_speed=st.none() | st.floats(0, 3),
    min_track_score=st.none() | st.floats(0, 1),
).filter(
    lambda limits: (
        (limits.end_s is None or limits.end_s > (limits.start_s or 0))
        and (limits.max_speed is None or limits.max_speed >= (limits.min_speed or 0))
    )
)
REGIONS = st.none() | st.builds(
    lambda x, y, how: Region((min(x), min(y), max(x), max(y)), how),
    st.tuples(SHARE, SHARE).filter(lambda pair: pair[0] != pair[1]),
    st.tuples(SHARE, SHARE).filter(lambda pair: pair[0] != pair[1]),
    st.sampled_from(["centre", "touches", "inside"]),
)
SENTENCES = st.sampled_from(
    [
        *("zebra", "red car", "turning left after 10 s", "fox in the last 20 seconds", "not red before 30 s"),
        *("🚗", "stops, then turns left", "a car with a helmet, between 5 s and 20 s", "after 15 s"),
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    within=FILTERS,
    sentence=SENTENCES,
    region=REGIONS,
    exact=st.booleans(),
    with_vector=st.booleans(),
    with_look=st.booleans(),
    of_the_query=st.booleans(),
    held=st.booleans(),
)
def test_filters_equal_brute_force(
    crowd: Crowd,
    within: SearchFilter,
    sentence: str,
    region: Region | None,
    exact: bool,
    with_vector: bool,
    with_look: bool,
    of_the_query: bool,
    held: bool,
) -> None:
    store, moments = crowd
    parsed = parse_query(sentence)
    query = Query(
        text=parsed.text,
        conditions=parsed.conditions,
        steps=parsed.steps,
        time=parsed.time,
        words=parsed.words,
        region=region,
        filters=within if of_the_query else SearchFilter(),
        object_vector=make_vector(1, OBJECT_DIMENSIONS) if with_look else (),
    )
    with pytest.MonkeyPatch.context() as patch:
        if not held:
            patch.setattr("tubelet.index.snapshot.MAX_HELD_ROWS", 0)
        page = search_page(
            store,
            query,
            make_vector(3) if with_vector else None,
            limit=1000,
            within=SearchFilter() if of_the_query else within,
            exact_max_rows=1000 if exact else 0,
        )
    allowed = [moment for moment in moments if is_allowed(moment, within, query)]
    if with_look:
        allowed = [moment for moment in allowed if moment.object_vector]
    assert {hit.moment_id for hit in page.hits} <= {moment.moment_id for moment in allowed}
    assert page.num_moments == len(allowed) or query.region is not None
    assert {hit.object_id for hit in page.hits} == {moment.object_id for moment in allowed}
    assert [hit.score for hit in page.hits] == sorted((hit.score for hit in page.hits), reverse=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    within=st.just(SearchFilter()) | FILTERS,
    sentence=SENTENCES | st.sampled_from(["large red car", "a red truck without a zebra", "tiny, then red"]),
    limit=st.integers(1, 6),
    exact=st.booleans(),
    most_taken=st.sampled_from([0, 5000]),
)
def test_the_first_hits_are_the_first_of_all(
    crowd: Crowd, within: SearchFilter, sentence: str, limit: int, exact: bool, most_taken: int
) -> None:
    """Vectors are not read of what columns in memory show to be worse; here all are read for comparison."""
    options: dict[str, Any] = {"within": within, "exact_max_rows": 1000 if exact else 0}
    query, vector = parse_query(sentence), make_vector(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tubelet.index.searching.candidates.MAX_TAKEN_ROWS", most_taken)
        first = search_page(crowd.store, query, vector, limit=limit, **options)
        patch.setattr("tubelet.index.snapshot.MAX_HELD_ROWS", 0)
        everything = search_page(crowd.store, query, vector, limit=1000, **options)
    assert [hit.moment_id for hit in first.hits] == [hit.moment_id for hit in everything.hits[:limit]]
    told = [hit.score for hit in everything.hits[:limit]]
    assert [hit.score for hit in first.hits] == pytest.approx(told, abs=1e-6)
    assert (first.num_moments, first.is_exact) == (everything.num_moments, everything.is_exact)
    assert bool(first.next_cursor) == (len(everything.hits) > limit)


def is_allowed(moment: Moment, within: SearchFilter, query: Query) -> bool:
    """What the documents say of each limit, on the record itself."""
    label = choose_label(moment.caption, moment.attributes)
    labels = {CATEGORIES.get(name.lower(), name.lower()) for name in within.labels}
    motion, attributes = moment.motion, moment.attributes
    lists = (
        (within.video_ids, {moment.video_id}),
        (within.uris, {moment.uri}),
        (within.object_ids, {moment.object_id}),
        (labels, {label, *list_wider(label)}),
        (within.colours, set(attributes.colours)),
        (within.sizes, {attributes.size}),
        (within.turns, {motion.turn}),
        (within.headings, {motion.heading}),
    )
    if any(wanted and not set(wanted) & own for wanted, own in lists):
        return False
    if within.stopped is not None and motion.stopped != within.stopped:
        return False
    numbers = (
        (within.min_duration_s, moment.end_s - moment.start_s, within.min_duration_s),
        (within.min_speed, motion.speed, within.min_speed),
        (within.min_track_score, moment.score, within.min_track_score),
    )
    if any(limit is not None and not value >= limit for limit, value, _ in numbers):
        return False
    if within.max_speed is not None and not motion.speed <= within.max_speed:
        return False
    starts, ends = [within.start_s or 0.0], [within.end_s]
    if query.time:
        starts.append(query.time.start_s)
        ends.append(query.time.end_s)
        if query.time.last_s is not None:
            (duration_s,) = {video.duration_s for video in VIDEOS if video.video_id == moment.video_id}
            starts.append(duration_s - query.time.last_s)
    limits = [end for end in ends if end is not None]
    if not (moment.end_s >= max(starts) and all(moment.start_s < end for end in limits)):
        return False
    window = (max(starts[:2]), min(limits, default=np.inf))
    return query.region is None or is_in_region(moment, query.region, window)


def is_in_region(moment: Moment, region: Region, window: tuple[float, float]) -> bool:
    x0, y0, x1, y1 = region.box
    boxes = np.array([point[1:] for point in moment.path])
    if region.how == "centre":
        mean = boxes.mean(axis=0).astype(np.float32)
        across, along = float(mean[0] + mean[2]), float(mean[1] + mean[3])
        return (
            2 * x0 * 1280 <= across <= 2 * x1 * 1280 and 2 * y0 * 720 <= along <= 2 * y1 * 720
        )  # a 1280 x 720 video
    times = np.array([point.t for point in moment.path])
    some = boxes.astype(np.float32)[(times >= window[0]) & (times < window[1])] / [1280, 720, 1280, 720]
    if region.how == "touches":
        there = (some[:, 2] > x0) & (some[:, 0] < x1) & (some[:, 3] > y0) & (some[:, 1] < y1)
        return bool(there.any())
    there = (some[:, 0] >= x0) & (some[:, 2] <= x1) & (some[:, 1] >= y0) & (some[:, 3] <= y1)
    return len(some) > 0 and bool(there.all())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(name="BOX TRUCK")
@given(name=st.text(max_size=20) | st.sampled_from(["' OR true --", "\\' OR true --", "\\", "''", HOSTILE]))
def test_names_are_only_names(crowd: Crowd, name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    for limits in (
        SearchFilter(video_ids=(name,)),
        SearchFilter(uris=("a", name)),
        SearchFilter(labels=(name,)),
    ):
        where = make_filter(limits)
        known = [m for m in crowd.moments if is_allowed(m, limits, Query())]
        assert crowd.store.moments.count_rows(where.sql if where else None) == len(known)


def test_dates_are_limits_on_videos_that_have_one(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    recorded = {"v0": noon, "v1": noon + timedelta(seconds=30), "v2": noon + timedelta(hours=1)}
    monkeypatch.setattr(
        "tubelet.index.searching.filters.read_recorded", lambda video: recorded.get(video.video_id)
    )
    videos = crowd.store.list_videos()

    def find(since: datetime | None, until: datetime | None) -> set[str]:
        where = make_time_filter(TimeWindow(since=since, until=until), videos)
        rows = crowd.store.moments.search().where(where.sql).select(["moment_id"]).limit(None).to_arrow()
        return set(rows["moment_id"].to_pylist())

    for since, until in (
        (noon + timedelta(seconds=35), noon + timedelta(seconds=38)),
        (None, noon + timedelta(seconds=10)),
        (noon + timedelta(seconds=20), None),
        (noon.replace(tzinfo=None), noon.replace(tzinfo=None) + timedelta(days=1)),
        (noon + timedelta(days=1), noon + timedelta(days=2)),
    ):
        low, high = (
            limit if limit is None or limit.tzinfo else limit.replace(tzinfo=UTC) for limit in (since, until)
        )
        expected = {
            moment.moment_id
            for moment in crowd.moments
            if (start := recorded.get(moment.video_id)) is not None
            and (low is None or start + timedelta(seconds=moment.end_s) >= low)
            and (high is None or start + timedelta(seconds=moment.start_s) < high)
        }
        assert find(since, until) == expected
    dated = Query(time=TimeWindow(since=noon))
    page = search_page(crowd.store, dated, limit=1000)
    assert {hit.video_id for hit in page.hits} == {"v0", "v1", "v2"}
    assert page.notes == ("1 of 4 videos have no date and were left out",)


CONDITIONS = st.one_of(
    st.tuples(st.just("colour"), st.sets(st.sampled_from(COLOUR_NAMES), min_size=1, max_size=2)),
    st.tuples(
        st.just("category"),
        st.sets(st.sampled_from(["car", "truck", "vehicle", "person", "zeppelin"]), min_size=1),
    ),
    st.tuples(st.just("size"), st.sets(st.sampled_from(["tiny", "large"]), min_size=1)),
    st.tuples(st.just("turn"), st.sets(st.sampled_from(["left", "right", "u", "none"]), min_size=1)),
    st.tuples(st.just("heading"), st.sets(st.sampled_from(["left", "up", "down-right"]), min_size=1)),
    st.tuples(st.just("pace"), st.sets(st.sampled_from(["stopped", "moving", "fast", "slow"]), min_size=1)),
    st.tuples(st.just("change"), st.sets(st.sampled_from(["stops", "starts"]), min_size=1)),
    st.tuples(st.just("word"), st.sets(st.sampled_from(["zebra", "fox", "it's"]), min_size=1)),
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
    selected = store.moments.search().where(requirement.sql).select(["moment_id"]).limit(None).to_arrow()
    assert meeting <= set(selected["moment_id"].to_pylist())


@pytest.mark.parametrize(
    "sentence",
    [
        "red car turning left",
        "a person on the left",
        "stopped truck",
        "zebra",
        "fox moving up",
        "a car stops, then turns left",
    ],
)
def test_candidates_agree_with_exact_search_at_the_top(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, sentence: str
) -> None:
    monkeypatch.setattr("tubelet.index.search.MIN_CANDIDATES", 25)
    monkeypatch.setattr("tubelet.index.search.CANDIDATES_A_HIT", 4)
    query = parse_query(sentence)
    for vector in (make_vector(3), None):
        exact = search_moments(crowd.store, query, vector, limit=3)
        quick = search_moments(crowd.store, query, vector, limit=3, exact_max_rows=0)
        assert [hit.moment_id for hit in quick] == [hit.moment_id for hit in exact]


@pytest.mark.parametrize("walk", [8, 60, 1000])
@pytest.mark.parametrize(
    "within",
    [
        SearchFilter(sizes=("tiny",)),
        SearchFilter(video_ids=("v2", "v3"), min_duration_s=1.0),
        SearchFilter(labels=("vehicle",), start_s=10.0),
    ],
)
def test_lists_are_the_same_however_they_are_made(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, within: SearchFilter, walk: int
) -> None:
    """A walk that is too short to fill a list leaves the list to the store."""
    monkeypatch.setattr("tubelet.index.search.MIN_CANDIDATES", 8)
    monkeypatch.setattr("tubelet.index.search.CANDIDATES_A_HIT", 0)
    monkeypatch.setattr("tubelet.index.searching.listing.MIN_WALK", walk)
    monkeypatch.setattr("tubelet.index.searching.listing.MAX_WALK", walk)

    def find() -> list[tuple[str, float]]:
        query = parse_query("red car turning left, zebra")
        page = search_page(crowd.store, query, make_vector(3), limit=100, within=within, exact_max_rows=0)
        assert len(page.hits) >= 8  # of several lists
        return [(hit.moment_id, hit.score) for hit in page.hits[:4]]  # beyond, words rank equals

    told = find()
    monkeypatch.setattr("tubelet.index.snapshot.MAX_HELD_ROWS", 0)
    assert find() == told


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
