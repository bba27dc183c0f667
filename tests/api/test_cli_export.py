"""`tubelet export` as scripts see it: formats, limits, files and exit codes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.index.exporting.library import fill
from tubelet.api.cli.app import run as run_command
from tubelet.index.exporting.registry import EXPORTERS


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    fill(home / "index")
    return home


def run(home: Path, *arguments: str | Path, code: int = 0) -> tuple[str, str]:
    """Run `tubelet export` in this process; standard output and error."""
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        found = run_command(["export", "--home", str(home), *map(str, arguments)])
    assert found == code, stderr.getvalue()
    return stdout.getvalue(), " ".join(stderr.getvalue().split())


def test_help_lists_every_format(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    listing = " ".join(run(home, "--help")[0].split())
    for name, each in EXPORTERS.items():
        assert f"{name}: {each.about}" in listing.replace("│ │ ", "")


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_format_is_written(home: Path, tmp_path: Path, name: str) -> None:
    said = run(home, "--format", name, "--out", tmp_path / "out")[1]
    assert "written to" in said
    files = [path for path in (tmp_path / "out", *(tmp_path / "out").rglob("*")) if path.is_file()]
    assert len(files) == {"file": 1, "file a video": 2, "folder": 6}[EXPORTERS[name].layout]
    assert all(path.stat().st_size for path in files)


def test_one_video_goes_into_one_file(home: Path, tmp_path: Path) -> None:
    run(home, "--format", "cvat", "--video", "v2", "--out", tmp_path / "yard.xml")
    assert len(ET.parse(tmp_path / "yard.xml").findall("track")) == 1
    assert run(home, "--format", "webvtt", "--video", "v2")[0].startswith("WEBVTT")


def test_limits_choose_objects_and_boxes(home: Path) -> None:
    def ids(*limits: str) -> list[str]:
        return [json.loads(line)["object_id"] for line in run(home, *limits)[0].splitlines()]

    assert ids("--category", "vehicle") == ["v1-car"]
    assert ids("--label", "dog", "--label", "car") == ["v1-car", "v2-dog"]
    assert ids("--colour", "red") == ["v1-car"]
    assert ids("--min-score", "0.8", "--start-s", "1.0", "--end-s", "2") == ["v1-car", "v2-dog"]
    measured = run(home, "--format", "csv-boxes", "--video", "v1")[0].count("\n")
    every = run(home, "--format", "csv-boxes", "--video", "v1", "--frames", "every")[0].count("\n")
    assert every > 2 * measured


@pytest.mark.parametrize(
    "arguments",
    [
        ("--format", "vhs"),
        ("--format", "mot"),
        ("--format", "cvat"),
        ("--video", "v3"),
        ("--start-s", "5", "--end-s", "4"),
        ("--colour", "plaid"),
        ("--frames", "some"),
        ("--out", "/proc/nowhere/file"),
    ],
)
def test_what_cannot_be_done_exits_with_two(home: Path, arguments: tuple[str, ...]) -> None:
    assert run(home, *arguments, code=2)[1]


def test_bytes_go_to_standard_output_whole(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tubelet", "export", "--home", str(home), "--format", "parquet"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    (tmp_path / "out.parquet").write_bytes(done.stdout)
    assert pq.read_table(tmp_path / "out.parquet")["object_id"].to_pylist() == [
        "v1-car",
        "v1-thing",
        "v2-dog",
    ]
