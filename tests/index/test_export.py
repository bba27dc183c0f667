"""Exports: what the lines say, and what is chosen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.index.factories import (
    MODELS,
    TEXT_DIMENSIONS,
    group_objects,
    make_attributes,
    make_moment,
    make_motion,
    make_video,
)
from tubelet.errors import InputError, UnknownNameError
from tubelet.index.export import EXPORTERS, export_timelines, hit_to_json
from tubelet.index.store import IndexStore
from tubelet.records import Box, Hit


@pytest.fixture
def store(tmp_path: Path) -> IndexStore:
    store = IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    for name in ("v2", "v1"):
        video = make_video(name)
        moments = [
            make_moment(1, video, object_id=f"{name}-o1", start_s=1.0, end_s=2.0, caption="Grün, 赤"),
            make_moment(2, video, object_id=f"{name}-o1", start_s=2.0, end_s=3.0),
            make_moment(3, video, object_id=f"{name}-o3", start_s=0.5, end_s=3.0),
        ]
        store.replace_video(video, group_objects(moments), moments, MODELS)
    return store


def test_jsonl_has_one_line_an_object_in_order(store: IndexStore) -> None:
    lines = "".join(export_timelines(store, "jsonl")).splitlines()
    found = [json.loads(line) for line in lines]
    assert [item["object_id"] for item in found] == ["v1-o3", "v1-o1", "v2-o3", "v2-o1"]
    assert found[1] == {
        "object_id": "v1-o1",
        "video_id": "v1",
        "uri": "/videos/v1.mp4",
        "category": "",
        "attributes": {"colours": ["grey"], "colour_shares": [0.75], "size": "medium", "category": ""},
        "start_s": 1.0,
        "end_s": 3.0,
        "moments": [
            {"start_s": 1.0, "end_s": 2.0, "caption": "Grün, 赤", "motion": MOTION},
            {"start_s": 2.0, "end_s": 3.0, "caption": "A grey object moves to the right.", "motion": MOTION},
        ],
        "path": [
            [start_s + step / 4, 100.0 + 10 * step, 200.0, 150.0 + 10 * step, 230.0]
            for start_s in (1.0, 2.0)
            for step in range(5)
        ],
    }


MOTION = {
    "heading": "right",
    "heading_deg": 0.0,
    "speed": 1.0,
    "turn": "none",
    "turn_deg": 0.0,
    "stopped": False,
    "approaching": False,
    "leaving": False,
    "entry_side": None,
    "exit_side": None,
}


@pytest.mark.parametrize("chosen", [["v2"], ["/videos/v2.mp4"], ["v2", "/videos/v2.mp4"]])
def test_videos_are_chosen_by_id_or_address(store: IndexStore, chosen: list[str]) -> None:
    lines = "".join(export_timelines(store, "jsonl", chosen)).splitlines()
    assert [json.loads(line)["object_id"] for line in lines] == ["v2-o3", "v2-o1"]


def test_an_unknown_video_or_format_is_refused_before_anything_is_written(store: IndexStore) -> None:
    with pytest.raises(InputError, match=r"no video '/videos/v3\.mp4'"):
        export_timelines(store, "jsonl", ["v1", "/videos/v3.mp4"])
    with pytest.raises(UnknownNameError, match=r"'xml'.*jsonl"):
        export_timelines(store, "xml")


@pytest.mark.parametrize("name", EXPORTERS)
def test_an_empty_index_exports_nothing_wrong(tmp_path: Path, name: str) -> None:
    empty = IndexStore.open(tmp_path / "e", create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    assert "".join(export_timelines(empty, name)) == ""


def test_a_hit_as_json_has_the_promised_keys() -> None:
    hit = Hit(
        object_id="o1",
        moment_id="m1",
        video_id="v1",
        uri="/a.mp4",
        start_s=1.23456,
        end_s=2.0,
        score=0.123456,
        caption="A car.",
        attributes=make_attributes("red"),
        motion=make_motion(heading_deg=None),
        box=Box(1.04, 2.0, 3.0, 4.0),
        why=("colour red",),
        thumbnail=b"\xff",
    )
    assert json.loads(json.dumps(hit_to_json(hit))) == {
        "object_id": "o1",
        "moment_id": "m1",
        "video_id": "v1",
        "uri": "/a.mp4",
        "start_s": 1.235,
        "end_s": 2.0,
        "score": 0.1235,
        "caption": "A car.",
        "attributes": {"colours": ["red"], "colour_shares": [0.75], "size": "medium", "category": ""},
        "motion": {**MOTION, "heading_deg": None},
        "box": [1.0, 2.0, 3.0, 4.0],
        "why": ["colour red"],
    }
