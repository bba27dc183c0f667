"""What the service tells of itself and of its ledgers, and whom."""

from __future__ import annotations

import json
import logging
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import Served, StartService
from tests.api.tiny_index import make_settings
from tubelet.api.keys import KeyFile, find_key_file
from tubelet.api.server.tenants import make_tenant_settings
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.records import Batch, NewItem, UnitResult
from tubelet.orchestration.watching.logs import IdFilter, JsonFormatter
from tubelet.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path / "home")


def run_plan(settings: Settings, video_id: str) -> None:
    """A batch of one video, whose plan took half a second."""
    with closing(open_ledger(settings.ledger_location)) as ledger:
        ledger.create_batch(Batch(f"b-{video_id}", "of acme-secret", 1.0, ("s3://acme-secret/x",), "{}", "d"))
        ledger.add_items(f"b-{video_id}", [NewItem("s3://acme-secret/x.mp4", "etag", 5, video_id)])
        lease = ledger.acquire(f"plan:{video_id}.d", "w", lease_s=60)
        assert lease is not None
        ledger.complete(lease, UnitResult(0.5, duration_s=1.0))


def scrape(served: Served, **headers: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples by name and labels."""
    answer = served.client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_requests_are_counted(start_service: StartService, settings: Settings) -> None:
    served = start_service(settings)
    served.get("/healthz")
    served.get("/v1/batches/none", 404)
    found = scrape(served)
    assert found["tubelet_api_requests_total", (("method", "GET"), ("status", "200"))] == 1
    assert found["tubelet_api_requests_total", (("method", "GET"), ("status", "404"))] == 1
    assert found["tubelet_api_request_seconds_count", (("method", "GET"),)] == 2
    assert found["tubelet_api_listeners", ()] == 0


def test_ledgers_of_all_tenants_are_summed_and_no_name_is_told(
    start_service: StartService, settings: Settings
) -> None:
    keys = KeyFile(find_key_file(settings))
    admin = keys.add("watcher", scopes=("admin",))
    searcher = keys.add("searcher", tenant="acme-secret", scopes=("search", "submit"))
    run_plan(settings, "v1")
    run_plan(make_tenant_settings(settings, "acme-secret"), "v2")
    served = start_service(settings, is_local=False)
    for key in (searcher, "tk_unknown", ""):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        assert served.client.get("/metrics", headers=headers).status_code in (401, 403)
    found = scrape(served, Authorization=f"Bearer {admin}")
    assert found["tubelet_ledger_up", ()] == 1
    assert found["tubelet_units", (("kind", "plan"), ("state", "done"))] == 2
    assert found["tubelet_unit_seconds_total", (("kind", "plan"),)] == 1.0
    assert "acme" not in served.client.get("/metrics", headers={"Authorization": f"Bearer {admin}"}).text


def test_metrics_of_an_empty_home_make_no_ledger(start_service: StartService, settings: Settings) -> None:
    served = start_service(settings)
    assert scrape(served)["tubelet_ledger_up", ()] == 1
    assert not Path(settings.ledger_location).exists()


def test_operators_have_a_port_of_their_own(
    start_service: StartService, settings: Settings, lines: list[str]
) -> None:
    KeyFile(find_key_file(settings)).add("somebody")
    served = start_service(settings.model_copy(update={"metrics_port": 0}), is_local=False)
    served.get("/metrics", 401)
    (line,) = [told["message"] for told in map(json.loads, lines) if told["message"].startswith("Metrics: ")]
    address = line.removeprefix("Metrics: ")
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert b'tubelet_api_requests_total{method="GET",status="401"} 1.0' in answer.read()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged, as JSON lines."""
    told: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(self.format(record))

    listener = Listener()
    listener.addFilter(IdFilter())
    listener.setFormatter(JsonFormatter())
    logger = logging.getLogger("tubelet.api.server")
    before = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    yield told
    logger.setLevel(before)
    logger.removeHandler(listener)


def test_lines_of_a_request_carry_its_id(
    start_service: StartService, settings: Settings, lines: list[str]
) -> None:
    served = start_service(settings)
    served.client.get("/healthz", headers={"X-Request-ID": "asked-1"})
    served.client.get("/healthz", headers={"X-Request-ID": "asked-2"})
    told = [json.loads(line) for line in lines]
    assert [line["request"] for line in told if "/healthz" in line["message"]] == ["asked-1", "asked-2"]
