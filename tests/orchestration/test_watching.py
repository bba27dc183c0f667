"""Watching the work: lines with ids, metrics over HTTP, and what workers tell of themselves."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from tests.orchestration.celery_workers import run_worker, wait_until
from tests.orchestration.light_models import LIGHT
from tests.redis_server import RedisServer, has_redis
from tubelet.errors import InputError, StoreError
from tubelet.orchestration.batches import submit_batch
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Batch, NewItem, UnitFailure, UnitResult
from tubelet.orchestration.ledger.sqlite import SqliteLedger
from tubelet.orchestration.listing import list_batch
from tubelet.orchestration.pipeline import is_ended
from tubelet.orchestration.resources import make_s3_options, open_index
from tubelet.orchestration.watching import traces
from tubelet.orchestration.watching.gpu import count_gpu_seconds, measure_gpu_memory, set_gpu_share
from tubelet.orchestration.watching.ledger_metrics import LedgerCollector
from tubelet.orchestration.watching.logs import IdFilter, JsonFormatter, log_ids
from tubelet.orchestration.watching.serving import make_work_registry, serving_metrics
from tubelet.orchestration.watching.unit_watch import timed, timed_iteration, watched_unit
from tubelet.orchestration.watching.worker_notes import ask_for_notes, keep_note, read_notes
from tubelet.settings import Settings, load_settings

Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]
ROOT = Path(__file__).resolve().parents[2]


def read_metrics(text: str) -> Found:
    """All samples by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def fetch(address: str) -> Found:
    with urllib.request.urlopen(address, timeout=20) as answer:
        return read_metrics(answer.read().decode())


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        yield ledger


def begin(ledger: Ledger, num_videos: int = 1) -> None:
    ledger.create_batch(Batch("b1", "secret name", 1.0, ("x",), "{}", "d"))
    items = [NewItem(f"s3://secret/{n}.mp4", "etag", 5, f"v{n}") for n in range(num_videos)]
    ledger.add_items("b1", items)


def collect(collector: LedgerCollector) -> Found:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }


# Logs


def test_lines_are_json_with_ids_and_what_went_wrong() -> None:
    try:
        raise ValueError("no\nway")
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("tubelet.x", logging.ERROR, "x.py", 1, "unit %s\nfailed", ("u1",), error)
    with log_ids(batch="b1", video=""), log_ids(unit="u1"):
        assert IdFilter().filter(record)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("error", "tubelet.x", "unit u1\nfailed")
    assert (told["batch"], told["unit"]) == ("b1", "u1")
    assert "video" not in told, "an id that is empty is none"
    assert "ValueError: no\nway" in told["error"]
    later = logging.LogRecord("tubelet.x", logging.INFO, "x.py", 1, "after", (), None)
    IdFilter().filter(later)
    assert "batch" not in json.loads(JsonFormatter().format(later))


# Clocks of units


def test_stages_are_timed_and_what_is_inside_counts_once(ledger: SqliteLedger) -> None:
    begin(ledger)
    lease = ledger.acquire("plan:v0.d", "w", lease_s=60)
    assert lease is not None
    with watched_unit(lease) as watch:
        with timed("track"):
            for _ in timed_iteration("read", iter(range(3))):
                spin(0.01)
            with timed("read"):
                spin(0.02)
        result = watch.complete(UnitResult(watch.seconds))
    seconds = dict(result.stage_seconds)
    assert 0.02 <= seconds["read"] < seconds["track"]
    assert sum(seconds.values()) <= result.seconds
    with timed("track"):
        pass  # outside of units nothing is counted
    assert dict(watch.complete(UnitResult(1.0)).stage_seconds) == seconds


def spin(seconds: float) -> None:
    """Let time pass, as work does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_without_a_gpu_nothing_is_charged() -> None:
    assert count_gpu_seconds("chunk", 5.0) == 0.0
    assert measure_gpu_memory() == {}


def test_a_shared_gpu_is_charged_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's answers are stood in for: there is no GPU where tests run."""
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 2,
        memory_allocated=lambda number: 5,
        memory_reserved=lambda number: 8 * number,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr("tubelet.orchestration.watching.gpu._share", 1.0)
    set_gpu_share(0.25)
    assert count_gpu_seconds("chunk", 8.0) == 2.0
    assert count_gpu_seconds("plan", 8.0) == 0.0, "opening a video needs none"
    assert measure_gpu_memory() == {"cuda:1": {"allocated": 5, "reserved": 8}}


# Metrics of the ledger


def test_the_ledger_is_told_in_sums(ledger: SqliteLedger) -> None:
    begin(ledger, 2)
    collector = LedgerCollector(lambda: [ledger, ledger])
    assert collect(collector)["tubelet_units", (("kind", "plan"), ("state", "waiting"))] == 4
    lease = ledger.acquire("plan:v0.d", "w", lease_s=60)
    assert lease is not None
    ledger.fail(lease, UnitFailure("transient", "away", seconds=7200.0, gpu_seconds=1800.0))
    fresh = collect(LedgerCollector(lambda: [ledger]))
    assert fresh["tubelet_attempts_failed_total", (("error_class", "transient"), ("kind", "plan"))] == 1
    assert fresh["tubelet_gpu_seconds_total", (("kind", "plan"),)] == 1800
    assert ("tubelet_gpu_seconds_per_video_hour", ()) not in fresh, "nothing was tracked yet"
    assert collect(collector)["tubelet_units", (("kind", "plan"), ("state", "waiting"))] == 4, "kept a second"
    assert not any("secret" in str(key) for key in fresh)


def test_a_ledger_that_is_away_is_told_and_not_asked_at_once_again() -> None:
    asked = []

    def find() -> list[Ledger]:
        asked.append(1)
        raise StoreError("away")

    collector = LedgerCollector(find)
    assert collect(collector) == collect(collector) == {("tubelet_ledger_up", ()): 0}
    assert len(asked) == 1


# Notes of workers


def test_workers_keep_notes_when_asked_and_dead_ones_are_forgotten(tmp_path: Path) -> None:
    settings = load_settings({"home": tmp_path})
    keep_note(settings)
    assert list(tmp_path.iterdir()) == [], "nobody asked"
    ask_for_notes(tmp_path)
    keep_note(settings)
    (note,) = read_notes(tmp_path)
    assert note.pid == os.getpid()
    assert note.memory_bytes > 1e6
    path = next((tmp_path / "metrics").iterdir())
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "began_s": 1.0})
    )  # its number, another process
    assert list(read_notes(tmp_path)) == []
    assert list((tmp_path / "metrics").iterdir()) == []


def test_a_gpu_that_fails_costs_only_the_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> dict[str, dict[str, int]]:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr("tubelet.orchestration.watching.worker_notes.measure_gpu_memory", fail)
    ask_for_notes(tmp_path)
    keep_note(load_settings({"home": tmp_path}))
    assert list(read_notes(tmp_path)) == []


# All together


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
    names = ("home", "workers", "embedder", "recogniser", "log_format", "log_level", "metrics_port", "traces")
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
    spans: list[Span]


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
        with working(settings, log):
            wait_until(lambda: b"/metrics" in log.read_bytes(), "metrics are served")
            address = next(word for word in log.read_text().split() if word.endswith("/metrics"))
            fetch(address)  # from now on workers keep notes
            wait_for_end(settings, batch_id)
            wait_until(lambda: fetch(address).get(("tubelet_captions_total", ())), "the last unit counts")
            names = {"tubelet_worker_memory_bytes"}
            wait_until(lambda: names & {name for name, _ in fetch(address)}, "the worker's note")
            found = fetch(address)
        yield Watched(batch_id, found, read_lines(log), spans)


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


def test_one_trace_for_a_video_over_all_processes(watched: Watched) -> None:
    spans = watched.spans
    assert len({span.trace_id for span in spans}) == 1
    (root,) = [span for span in spans if span.name == "submit"]
    assert root.parent_span_id == b""
    units = {span.span_id: span for span in spans if span.parent_span_id == root.span_id}
    assert sorted(span.name for span in units.values()) == ["chunk", "chunk", "plan", "video"]
    stages = {(units[s.parent_span_id].name, s.name) for s in spans if s.parent_span_id in units}
    assert {("plan", "open"), ("chunk", "track"), ("video", "describe"), ("video", "commit")} <= stages
    tracks = {span.span_id for span in spans if span.name == "track"}
    reads = [span for span in spans if span.name == "read" and span.parent_span_id in tracks]
    assert len(reads) >= 2, "reading goes on inside tracking"
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
    told = {pair.key: pair.value.string_value for pair in root.attributes}
    assert told["tubelet.batch"] == watched.batch_id


@contextmanager
def receiving_spans() -> Iterator[tuple[str, list[Span]]]:
    """A receiver of OTLP over HTTP: its address, and what has come."""
    spans: list[Span] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            message = ExportTraceServiceRequest.FromString(body)
            for resource in message.resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", spans
        finally:
            server.shutdown()
            thread.join()


def test_without_the_setting_nothing_of_tracing_is_loaded() -> None:
    code = (
        "import sys; from tubelet.orchestration import runner, executors\n"
        "from tubelet.orchestration.watching import traces\n"
        "from tubelet.settings import load_settings; traces.start_tracing(load_settings())\n"
        "assert traces._tracer is None\n"
        "sys.exit('opentelemetry.exporter' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=ROOT)


def test_failed_attempts_and_other_batches_are_in_the_trace(tmp_path: Path, ledger: SqliteLedger) -> None:
    with receiving_spans() as (receiver, spans):
        traces.start_tracing(load_settings({"traces": receiver}))
        try:
            begin(ledger)
            ledger.create_batch(Batch("b2", "", 2.0, ("x",), "{}", "d"))
            ledger.add_items("b2", [NewItem("s3://secret/0.mp4", "etag", 5, "v0")])
            lease = ledger.acquire("plan:v0.d", "w", lease_s=60)
            assert lease is not None
            with watched_unit(lease) as watch:
                watch.complete_failure(UnitFailure("transient", "the store is away"))
        finally:
            traces.stop_tracing()
    (span,) = spans
    assert (span.status.code, span.status.message) == (2, "the store is away")
    assert [link.trace_id for link in span.links] != [span.trace_id]
    assert len(span.links) == 1


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
            found = fetch(message.removeprefix("Metrics: "))
            assert found["tubelet_units_done_total", (("kind", "plan"),)] == 1
            assert found["tubelet_queue_depth", (("kind", "chunk"),)] == 0
        (told,) = [line for line in read_lines(log) if "is done in" in line["message"]]
        assert (told["batch"], told["unit"]) == (batch.batch_id, plan.unit_id)
