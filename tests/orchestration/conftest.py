"""Short real clips, and rows of an index as plain data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lancedb
import pytest

from tests.orchestration.ray_head import RayHead, run_head
from tubelet.api.demo_scene import render_scene


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of the rendered junction: a red car turns left, then a white one drives straight."""
    path = tmp_path_factory.mktemp("clips") / "junction.mp4"
    render_scene(path, duration_s=10)
    return path


def read_rows(home: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, in order of its id, without the name and the fence of the write."""
    connection = lancedb.connect(home / "index")
    keys = {"videos": "video_id", "tubelets": "object_id", "moments": "moment_id"}
    rows = {}
    for name, key in keys.items():
        table = connection.open_table(name).to_arrow()
        of_write = [column for column in ("generation", "fence") if column in table.column_names]
        rows[name] = sorted(table.drop_columns(of_write).to_pylist(), key=lambda row: str(row[key]))
    return rows


RUNS_RAY = os.environ.get("TUBELET_TEST_RAY") == "1"
"""Two clusters on one machine, as two test processes start them, can keep each other from answering."""


@pytest.fixture(scope="session")
def ray_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    """One Ray cluster for all tests of a process."""
    if not RUNS_RAY:
        pytest.skip("tests on a Ray cluster run alone: TUBELET_TEST_RAY=1 .venv/bin/python -m pytest -k ray")
    with run_head(tmp_path_factory.mktemp("ray")) as head:
        yield head
