"""`tubelet index stats | optimize | verify | migrate | remove`, beside indexing paths."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tests.index.factories import MODELS, TEXT_DIMENSIONS, group_objects, make_moment, make_video
from tests.index.test_migrations import write_version_2
from tests.index.writing import break_off, list_visible, put
from tubelet.api.cli.app import run as run_command
from tubelet.index.masks import find_masks, list_videos_with_masks, write_masks
from tubelet.index.schema import SCHEMA_VERSION
from tubelet.index.store import IndexStore
from tubelet.orchestration.ledger.records import Batch, NewItem, NewUnit, UnitResult
from tubelet.orchestration.ledger.sqlite import SqliteLedger
from tubelet.records import Box, Observation, Rle


def run(home: Path, *words: str, code: int = 0) -> str:
    """What the command prints, both outputs together."""
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        found = run_command(["index", *words, "--home", str(home)])
    told = " ".join((stdout.getvalue() + stderr.getvalue()).split())
    assert found == code, told
    return told


def run_json(home: Path, *words: str, code: int = 0) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run(home, *words, "--json", code=code))
    return answer


@pytest.fixture
def store(tmp_path: Path) -> IndexStore:
    """Two videos with masks in a home."""
    store = IndexStore.open(
        tmp_path / "index", create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0
    )
    seen = [Observation(1.0, Box(0, 0, 2, 2), 1.0, Rle(2, 2, b"04"))]
    for name in ("v1", "v2"):
        put(store, make_video(name), 1, 2)
        write_masks(tmp_path, name, [(f"{name}-o1", seen)])
    return store


def test_stats(store: IndexStore, tmp_path: Path) -> None:
    told = run_json(tmp_path, "stats")
    assert told["counts"] == {"videos": 2, "tubelets": 4, "moments": 4}
    assert [table["name"] for table in told["tables"]] == ["videos", "tubelets", "moments"]
    assert "2 videos, 4 objects, 4 moments" in run(tmp_path, "stats")
    assert "tubelet index optimize" in run(tmp_path, "stats")


def test_optimize(store: IndexStore, tmp_path: Path) -> None:
    break_off(store, make_video("v1"), 3)
    told = run_json(tmp_path, "optimize")
    assert told["num_orphans"] == 2
    assert "moments.words" in told["built"]
    assert "none, all are there" in run(tmp_path, "optimize")
    assert "moments.words" in run(tmp_path, "stats")


def test_verify_and_fix(store: IndexStore, tmp_path: Path) -> None:
    assert "2 videos, 4 objects, 4 moments: all is well" in run(tmp_path, "verify")
    assert run_json(tmp_path, "verify")["sound"] is True
    break_off(store, make_video("v1"), 3)
    told = run(tmp_path, "verify", code=1)
    assert "orphan 2:" in told
    assert "for example 1 rows of tubelets of video v1" in told
    assert run_json(tmp_path, "verify", code=1)["findings"][0]["kind"] == "orphan"
    assert run_json(tmp_path, "verify", "--fix")["orphans_removed"] == 2
    find_masks(tmp_path, "v2").write_bytes(b"no masks")
    assert "bad masks" in run(tmp_path, "verify", "--fix", code=1)


def test_verify_compares_the_ledger(store: IndexStore, tmp_path: Path) -> None:
    """The ledger's job with the options that the rows in force were made with has counted 9 objects."""
    video = make_video("v2")
    moments = [make_moment(number, video) for number in (1, 2)]
    store.replace_video(video, group_objects(moments), moments, MODELS, generation="d1.1")
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    ledger.create_batch(Batch("b1", "", 0.0, (video.uri,), "{}", "d1"))
    ledger.add_items("b1", [NewItem(video.uri, "etag:1", 1, "v2")])
    plan = ledger.acquire("plan:v2.d1", "test", lease_s=60)
    assert plan is not None
    ledger.complete(plan, UnitResult(1.0), [NewUnit("video:v2.d1", "video", "{}")])
    finish = ledger.acquire("video:v2.d1", "test", lease_s=60)
    assert finish is not None
    ledger.complete(finish, UnitResult(1.0, num_objects=9))
    ledger.close()
    told = run_json(tmp_path, "verify", code=1)
    assert [finding["examples"] for finding in told["findings"]] == [
        ["video v2: 2 objects, the ledger says 9"]
    ]


def test_remove_takes_the_masks_and_nothing_else(store: IndexStore, tmp_path: Path) -> None:
    assert "holds no video 's3://a/b.mp4'" in run(tmp_path, "remove", "s3://a/b.mp4", code=2)
    assert run_json(tmp_path, "remove", "/videos/v1.mp4") == {"removed": ["v1"]}
    assert list_visible(store) == ["v2-m1", "v2-m2"]
    assert list_videos_with_masks(tmp_path) == ["v2"]
    assert "1 removed: v2" in run(tmp_path, "remove", "v2")
    assert list_videos_with_masks(tmp_path) == []
    assert "0 videos, 0 objects, 0 moments: all is well" in run(tmp_path, "verify")


def test_the_documented_commands_run(
    store: IndexStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = Path(__file__).parents[2] / "docs" / "index-keeping.md"
    (block,) = re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    put(store, make_video("v3", uri=str(tmp_path / "junction.mp4")), 1)
    monkeypatch.chdir(tmp_path)
    for line in block.splitlines():
        program, group, *words = line.split()
        assert (program, group) == ("tubelet", "index")
        assert run(tmp_path, *words)
    assert store.get_video("v3") is None


def test_migrate(tmp_path: Path) -> None:
    write_version_2(tmp_path / "index")
    assert "tubelet index migrate" in run(tmp_path, "stats", code=1)
    assert len(run_json(tmp_path, "migrate")["done"]) == 3 * (SCHEMA_VERSION - 2)  # each step, each table
    assert run(tmp_path, "migrate") == "The index is up to date."
    assert run_json(tmp_path, "stats")["counts"]["moments"] == 1


def test_what_names_no_command_is_a_path(tmp_path: Path) -> None:
    home = tmp_path / "home"
    told = run(home, str(tmp_path / "nowhere.mp4"), code=3)
    assert "nowhere.mp4" in told
    told = run(home, "./stats", code=3)  # a file of a command's name
    assert "0 indexed" in told
    assert "index" in run(home, "remove", code=2)
    with redirect_stdout(io.StringIO()) as stdout:
        assert run_command(["index", "--help"]) == 0
    assert "optimize | verify" in " ".join(stdout.getvalue().split())
