"""Which objects an export holds, and what of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.index.exporting.library import make_car, make_dog, make_unnamed, read_files, read_text
from tubelet.errors import InputError, QueryError
from tubelet.index.exporting.object_filter import ObjectFilter
from tubelet.index.exporting.timelines import Timelines, find_videos
from tubelet.index.store import IndexStore


def list_ids(store: IndexStore, **limits: Any) -> list[str]:
    text = read_text(Timelines(store, ObjectFilter(**limits)), "jsonl")
    return [json.loads(line)["object_id"] for line in text.splitlines()]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, ["v1-car", "v1-thing", "v2-dog"]),
        ({"video_ids": ("v2",)}, ["v2-dog"]),
        ({"uris": ("s3://bucket/yard.mp4",)}, ["v2-dog"]),
        ({"categories": ("car",)}, ["v1-car"]),
        ({"categories": ("vehicle",)}, ["v1-car"]),
        ({"categories": ("automobile", "boat")}, ["v1-car"]),
        ({"categories": ("sedan",)}, []),
        ({"categories": ("dog",)}, []),
        ({"labels": ("dog",)}, ["v2-dog"]),
        ({"labels": ("animal", "car")}, ["v1-car", "v2-dog"]),
        ({"colours": ("red",)}, ["v1-car"]),
        ({"colours": ("Crimson",)}, ["v1-car"]),
        ({"colours": ("silver",)}, ["v1-thing", "v2-dog"]),
        ({"min_score": 0.5}, ["v1-car", "v1-thing", "v2-dog"]),
        ({"min_score": 0.51}, ["v1-car", "v2-dog"]),
        ({"start_s": 2.33}, ["v1-thing"]),
        ({"end_s": 0.48}, ["v1-car"]),
        ({"start_s": 1.1, "end_s": 1.9}, []),
        ({"labels": ("car",), "colours": ("blue",)}, []),
    ],
)
def test_limits_choose_objects(store: IndexStore, limits: dict[str, Any], expected: list[str]) -> None:
    assert list_ids(store, **limits) == expected


def test_a_window_cuts_the_path_and_keeps_whole_moments_that_touch_it(store: IndexStore) -> None:
    text = read_text(Timelines(store, ObjectFilter(start_s=0.5, end_s=2.16)), "jsonl")
    car = json.loads(text.splitlines()[0])
    assert [point[0] for point in car["path"]] == [0.68, 0.84, 1.0, 2.0]
    assert [moment["start_s"] for moment in car["moments"]] == [0.0, 2.0]
    assert (car["start_s"], car["end_s"]) == (0.0, 2.32)


@given(
    st.floats(0, 5) | st.none(),
    st.floats(0, 5) | st.none(),
    st.floats(0, 1),
    st.sets(st.sampled_from(["red", "grey", "blue"])),
)
def test_any_limits_choose_what_a_plain_look_chooses(
    start_s: float | None, end_s: float | None, min_score: float, colours: set[str]
) -> None:
    try:
        limits = ObjectFilter(start_s=start_s, end_s=end_s, min_score=min_score, colours=tuple(colours))
    except QueryError:
        assert end_s is not None
        assert end_s <= (start_s or 0)
        return
    for item, moments in (make_car(), make_unnamed(), make_dog()):
        first, last = start_s or 0.0, float("inf") if end_s is None else end_s
        points = tuple(point for point in item.path if point.t >= first and point.t < last)
        wanted = points and item.score >= min_score and (not colours or item.attributes.colours[0] in colours)
        cut = limits.cut(item, moments, [])
        assert (cut is not None) == bool(wanted)
        if cut is not None:
            assert cut[0].path == points


@pytest.mark.parametrize(
    "limits",
    [
        {"start_s": 5.0, "end_s": 5.0},
        {"start_s": -1.0},
        {"start_s": float("nan")},
        {"end_s": float("nan")},
        {"min_score": 1.5},
        {"min_score": float("nan")},
        {"colours": ("plaid",)},
    ],
)
def test_limits_that_cannot_be_meant_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(QueryError, match="Do: "):
        ObjectFilter(**limits)


def test_videos_are_found_by_id_or_address(store: IndexStore) -> None:
    assert find_videos(store, ["s3://bucket/yard.mp4", "v1", "v2"]) == ("v2", "v1")
    with pytest.raises(InputError, match=r"no video '/videos/v3\.mp4'"):
        find_videos(store, ["v1", "/videos/v3.mp4"])


def test_a_window_narrows_boxes_of_every_format(store: IndexStore) -> None:
    timelines = Timelines(store, ObjectFilter(start_s=0.5, end_s=1.0, video_ids=("v1",)))
    rows = read_files(timelines, "mot-results")["street_night-v1.txt"].decode().splitlines()
    assert [int(row.split(",")[0]) - 1 for row in rows] == [17, 21, 17, 21]
