"""A few seeds of chaos for each executor: processes, servers and disks fail; rows are as in a quiet run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestration.chaos import Report, run_round
from tests.orchestration.chaos_deployment import CREDENTIALS, Archive, Kind
from tests.redis_server import has_redis

NUM_SEEDS = 2


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with Archive(tmp_path_factory.mktemp("archive") / "files") as archive:
        yield archive


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("local", 6),
        pytest.param(
            "celery",
            100,
            marks=[pytest.mark.redis, pytest.mark.skipif(not has_redis(), reason="no redis-server")],
        ),
    ],
)
def test_rows_survive_chaos(
    kind: Kind, first: int, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    report = Report()
    run_round(kind, range(first, first + NUM_SEEDS), archive, tmp_path / "round", report)
    assert report.losses == []
    assert report.num_runs == NUM_SEEDS
    assert sum(report.faults.values()) > 0
