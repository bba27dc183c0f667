"""A batch that `tubelet work` or a Celery worker does: its metrics, its lines and its trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.orchestration.celery_workers import ROOT, run_worker, wait_until
from tests.orchestration.light_models import LIGHT
from tests.orchestration.watching.metrics_reading import Found, fetch_metrics
from tests.orchestration.watching.spans import Received, check_trace, read_texts, receiving_spans
from tests.redis_server import RedisServer, has_redis
from tubelet.errors import InputError
from tubelet.orchestration.batches import submit_batch
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.sqlite import SqliteLedger
from tubelet.orchestration.listing import list_batch
from tubelet.orchestration.pipeline import is_ended
from tubelet.orchestration.resources import make_s3_options, open_index
from tubelet.orchestration.watching.serving import make_work_registry, serving_metrics
from tubelet.settings import Settings, load_settings


def test_a_port_that_is_taken_is_told(tmp_path: Path, ledger: SqliteLedger) -> None:
    settings = load_settings({"home": tmp_path, "metrics_port": 0})
    registry = make_work_registry(settings, ledger)
    with serving_metrics(settings, registry) as address:
        port = int(address.rsplit(":", 1)[1].split("/")[0])
        assert address == f"http://127.0.0.1:{port}/metrics"
        again = settings.model_copy(update={"metrics_port": port})
        with pytest.raises(InputError, match="--metrics-port"), serving_metrics(again, registry):
            pass


@contextmanager
def working(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`tubelet work` in a process of its own."""
    models = ("captioner", "embedder", "recogniser")
    names = ("home", "workers", *models, "log_format", "log_level", "metrics_port", "traces")
    given = {f"TUBELET_{n.upper()}": str(v) for n in names if (v := getattr(settings, n)) not in ("", None)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tubelet", "work"],
            stderr=output,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **given},
            cwd=ROOT,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def submit(settings: Settings, clip: Path) -> str:
    with closing(open_ledger(settings.ledger_location)) as ledger:
        return submit_batch([str(clip)], settings=settings, ledger=ledger).batch_id


def wait_for_end(settings: Settings, batch_id: str) -> None:
    with closing(open_ledger(settings.ledger_location)) as ledger:

        def has_ended() -> bool:
            batch = ledger.get_batch(batch_id)
            return batch is not None and is_ended(batch, ledger)

        wait_until(has_ended, "the batch has ended")
        assert ledger.count_items(batch_id).done == 1, ledger.list_items(batch_id)


def read_lines(log: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@dataclass
class Watched:
    """A batch of one clip that `tubelet work` has done, and what could be seen of it."""

    batch_id: str
    found: Found
    lines: list[dict[str, str]]
    spans: list[Received]
    process_id: int


@pytest.fixture(scope="module")
def watched(short_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with receiving_spans() as (receiver, spans):
        settings = load_settings(
            {
                **{"home": folder / "home", "workers": 1, "chunk_s": 5.0, "margin_s": 1.0, **LIGHT},
                **{"metrics_port": 0, "log_format": "json", "log_level": "info", "traces": receiver},
            },
            environment={},
        )
        batch_id, log = submit(settings, short_clip), folder / "log"
        with working(settings, log) as process:
            wait_until(lambda: b"/metrics" in log.read_bytes(), "metrics are served")
            address = next(word for word in log.read_text().split() if word.endswith("/metrics"))
            look = partial(fetch_metrics, address)
            look()  # from now on workers keep notes
            wait_for_end(settings, batch_id)
            wait_until(lambda: look().get(("tubelet_captions_total", ())), "the last unit counts")
            names = {"tubelet_worker_memory_bytes"}
            wait_until(lambda: names & {name for name, _ in look()}, "the worker's note")
            found = look()
        yield Watched(batch_id, found, read_lines(log), spans, process.pid)


def test_metrics_of_a_batch(watched: Watched) -> None:
    found = watched.found
    for kind, num in (("plan", 1), ("chunk", 2), ("video", 1)):
        assert found["tubelet_units", (("kind", kind), ("state", "done"))] == num
        assert found["tubelet_units_done_total", (("kind", kind),)] == num
        assert found["tubelet_unit_seconds_total", (("kind", kind),)] > 0
    assert 30 <= found["tubelet_frames_total", ()] <= 45, "3 a second, and the margins"
    assert found["tubelet_video_seconds_total", ()] == pytest.approx(10.0, abs=0.2)
    assert found["tubelet_video_seconds_left", ()] == 0
    assert found["tubelet_gpu_seconds_per_video_hour", ()] == 0
    stages = {labels for name, labels in found if name == "tubelet_stage_seconds_total"}
    for kind, stage in (("chunk", "read"), ("chunk", "track"), ("video", "describe"), ("video", "commit")):
        assert (("kind", kind), ("stage", stage)) in stages


def test_lines_of_a_batch(watched: Watched) -> None:
    told = [line for line in watched.lines if "is done in" in line["message"]]
    assert {line["batch"] for line in told} == {watched.batch_id}
    assert len({line["video"] for line in told}) == 1
    assert sorted(line["unit"].split(":")[0] for line in told) == ["chunk", "chunk", "plan", "video"]
    assert sorted(line["chunk"] for line in told if "chunk" in line) == ["00000", "00001"]


def test_one_trace_for_a_video_over_all_processes(watched: Watched, short_clip: Path) -> None:
    units = ("plan", "chunk", "chunk", "video")
    root = check_trace(watched.spans, str(short_clip), units=units, submitter=watched.process_id)
    assert read_texts(root.attributes)["tubelet.batch"] == watched.batch_id


@pytest.mark.redis
def test_celery_workers_log_and_measure(short_clip: Path, tmp_path: Path) -> None:
    if not has_redis():
        pytest.skip("redis-server is not installed")
    with RedisServer(tmp_path) as server:
        shared = {"ledger": server.url, "executor": "celery", **LIGHT}
        settings = load_settings({"home": tmp_path / "home", **shared})
        environment = {
            **{"TUBELET_LEDGER": server.url, "TUBELET_HOME": str(tmp_path / "home")},
            **{"TUBELET_LOG_FORMAT": "json", "TUBELET_METRICS_PORT": "0", "TUBELET_EXECUTOR": "celery"},
        }
        log = tmp_path / "log"
        with run_worker(environment, log, concurrency=1), closing(open_ledger(server.url)) as ledger:
            wait_until(lambda: b"/metrics" in log.read_bytes(), "metrics are served")
            (message,) = [line["message"] for line in read_lines(log) if "/metrics" in line["message"]]
            batch = submit_batch([str(short_clip)], settings=settings, ledger=ledger)
            index = open_index(settings, create=True)
            list_batch(batch, ledger=ledger, index=index, s3=make_s3_options(settings))
            from tubelet.orchestration.celery_executor import CeleryExecutor

            with CeleryExecutor(settings) as executor:
                (plan,) = ledger.take_ready(1, redispatch_s=60.0)
                executor.send(plan)
            wait_until(lambda: b"is done in" in log.read_bytes(), "the plan is done")
            found = fetch_metrics(message.removeprefix("Metrics: "))
            assert found["tubelet_units_done_total", (("kind", "plan"),)] == 1
            assert found["tubelet_queue_depth", (("kind", "chunk"),)] == 0
        (told,) = [line for line in read_lines(log) if "is done in" in line["message"]]
        assert (told["batch"], told["unit"]) == (batch.batch_id, plan.unit_id)
