"""Records as JSON: the keys that programs rely on."""

from __future__ import annotations

import json

import pytest

from tests.index.factories import make_attributes, make_motion
from tubelet.index.exporting.json_values import dump, hit_to_json, stream_array
from tubelet.records import Box, Hit


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
        "motion": {
            "heading": "right",
            "heading_deg": None,
            "speed": 1.0,
            "turn": "none",
            "turn_deg": 0.0,
            "stopped": False,
            "approaching": False,
            "leaving": False,
            "entry_side": None,
            "exit_side": None,
        },
        "box": [1.0, 2.0, 3.0, 4.0],
        "why": ["colour red"],
    }


@pytest.mark.parametrize("values", [[], [1], [{"a": "b"}, None, "c"]])
def test_a_streamed_array_is_json(values: list[object]) -> None:
    assert json.loads("".join(stream_array(values))) == values


def test_numbers_that_json_lacks_are_our_mistake() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        dump(float("nan"))
