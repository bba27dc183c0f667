"""JSONL, JSON, CSV and Parquet, read back by their own readers."""

from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.index.exporting.library import NASTY, SAMPLED, STREET, YARD, make_car, read_files, read_text
from tubelet.index.exporting.csv_tables import BOX_COLUMNS, MOMENT_COLUMNS
from tubelet.index.exporting.json_values import object_to_json
from tubelet.index.exporting.parquet import SCHEMA
from tubelet.index.exporting.timelines import Timelines


def test_jsonl_has_one_line_an_object_in_order(timelines: Timelines) -> None:
    lines = read_text(timelines, "jsonl").splitlines()
    found = [json.loads(line) for line in lines]
    assert [item["object_id"] for item in found] == ["v1-car", "v1-thing", "v2-dog"]
    assert found[0] == {
        "object_id": "v1-car",
        "video_id": "v1",
        "uri": STREET.uri,
        "category": "car",
        "attributes": {"colours": ["red"], "colour_shares": [0.75], "size": "medium", "category": "car"},
        "start_s": 0.0,
        "end_s": 2.32,
        "moments": [
            {"start_s": 0.0, "end_s": 1.0, "caption": NASTY, "motion": MOTION},
            {"start_s": 2.0, "end_s": 2.32, "caption": "A red car stops.", "motion": MOTION},
        ],
        "path": [
            [frame / 25, 20.0 + 2 * frame, 50.5, 60.0 + 2 * frame, 80.5] for frame in (*SAMPLED, 50, 54, 58)
        ],
    }


MOTION = {
    "heading": "right",
    "heading_deg": 0.0,
    "speed": 1.0,
    "turn": "left",
    "turn_deg": 90.25,
    "stopped": False,
    "approaching": False,
    "leaving": False,
    "entry_side": "left",
    "exit_side": None,
}


def test_json_is_one_document_of_videos_with_objects(timelines: Timelines) -> None:
    document = json.loads(read_text(timelines, "json"))
    assert document["format"] == "tubelet-timelines-1"
    assert [video["video_id"] for video in document["videos"]] == ["v1", "v2"]
    street, yard = document["videos"]
    assert (street["width"], street["frame_rate"], street["warnings"]) == (320, 25.0, [])
    assert street["objects"][0] == json.loads(json.dumps(object_to_json(*make_car())))
    assert [item["object_id"] for item in yard["objects"]] == ["v2-dog"]


def test_csv_has_one_row_a_moment(timelines: Timelines) -> None:
    text = read_text(timelines, "csv")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == MOMENT_COLUMNS
    assert [row["moment_id"] for row in rows] == ["v1-m1", "v1-m2", "v1-m3", "v2-m1"]
    assert rows[0]["caption"] == NASTY
    assert rows[0]["uri"] == STREET.uri
    assert (rows[0]["name"], rows[2]["name"], rows[3]["name"]) == ("car", "object", "dog")
    assert (rows[0]["turn"], float(rows[0]["turn_deg"]), rows[0]["exit_side"]) == ("left", 90.25, "")
    assert rows[0]["stopped"] == "false"
    assert [float(rows[1][f"last_{side}"]) for side in ("x0", "y0", "x1", "y1")] == [136, 50.5, 176, 80.5]
    assert text.count("\r\n") == 5


def test_csv_is_read_alike_by_another_reader(timelines: Timelines) -> None:
    (content,) = read_files(timelines, "csv").values()
    table = pa.csv.read_csv(io.BytesIO(content), parse_options=pa.csv.ParseOptions(newlines_in_values=True))
    assert table["caption"][0].as_py() == NASTY
    assert table["stopped"].to_pylist() == [False] * 4
    assert table["start_s"].to_pylist() == [0.0, 2.0, 0.48, 1.001]


def test_csv_of_boxes_has_true_frame_numbers(timelines: Timelines) -> None:
    rows = list(csv.DictReader(io.StringIO(read_text(timelines, "csv-boxes"), newline="")))
    assert tuple(rows[0]) == BOX_COLUMNS
    car = [row for row in rows if row["object_id"] == "v1-car"]
    assert [int(row["frame"]) for row in car] == [*SAMPLED, 50, 54, 58]
    assert [float(row["x0"]) for row in car] == [20 + 2 * frame for frame in (*SAMPLED, 50, 54, 58)]
    assert rows[-1]["frame"] == "30"
    assert {row["measured"] for row in rows} == {"true"}


def test_parquet_comes_back_with_its_schema(timelines: Timelines) -> None:
    (content,) = read_files(timelines, "parquet").values()
    table = pq.read_table(pa.BufferReader(content))
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    assert [row["object_id"] for row in rows] == ["v1-car", "v1-thing", "v2-dog"]
    assert [row["name"] for row in rows] == ["car", "object", "dog"]
    car, item = rows[0], make_car()[0]
    assert [moment["caption"] for moment in car["moments"]] == [NASTY, "A red car stops."]
    assert car["motion"] == MOTION
    assert [point["frame"] for point in car["path"]] == [*SAMPLED, 50, 54, 58]
    assert [(p["t"], p["x0"], p["y0"], p["x1"], p["y1"]) for p in car["path"]] == [
        pytest.approx(tuple(point), abs=0.005) for point in item.path
    ]
    assert rows[2]["uri"] == YARD.uri
