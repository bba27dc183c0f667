"""Relations between paths: formulas on paths that show them and paths that do not, searches for pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.index.factories import (
    MODELS,
    Find,
    group_objects,
    make_attributes,
    make_moment,
    make_motion,
    make_vector,
    make_video,
)
from tubelet.index.query import parse_query
from tubelet.index.search import search_page
from tubelet.index.searching.geometry import measure_relation, measure_relations
from tubelet.index.searching.pairs import Track, Tracks, pair_up
from tubelet.index.searching.relating import CAPTION_EVIDENCE, RELATION_FLOOR, compare_count
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import INVERSE, Count, RelationKind
from tubelet.records import Moment, PathPoint

SIZE = 40.0
Way = Callable[[float], tuple[float, float]]


def make_track(way: Way, start_s: float = 0.0, end_s: float = 6.0, rate: float = 6.0) -> Track:
    """A square of 40 pixels whose centre goes some way, as pixels by seconds."""
    times = np.arange(start_s, end_s + 1e-9, 1 / rate)
    centres = np.array([way(time) for time in times])
    return Track(times, np.concatenate([centres - SIZE / 2, centres + SIZE / 2], axis=1))


def line(x: float, y: float, vx: float = 0.0, vy: float = 0.0) -> Way:
    return lambda t: (x + vx * t, y + vy * t)


def bend(delay_s: float, offset: float = 0.0) -> Way:
    """To the right at 60 pixels a second, and up from x = 240 on, `delay_s` later."""

    def go(t: float) -> tuple[float, float]:
        along = 60 * (t - delay_s)
        return (min(along, 240.0) + offset, 300 - max(0.0, along - 240.0))

    return go


LEADER, FOLLOWER = make_track(line(200, 100, 60)), make_track(line(100, 100, 60))
STANDING = make_track(line(300, 100))

HOLDS: list[tuple[RelationKind, Track, Track]] = [
    ("follows", FOLLOWER, LEADER),
    ("follows", make_track(bend(1.5)), make_track(bend(0.0))),
    ("behind", FOLLOWER, LEADER),
    ("behind", make_track(line(100, 100, 30)), make_track(line(220, 100))),
    ("behind", make_track(line(100, 100)), make_track(line(110, 130))),
    ("next-to", make_track(line(100, 100, 60)), make_track(line(100, 150, 60))),
    ("next-to", STANDING, make_track(line(360, 100))),
    ("with", FOLLOWER, make_track(line(900, 900), 2.0, 5.0)),
    ("passes", make_track(line(0, 60, 100)), STANDING),
    ("overtakes", make_track(line(0, 60, 100)), make_track(line(100, 100, 40))),
    ("crosses", make_track(line(0, 200, 80)), make_track(line(240, 0, 0, 70))),
    ("touches", make_track(line(100, 100, 20)), make_track(line(110, 90, 20))),
    ("towards", make_track(line(0, 100, 40)), STANDING),
    ("away-from", make_track(line(300, 140, 50)), STANDING),
    ("left-of", make_track(line(200, 100)), make_track(line(270, 110))),
    ("above", make_track(line(200, 100)), make_track(line(210, 180))),
    ("after", make_track(line(0, 0, 10), 5.0, 8.0), make_track(line(0, 0, 10), 0.0, 4.0)),
]

FAILS: list[tuple[RelationKind, Track, Track]] = [
    ("follows", LEADER, FOLLOWER),
    ("follows", FOLLOWER, STANDING),
    ("follows", FOLLOWER, make_track(line(200, 100, -60))),
    ("follows", FOLLOWER, make_track(line(900, 100, 60))),
    ("behind", LEADER, FOLLOWER),
    ("behind", make_track(line(110, 130)), make_track(line(100, 100))),
    ("next-to", FOLLOWER, make_track(line(100, 400, 60))),
    ("with", FOLLOWER, make_track(line(100, 100), 8.0, 9.0)),
    ("passes", make_track(line(0, 60, 30)), STANDING),
    ("passes", make_track(line(0, 500, 100)), STANDING),
    ("overtakes", make_track(line(0, 60, 100)), STANDING),
    ("overtakes", make_track(line(0, 60, 100)), make_track(line(600, 100, -60))),
    ("overtakes", FOLLOWER, LEADER),
    ("crosses", FOLLOWER, LEADER),
    ("crosses", make_track(line(0, 200, 80)), make_track(line(240, 0, 0, 20))),
    ("touches", STANDING, make_track(line(400, 100))),
    ("towards", make_track(line(0, 100, -40)), STANDING),
    ("towards", STANDING, make_track(line(0, 100, 40))),
    ("away-from", make_track(line(0, 100, 40)), STANDING),
    ("left-of", make_track(line(270, 110)), make_track(line(200, 100))),
    ("above", make_track(line(210, 180)), make_track(line(200, 100))),
    ("after", make_track(line(0, 0, 10), 0.0, 4.0), make_track(line(0, 0, 10), 5.0, 8.0)),
    ("after", make_track(line(0, 0, 10), 90.0, 95.0), make_track(line(0, 0, 10), 0.0, 4.0)),
]


@pytest.mark.parametrize(("kind", "first", "second"), HOLDS, ids=[kind for kind, *_ in HOLDS])
def test_a_relation_is_seen_on_paths_that_have_it(kind: RelationKind, first: Track, second: Track) -> None:
    assert measure_relation(kind, first, second) > 0.8
    if kind in INVERSE:
        assert measure_relation(INVERSE[kind], second, first) == measure_relation(kind, first, second)


@pytest.mark.parametrize(("kind", "first", "second"), FAILS, ids=[kind for kind, *_ in FAILS])
def test_a_relation_is_not_seen_on_others(kind: RelationKind, first: Track, second: Track) -> None:
    assert measure_relation(kind, first, second) < 0.2


WAYS = st.builds(line, *(st.floats(-300, 300) for _ in range(4)))
TRACKS = st.builds(
    lambda way, start, length: make_track(way, start, start + length), WAYS, st.floats(0, 8), st.floats(0, 8)
)


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(get_args(RelationKind)),
    first=TRACKS,
    second=TRACKS,
    scale=st.sampled_from([0.5, 4.0]),
)
def test_relations_are_shares_and_do_not_depend_on_the_pictures_scale(
    kind: RelationKind, first: Track, second: Track, scale: float
) -> None:
    value = measure_relation(kind, first, second)
    assert 0 <= value <= 1
    larger = [Track(track.times, track.boxes * scale) for track in (first, second)]
    assert measure_relation(kind, *larger) == pytest.approx(value, abs=1e-6)


def test_a_count_is_met_within_its_limits() -> None:
    assert [compare_count(found, Count(2, 2)) for found in (1, 2, 3, 4)] == [0.5, 1.0, 2 / 3, 0.5]
    assert [compare_count(found, Count(3, None)) for found in (1, 3, 9)] == [1 / 3, 1.0, 1.0]


def make_thing(
    name: str, track: Track, colour: str, category: str, *, cut_s: float | None = None, **fields: Any
) -> list[Moment]:
    """An object that goes a way, in one moment or in two cut at a time; its name is `video:object`."""
    video = make_video(name.split(":")[0])
    points = [
        PathPoint(float(time), *(float(side) for side in box))
        for time, box in zip(track.times, track.boxes, strict=True)
    ]
    parts = (
        [points]
        if cut_s is None
        else [[p for p in points if p.t < cut_s], [p for p in points if p.t >= cut_s]]
    )
    return [
        make_moment(
            number,
            video,
            object_id=name,
            moment_id=f"{name}-m{number}",
            start_s=part[0].t,
            end_s=part[-1].t,
            path=tuple(part),
            attributes=make_attributes(colour, category=category),
            **{"caption": f"A {colour} {category}."} | fields,
        )
        for number, part in enumerate(parts)
    ]


def fill(store: IndexStore, *things: list[Moment]) -> None:
    everything = [moment for thing in things for moment in thing]
    for video_id in dict.fromkeys(moment.video_id for moment in everything):
        own = [moment for moment in everything if moment.video_id == video_id]
        store.replace_video(make_video(video_id), group_objects(own), own, MODELS)


def test_pairs_are_found_by_their_paths_and_by_what_the_other_is(store: IndexStore, find: Find) -> None:
    fill(
        store,
        make_thing("a:car", FOLLOWER, "red", "car"),
        make_thing("a:suv", LEADER, "black", "suv", cut_s=3.0),
        make_thing("b:car", LEADER, "red", "car"),
        make_thing("b:suv", FOLLOWER, "black", "suv"),
        make_thing("c:car", FOLLOWER, "red", "car", cut_s=3.0),
        make_thing("c:van", LEADER, "white", "van"),
        make_thing("d:car", LEADER, "red", "car"),
    )
    hits = find("a red car following a black SUV", limit=4)
    assert hits[0].object_id == "a:car"
    assert hits[0].score > 0.9
    assert all(hit.score < 0.75 for hit in hits[1:])
    (relation,) = hits[0].relations
    assert (relation.kind, relation.object_id) == ("follows", "a:suv")
    assert relation.value > 0.9
    assert "following a black suv: yes (follows suv a:suv)" in hits[0].why

    hits = find("a red car followed by a black SUV", limit=4)
    assert hits[0].object_id == "b:car"
    assert find("a red car behind a white van")[0].object_id == "c:car"


def test_a_relation_is_turned_round_by_not(store: IndexStore, find: Find) -> None:
    fill(
        store,
        make_thing("a:car", FOLLOWER, "red", "car"),
        make_thing("a:suv", LEADER, "black", "suv"),
        make_thing("b:car", FOLLOWER, "red", "car"),
    )
    hits = find("a red car not following a black SUV")
    assert hits[0].object_id == "b:car"
    assert find("a red car alone")[0].object_id == "b:car"
    (lonely,) = [hit for hit in find("a red car behind an SUV") if hit.object_id == "b:car"]
    assert lonely.score == pytest.approx(RELATION_FLOOR, abs=0.01)


def test_what_somebody_holds_is_unknown_unless_it_is_seen_or_told(store: IndexStore, find: Find) -> None:
    there = make_track(line(100, 100, 20))
    fill(
        store,
        make_thing("a:man", there, "grey", "man"),
        make_thing("b:man", there, "grey", "man"),
        make_thing("b:bike", make_track(line(105, 110, 20)), "black", "bicycle"),
        make_thing("c:man", there, "grey", "man", caption="A grey man riding a bicycle."),
    )
    hits = {hit.object_id: hit for hit in find("a man riding a bicycle")}
    assert hits["b:man"].score > hits["c:man"].score > hits["a:man"].score > 0.6
    assert hits["c:man"].relations[0].value == CAPTION_EVIDENCE
    assert "riding a bicycle: unknown" in hits["a:man"].why


def test_so_many_at_the_same_time(store: IndexStore, find: Find) -> None:
    here, later = make_track(line(100, 100, 20)), make_track(line(100, 200, 20), 20.0, 25.0)
    fill(
        store,
        make_thing("a:dog1", here, "brown", "dog"),
        make_thing("a:dog2", make_track(line(200, 200, 20)), "black", "dog"),
        make_thing("b:dog1", here, "brown", "dog"),
        make_thing("b:dog2", later, "black", "dog"),
        make_thing("c:dog", here, "brown", "dog"),
        make_thing("c:car", LEADER, "red", "car"),
    )
    hits = find("two dogs")
    assert {hit.object_id for hit in hits[:2]} == {"a:dog1", "a:dog2"}
    assert hits[1].score > 0.95
    assert hits[2].score < 0.75
    assert "as many as asked" in hits[0].why
    assert find("a brown dog and a car")[0].object_id == "c:dog"


def test_the_best_are_found_even_where_most_fail_and_looking_is_said_to_end(
    store: IndexStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = [make_thing(f"v{n:02d}:car", FOLLOWER, "red", "car") for n in range(60)]
    fill(store, *things, make_thing("v41:bus", LEADER, "black", "bus"))
    query = parse_query("a red car following a bus")
    page = search_page(store, query, limit=1)
    assert (page.hits[0].object_id, page.notes) == ("v41:car", ())
    monkeypatch.setattr("tubelet.index.search.MIN_CANDIDATES", 5)
    monkeypatch.setattr("tubelet.index.search.CANDIDATES_A_HIT", 1)
    page = search_page(store, query, make_vector(1), limit=1, exact_max_rows=0)
    assert page.hits[0].object_id == "v41:car"
    monkeypatch.setattr("tubelet.index.searching.ranking.MAX_LOOKED_AT", 20)
    page = search_page(store, query, limit=1)
    assert page.hits[0].object_id != "v41:car"
    assert page.notes == ("relations, counts and stops were judged on the best 20 of 61 objects",)


@pytest.mark.parametrize(
    "sentence",
    [
        *("a red car next to a bus", "a van behind a red car", "a bus crossing the way of a van"),
        *("a car not followed by a red bus", "a car after a van", "a red car stops", "two red cars"),
        *("a bus with a van without a zebra", "overtaken by a car", "a van and three buses"),
        "a red car next to a bus stops, then turns left",
    ],
)
def test_relations_are_the_same_with_and_without_columns_in_memory(
    store: IndexStore, find: Find, monkeypatch: pytest.MonkeyPatch, sentence: str
) -> None:
    random = np.random.default_rng(5)

    def make_random_thing(number: int) -> list[Moment]:
        start_s = float(random.uniform(0, 25))
        times = np.linspace(start_s, start_s + random.uniform(2, 12), 14)
        corners = random.uniform(0, 300, 2) + np.cumsum(random.normal(0, 15, (14, 2)), axis=0)
        track = Track(times, np.concatenate([corners, corners + random.uniform(20, 60, 2)], axis=1))
        return make_thing(
            f"v{number % 3}:o{number}",
            track,
            str(random.choice(["red", "blue"])),
            str(random.choice(["car", "van", "bus", ""])),
            cut_s=float(times[6]) if number % 2 else None,
            caption=str(random.choice(["A zebra.", "Something."])),
            motion=make_motion(stopped=bool(random.random() < 0.4)),
        )

    fill(store, *(make_random_thing(number) for number in range(45)))
    told = find(sentence, limit=20)
    monkeypatch.setattr("tubelet.index.snapshot.MAX_HELD_ROWS", 0)
    again = find(sentence, limit=20)
    assert [hit.moment_id for hit in again] == [hit.moment_id for hit in told]
    assert [hit.score for hit in again] == pytest.approx([hit.score for hit in told], abs=1e-9)
    assert [hit.why for hit in again] == [hit.why for hit in told]


def test_many_pairs_at_once_are_what_each_is_alone() -> None:
    random = np.random.default_rng(3)

    def make_random_track(number: int) -> Track:
        times = np.unique(np.round(random.uniform(0, 8, size=number % 9), 1))  # none for some
        corners = random.uniform(0, 200, 2) + np.cumsum(random.normal(0, 15, (len(times), 2)), axis=0)
        return Track(times, np.concatenate([corners, corners + random.uniform(10, 60, 2)], axis=1))

    firsts, seconds = ([make_random_track(number + shift) for number in range(60)] for shift in (0, 4))
    for kind in get_args(RelationKind):
        together = measure_relations(kind, Tracks.join(firsts), Tracks.join(seconds))
        alone = [measure_relation(kind, *pair) for pair in zip(firsts, seconds, strict=True)]
        assert together == pytest.approx(alone, abs=1e-9)
        assert max(together) > 0, kind


def test_boxes_between_known_times_lie_on_straight_lines() -> None:
    first = Track(np.array([0.0, 4.0]), np.array([[0, 0, 10, 10], [40, 0, 50, 10]], dtype=float))
    second = Track(np.array([1.0, 3.0, 9.0]), np.array([[0, 20, 10, 30]] * 3, dtype=float))
    later = Track(np.array([5.0]), second.boxes[:1])
    pair = pair_up(Tracks.join([first, first]), Tracks.join([later, second]))
    assert pair is not None
    assert pair.which.tolist() == [1]
    assert pair.times.tolist() == [1, 3, 4]
    assert pair.first[:, 0].tolist() == [10, 30, 40]
    assert pair.first_velocity[:, 0].tolist() == pytest.approx([1, 1, 1])  # 10 px a second, own length 10
    assert pair.gap.tolist() == pytest.approx([1.0, np.hypot(20, 10) / 10, np.hypot(30, 10) / 10])
    assert pair_up(Tracks.join([first]), Tracks.join([second]), reach=0.9) is None
