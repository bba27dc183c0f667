"""One suite for all executors: wherever units run, the same sources give the same rows and report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.celery_workers import run_worker
from tests.orchestration.conftest import index_here, read_rows
from tests.orchestration.light_models import LIGHT
from tests.orchestration.ray_head import RayHead
from tests.orchestration.watching.spans import Received, check_trace, receiving_spans
from tests.redis_server import RedisServer, has_redis
from tubelet.orchestration.pipeline import SilentObserver, index_sources
from tubelet.orchestration.watching.traces import stop_tracing
from tubelet.records import VideoReport
from tubelet.settings import Settings, load_settings

EXECUTORS = ["local", pytest.param("celery", marks=pytest.mark.redis), "ray"]
OPTIONS = {"chunk_s": 4.0, "margin_s": 1.0, **LIGHT}


class Listener(SilentObserver):
    """Notes what it hears."""

    def __init__(self) -> None:
        self.planned: list[str] = []
        self.ended: list[str] = []
        self.furthest_s = 0.0

    def on_video_planned(self, uri: str, duration_s: float) -> None:
        assert duration_s > 0
        self.planned.append(uri)

    def on_progress(self, done_s: float) -> None:
        self.furthest_s = max(self.furthest_s, done_s)

    def on_video_ended(self, report: VideoReport) -> None:
        self.ended.append(report.uri)


@pytest.fixture(scope="module")
def expected(short_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The rows of the short clip when its units run one after the other in one process."""
    settings = load_settings({"home": tmp_path_factory.mktemp("expected"), **OPTIONS}, environment={})
    return index_here(short_clip, settings)


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Received]]]:
    """Where spans go, and those that came."""
    with receiving_spans() as collector:
        yield collector
        stop_tracing()


@pytest.fixture(params=EXECUTORS)
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, collector: tuple[str, list[Received]]
) -> Iterator[Settings]:
    """The settings of a run, with the workers started that its executor needs."""
    executor: str = request.param
    shared = {"index_uri": str(tmp_path / "index"), "work_uri": str(tmp_path / "shared")}
    shared["traces"], _ = collector
    with ExitStack() as stack:
        if executor == "celery":
            if not has_redis():
                pytest.skip("redis-server is not installed")
            shared["ledger"] = stack.enter_context(RedisServer(tmp_path / "redis", appendfsync="no")).url
            place = {**shared, "home": str(tmp_path / "worker's home")}
            environment = {f"TUBELET_{name.upper()}": value for name, value in place.items()}
            stack.enter_context(run_worker(environment, tmp_path / "worker.log"))
        if executor == "ray":
            head: RayHead = request.getfixturevalue("ray_head")
            shared["ray_address"] = head.address
        yield load_settings(
            {"home": tmp_path / "home", "executor": executor, "workers": 2, **shared, **OPTIONS},
            environment={},
        )


def test_the_same_sources_give_the_same_rows_report_and_traces(
    settings: Settings,
    short_clip: Path,
    tmp_path: Path,
    expected: dict[str, list[dict[str, Any]]],
    collector: tuple[str, list[Received]],
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    listener = Listener()
    report = index_sources([str(short_clip), str(text)], settings=settings, observer=listener)
    assert read_rows(tmp_path) == expected
    states = {Path(video.uri).name: (video.state, video.num_objects) for video in report.videos}
    assert states == {short_clip.name: ("indexed", 2), "text.mp4": ("failed", 0)}
    assert listener.planned == [str(short_clip)]
    assert sorted(listener.ended) == sorted([str(short_clip), str(text)])
    assert listener.furthest_s == pytest.approx(10.0)
    assert not any((tmp_path / "shared").glob("chunks/*"))

    again = index_sources([str(short_clip)], settings=settings)
    assert [video.state for video in again.videos] == ["skipped"]

    _, received = collector
    units = ("plan", "chunk", "chunk", "chunk", "video")
    check_trace(received, str(short_clip), units=units, submitter=os.getpid())
