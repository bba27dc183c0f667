"""`tubelet search` over a small index that is made row by row: requests, pages, refusals."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tests.index.factories import (
    MODELS,
    group_objects,
    make_attributes,
    make_moment,
    make_motion,
    make_video,
)
from tubelet.api.cli.app import run as run_command
from tubelet.index.store import IndexStore
from tubelet.model.embedding import MiniLmEmbedder

CAPTIONS = {
    1: ("A red car turns left.", "red", "left"),
    2: ("A red car turns right.", "red", "right"),
    3: ("A blue van goes straight.", "blue", "none"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three objects of one video, with the vectors of their captions."""
    home = tmp_path_factory.mktemp("home")
    store = IndexStore.open(home / "index", create=True, text_dimensions=384, object_dimensions=0)
    vectors = MiniLmEmbedder().embed([caption for caption, _, _ in CAPTIONS.values()])
    video = make_video()
    moments = [
        make_moment(
            number,
            video,
            caption=caption,
            attributes=make_attributes(colour),
            motion=make_motion(turn=turn),
            text_vector=tuple(vector.tolist()),
        )
        for (number, (caption, colour, turn)), vector in zip(CAPTIONS.items(), vectors, strict=True)
    ]
    store.replace_video(video, group_objects(moments), moments, MODELS)
    return home


def run(home: Path, *arguments: str | Path, code: int = 0, command: str = "search") -> str:
    """What a command prints; its errors when another exit code is expected."""
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        found = run_command([command, "--home", str(home), *map(str, arguments)])
    assert found == code, stderr.getvalue()
    return " ".join(stderr.getvalue().split()) if code else stdout.getvalue()


def search(home: Path, *arguments: str | Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run(home, "--json", *arguments))
    return answer


def list_objects(answer: dict[str, Any]) -> Sequence[str]:
    return [hit["object_id"] for hit in answer["hits"]]


def test_what_was_understood_is_taken_back_as_a_structured_query(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = search(home, "red car turning left")
    assert list_objects(answer)[0] == "v1-o1"
    parsed = json.dumps(answer["parsed"])
    (tmp_path / "query.json").write_text(parsed)
    assert search(home, "--structured", tmp_path / "query.json")["hits"] == answer["hits"]
    monkeypatch.setattr("sys.stdin", io.StringIO(parsed))
    assert search(home, "--structured", "-")["hits"] == answer["hits"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"colour": "red"}', "Unknown field colour"),
        ('{"time": {"start_s": 9, "end_s": 1}}', "start_s is 9"),
        ('{"conditions": [{"kind": "colour", "values": ["1=1"]}]}', "1=1"),
        ('{"text_vector": [1, 2, 3]}', "384"),
        ("nonsense", "Invalid JSON"),
    ],
)
def test_structured_queries_that_cannot_be_meant_are_refused(
    home: Path, tmp_path: Path, text: str, named: str
) -> None:
    (tmp_path / "query.json").write_text(text)
    assert named in run(home, "--structured", tmp_path / "query.json", code=2)


def test_pages_follow_each_other(home: Path) -> None:
    ids = []
    cursor: list[str] = []
    for _ in range(3):
        page = search(home, "--limit", "1", *cursor, "red car")
        ids += list_objects(page)
        cursor = ["--cursor", page.get("next_cursor", "")]
    assert sorted(ids) == ["v1-o1", "v1-o2", "v1-o3"]
    assert cursor == ["--cursor", ""]
    first = search(home, "--limit", "1", "red car")["next_cursor"]
    assert "another query" in run(home, "--limit", "1", "--cursor", first, "blue van", code=2)
    assert "--cursor" in run(home, "--limit", "1", "--thumbnails", home / "pictures", "red car")


def test_limits_alone_are_a_request(home: Path) -> None:
    assert list_objects(search(home, "--colour", "blue")) == ["v1-o3"]
    assert len(list_objects(search(home, "--from", "0:02", "--to", "3s"))) == 3
    assert list_objects(search(home, "--to", "0.5")) == []
    assert len(list_objects(search(home, "--region", "0,0,0.5,1", "--region-how", "inside"))) == 3
    assert list_objects(search(home, "--region", "0.5,0,1,1")) == []
    assert list_objects(search(home, "--video", "v2")) == []
    assert len(list_objects(search(home, "--video", "/videos/v1.mp4", "car"))) == 3


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--from", "soon"], "--from is 'soon'"),
        (["--from", "9", "--to", "3"], "start_s is 9"),
        (["--region", "1,2,3"], "--region is '1,2,3'"),
        (["--region", "0.5,0,0.2,1"], "region's box"),
        (["--region", "0,0,1,1", "--region-how", "over"], "--region-how is 'over'"),
        (["--colour", "mauve"], "'mauve'"),
        (["--video", "v1", "--video", "/videos/v1.mp4"], "by address and by id"),
        (["--like", "nobody"], "no object 'nobody'"),
        (["--like", "v1-o1"], "No vector of object"),
        (["--image", "nowhere.jpg"], "nowhere.jpg"),
        (["--crop", "0,0,5,5", "red"], "without a picture"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    home: Path, arguments: list[str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUBELET_PROFILE", "quick")  # it has a recogniser, which looks at pictures
    assert named in run(home, *arguments, code=2)


def test_objects_are_counted(home: Path) -> None:
    def count(*arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(run(home, "--json", *arguments, command="count"))
        return answer

    assert count("red cars")["num_objects"] == 2
    assert count("not red")["num_objects"] == 1
    assert count()["num_objects"] == 3
    by_colour = count("--by", "colour")["bins"]
    assert [(each["key"], each["num_objects"]) for each in by_colour] == [("red", 2), ("blue", 1)]
    assert [each["key"] for each in count("--by", "time", "--bin-s", "2")["bins"]] == [
        *("0-2 s", "2-4 s", "4-6 s"),
    ]
    told = run(home, "--by", "colour", command="count")
    assert "3 objects in 3 moments" in told
    assert "█" in told
    assert "one of: time" in run(home, "--by", "smell", command="count", code=2)


def test_a_request_is_one_sentence_or_one_file(home: Path, tmp_path: Path) -> None:
    assert "Nothing was asked" in run(home, code=2)
    assert "give one of them" in run(home, "--structured", "-", "red car", code=2)
    assert "cannot be read" in run(home, "--structured", tmp_path / "missing.json", code=2)
