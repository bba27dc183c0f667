"""Counts against brute force, and histograms over time and other groups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
    make_video,
)
from tubelet.errors import QueryError
from tubelet.index.query import parse_query
from tubelet.index.searching.aggregating import Aggregate, count_objects
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import Condition, Query, Region, SearchFilter
from tubelet.records import Moment

COLOURS, CATEGORIES = ("red", "blue", "white"), ("car", "person", "")


@pytest.fixture(scope="module")
def moments() -> list[Moment]:
    """Eighty moments of forty objects in two videos."""
    random = np.random.default_rng(3)
    made = []
    for video in (make_video("v1"), make_video("v2")):
        for number in range(40):
            stopped = bool(random.random() < 0.3)
            start_s = round(float(random.uniform(0, 50)), 1)
            made.append(
                make_moment(
                    number,
                    video,
                    object_id=f"{video.video_id}-o{number // 2}",
                    start_s=start_s,
                    end_s=start_s + 4,
                    path=make_path(start_s, start_s + 4, x=float(random.uniform(0, 1100))),
                    caption=str(random.choice(["A FedEx object.", "An object."])),
                    attributes=make_attributes(
                        str(random.choice(COLOURS)), category=str(random.choice(CATEGORIES))
                    ),
                    motion=make_motion(
                        stopped=stopped,
                        turn="none" if stopped else str(random.choice(["left", "none"])),
                    ),
                )
            )
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, moments: list[Moment]) -> IndexStore:
    folder = tmp_path_factory.mktemp("counts")
    store = IndexStore.open(folder, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    for name in ("v1", "v2"):
        own = [moment for moment in moments if moment.video_id == name]
        store.replace_video(make_video(name), group_objects(own), own, MODELS)
    return store


def count_by_force(moments: Sequence[Moment]) -> tuple[int, int]:
    return len({moment.object_id for moment in moments}), len(moments)


def get_bins(aggregate: Aggregate) -> dict[str, tuple[int, int]]:
    return {each.key: (each.num_objects, each.num_moments) for each in aggregate.bins}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    colour=st.sampled_from([None, *COLOURS]),
    category=st.sampled_from([None, "car", "person"]),
    turn=st.sampled_from([None, "left", "none"]),
    fedex=st.booleans(),
    start_s=st.none() | st.integers(0, 40),
    left_half=st.booleans(),
)
def test_counts_equal_brute_force(
    store: IndexStore,
    moments: list[Moment],
    colour: str | None,
    category: str | None,
    turn: str | None,
    fedex: bool,
    start_s: int | None,
    left_half: bool,
) -> None:
    asked = {"colour": colour, "category": category, "turn": turn}
    query = Query(
        text="of no weight",
        conditions=tuple(Condition(kind, (value,)) for kind, value in asked.items() if value),  # type: ignore[arg-type]
        words=("fedex",) if fedex else (),
        region=Region((0.0, 0.0, 0.5, 1.0)) if left_half else None,
    )
    if not query.conditions and not query.words:
        query = Query(region=query.region)
    fitting = [
        moment
        for moment in moments
        if (colour is None or moment.attributes.colours == (colour,))
        and (category is None or moment.attributes.category == category)
        and (turn is None or (moment.motion.turn == turn and not (turn == "none" and moment.motion.stopped)))
        and (not fedex or "FedEx" in moment.caption)
        and (start_s is None or moment.end_s >= start_s)
        and (not left_half or np.mean([(p.x0 + p.x1) / 2 for p in moment.path]) <= 640)
    ]
    found = count_objects(store, query, within=SearchFilter(start_s=start_s))
    assert (found.num_objects, found.num_moments) == count_by_force(fitting)


def test_unknown_categories_count_only_when_less_is_asked(store: IndexStore, moments: list[Moment]) -> None:
    cars = [moment for moment in moments if moment.attributes.category == "car"]
    unknown = [moment for moment in moments if moment.attributes.category in ("car", "")]
    assert count_objects(store, parse_query("cars")).num_moments == len(cars)
    assert count_objects(store, parse_query("cars"), min_score=0.35).num_moments == len(unknown)


def test_an_object_counts_in_every_stretch_that_it_is_seen_in(
    store: IndexStore, moments: list[Moment]
) -> None:
    red = [moment for moment in moments if moment.attributes.colours == ("red",)]
    found = count_objects(store, parse_query("red"), by="time", bin_s=10.0)
    for each in found.bins:
        assert each.start_s is not None
        assert each.end_s == each.start_s + 10
        inside = [m for m in red if m.start_s < each.end_s and m.end_s >= each.start_s]
        assert (each.num_objects, each.num_moments) == count_by_force(inside)
    assert [each.start_s for each in found.bins] == sorted(each.start_s or 0 for each in found.bins)
    assert found.bins[0].key == "0-10 s"


@pytest.mark.parametrize(
    ("by", "read"),
    [
        ("video", lambda moment: moment.uri),
        ("colour", lambda moment: moment.attributes.colours[0]),
        ("label", lambda moment: moment.attributes.category or "unknown"),
        ("turn", lambda moment: moment.motion.turn),
        ("state", lambda moment: "stopped" if moment.motion.stopped else "moving"),
        ("size", lambda moment: moment.attributes.size),
        ("heading", lambda moment: moment.motion.heading),
    ],
)
def test_groups_by_what_was_measured(store: IndexStore, moments: list[Moment], by: Any, read: Any) -> None:
    groups: dict[str, list[Moment]] = {}
    for moment in moments:
        groups.setdefault(read(moment), []).append(moment)
    found = count_objects(store, Query(), by=by)
    assert get_bins(found) == {key: count_by_force(own) for key, own in groups.items()}
    sizes = [each.num_objects for each in found.bins]
    assert sizes == sorted(sizes, reverse=True)


def test_groups_by_the_calendar_are_of_videos_with_a_date(
    store: IndexStore, moments: list[Moment], monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = datetime(2026, 5, 1, 23, 59, 40, tzinfo=UTC)
    monkeypatch.setattr(
        "tubelet.index.searching.aggregating.read_recorded",
        lambda video: midnight if video.video_id == "v1" else None,
    )
    found = count_objects(store, Query(), by="day")
    own = [moment for moment in moments if moment.video_id == "v1"]
    assert get_bins(found) == {
        "2026-05-01": count_by_force([moment for moment in own if moment.start_s < 20]),
        "2026-05-02": count_by_force([moment for moment in own if moment.end_s >= 20]),
    }
    assert found.notes == ("objects of videos without a date are in no group",)
    assert set(get_bins(count_objects(store, Query(), by="hour"))) == {"2026-05-01T23", "2026-05-02T00"}


def test_orders_relations_and_counts_are_counted_too(tmp_path: Path) -> None:
    store = IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    stopped = make_motion(stopped=True, speed=0.0)
    lives = {
        "a": [make_motion(), stopped, make_motion(turn="left")],
        "b": [make_motion(turn="left"), stopped],
    }
    moments = [
        make_moment(
            10 * number + place, object_id=name, motion=motion, start_s=3.0 * place, end_s=3.0 * place + 3
        )
        for number, (name, motions) in enumerate(lives.items())
        for place, motion in enumerate(motions)
    ]
    store.replace_video(make_video(), group_objects(moments), moments, MODELS)
    assert count_objects(store, parse_query("stops, then turns left")).num_objects == 1
    assert count_objects(store, parse_query("something stops")).num_objects == 2
    assert count_objects(store, parse_query("grey thing next to something")).num_objects == 2
    assert count_objects(store, parse_query("left or right, grey")).num_objects == 2


@pytest.mark.parametrize(
    ("query", "options", "named"),
    [
        (Query(), {"by": "smell"}, "one of: time"),
        (Query(), {"by": "time", "bin_s": 0.0}, "0.1 seconds"),
        (Query(), {"by": "time", "bin_s": float("nan")}, "0.1 seconds"),
        (Query(), {"min_score": 2.0}, "0 to 1"),
        (Query(like="o1"), {}, "look like"),
        (Query(text="🚗"), {}, "can be counted"),
        (Query(), {"within": SearchFilter(start_s=-1.0)}, "start_s"),
    ],
)
def test_what_cannot_be_counted_is_refused(
    store: IndexStore, query: Query, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(QueryError, match=named):
        count_objects(store, query, **options)
