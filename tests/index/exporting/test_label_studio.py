"""Label Studio: read by a parser that holds to the published form of video predictions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.index.exporting.library import NASTY, STREET, YARD, read_text
from tubelet.index.exporting.timelines import Timelines
from tubelet.index.store import IndexStore


def parse_tasks(text: str) -> list[dict[str, Any]]:
    """Tasks whose regions have boxes in percent, frames from 1 in order, and an end."""
    tasks: list[dict[str, Any]] = json.loads(text)
    for task in tasks:
        assert isinstance(task["data"]["video"], str)
        (prediction,) = task["predictions"]
        ids = [region["id"] for region in prediction["result"]]
        assert len(set(ids)) == len(ids)
        for region in prediction["result"]:
            assert region["type"] == "videorectangle"
            assert (region["from_name"], region["to_name"]) == ("box", "video")
            value = region["value"]
            frames = [step["frame"] for step in value["sequence"]]
            assert frames == sorted(set(frames))
            assert frames[0] >= 1
            assert frames[-1] <= value["framesCount"]
            assert value["sequence"][-1]["enabled"] is False
            assert all(step["rotation"] == 0 and step["time"] >= 0 for step in value["sequence"])
    return tasks


def test_there_is_a_box_in_every_frame_that_the_object_is_seen(timelines: Timelines) -> None:
    tasks = parse_tasks(read_text(timelines, "label-studio"))
    assert [task["data"]["video"] for task in tasks] == [STREET.uri, YARD.uri]
    car = tasks[0]["predictions"][0]["result"][0]
    steps = car["value"]["sequence"]
    assert [step["frame"] - 1 for step in steps] == [*range(26), *range(50, 59)]
    assert [step["frame"] - 1 for step in steps if not step["enabled"]] == [25, 58]
    for step in steps:
        frame = step["frame"] - 1
        assert step["x"] * STREET.width / 100 == pytest.approx(20 + 2 * frame, abs=0.01)
        assert step["y"] * STREET.height / 100 == pytest.approx(50.5, abs=0.01)
        assert step["width"] * STREET.width / 100 == pytest.approx(40, abs=0.01)
        assert step["height"] * STREET.height / 100 == pytest.approx(30, abs=0.01)
        assert step["time"] == pytest.approx(frame / 25)
    assert car["value"]["labels"] == ["car"]
    assert car["meta"]["text"] == [NASTY, "A red car stops."]
    assert (car["value"]["framesCount"], car["value"]["duration"]) == (100, 4.0)


def test_measured_frames_alone_can_be_asked_for(store: IndexStore) -> None:
    tasks = parse_tasks(read_text(Timelines(store, every_frame=False), "label-studio"))
    steps = tasks[0]["predictions"][0]["result"][0]["value"]["sequence"]
    assert [step["frame"] - 1 for step in steps] == [0, 4, 8, 12, 17, 21, 25, 50, 54, 58]
