"""Short real clips, and rows of an index as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lancedb
import pytest

from tubelet.api.demo_scene import render_scene


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of the rendered junction: a red car turns left, then a white one drives straight."""
    path = tmp_path_factory.mktemp("clips") / "junction.mp4"
    render_scene(path, duration_s=10)
    return path


def read_rows(home: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, in order of its id, without the name of the write that made it."""
    connection = lancedb.connect(home / "index")
    keys = {"videos": "video_id", "tubelets": "object_id", "moments": "moment_id"}
    return {
        name: sorted(
            connection.open_table(name).to_arrow().drop_columns("generation").to_pylist(),
            key=lambda row: str(row[key]),
        )
        for name, key in keys.items()
    }
