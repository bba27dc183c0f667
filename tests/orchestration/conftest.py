"""Short real clips, and rows of an index as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import lancedb
import pytest

from tests.orchestration.ray_head import RayHead, run_head
from tubelet.api.demo_scene import render_scene
from tubelet.orchestration.batches import submit_batch
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Batch
from tubelet.orchestration.listing import list_batch
from tubelet.orchestration.resources import make_s3_options, open_index
from tubelet.orchestration.runner import run_leased
from tubelet.orchestration.stages import close_reader
from tubelet.settings import Settings


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


def work_off(source: Path, settings: Settings, ledger: Ledger) -> Batch:
    """Submit a source and run its units one after the other in this process; the batch."""
    batch = submit_batch([str(source)], settings=settings, ledger=ledger)
    index = open_index(settings, create=True)
    list_batch(batch, ledger=ledger, index=index, s3=make_s3_options(settings))
    while ready := ledger.take_ready(10, redispatch_s=0):
        for unit in ready:
            run_leased(unit.unit_id, ledger=ledger, place=settings, owner="test")
    close_reader()
    return batch


def index_here(source: Path, settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """The rows of a source when its units run one after the other in this process."""
    with closing(open_ledger(settings.ledger_location)) as ledger:
        work_off(source, settings, ledger)
    return read_rows(settings.home)


@pytest.fixture(scope="session")
def ray_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    """One Ray cluster for all tests of a process."""
    with run_head(tmp_path_factory.mktemp("ray")) as head:
        yield head
