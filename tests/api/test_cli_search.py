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


def run(home: Path, *arguments: str | Path, code: int = 0) -> str:
    """What `tubelet search` prints; its errors when another exit code is expected."""
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        found = run_command(["search", "--home", str(home), *map(str, arguments)])
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


def test_a_request_is_one_sentence_or_one_file(home: Path, tmp_path: Path) -> None:
    assert "Nothing was asked" in run(home, code=2)
    assert "give one of them" in run(home, "--structured", "-", "red car", code=2)
    assert "cannot be read" in run(home, "--structured", tmp_path / "missing.json", code=2)
