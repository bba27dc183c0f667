"""Prometheus and Grafana: whatever is asked for is what the code exports, and whoever asks reaches it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from tests.infra.files import INFRA, read_yaml
from tubelet.api.server.metrics import RequestCounts, register_service
from tubelet.api.server.state import open_service
from tubelet.orchestration.ledger.records import Batch, NewItem, UnitFailure, UnitResult
from tubelet.orchestration.ledger.sqlite import SqliteLedger
from tubelet.orchestration.watching import worker_notes
from tubelet.orchestration.watching.serving import make_work_registry
from tubelet.settings import load_settings

COMPOSE = INFRA / "compose"
DASHBOARD = COMPOSE / "grafana" / "dashboards" / "tubelet.json"
FUNCTIONS = {"rate", "sum", "max", "min", "count", "by", "le", "histogram_quantile"}
OF_LEDGER = re.compile(r"tubelet_(?!api_|gpu_memory|worker_memory|queue_depth)\w+")
Exported = dict[str, set[str]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Every series that is really exported, with the names of its labels: one of each kind has happened."""
    home = tmp_path_factory.mktemp("exported")
    settings = load_settings(
        {"home": home, "executor": "celery", "broker": "redis://127.0.0.1:1/0"}, environment={}
    )
    found: Exported = {"tubelet_queue_depth": {"kind"}}  # no broker runs here; tests of Celery see it
    with closing(SqliteLedger(home / "ledger.sqlite")) as ledger, pytest.MonkeyPatch.context() as patch:
        ledger.create_batch(Batch("b", "", 1.0, ("x",), "{}", "d"))
        ledger.add_items("b", [NewItem(f"{n}.mp4", "etag", 5, n) for n in ("v", "w")])
        for video, result in (("v", None), ("w", UnitResult(1.0, stage_seconds=(("open", 1.0),)))):
            lease = ledger.acquire(f"plan:{video}.d", "o", lease_s=60)
            assert lease is not None
            if result is None:
                ledger.fail(lease, UnitFailure("transient", "away", retry_after_s=0.0))
            else:
                ledger.complete(lease, result)
        patch.setattr(worker_notes, "measure_gpu_memory", lambda: {"cuda:0": {"allocated": 1}})
        worker_notes.ask_for_notes(home)
        worker_notes.keep_note(settings)
        _note(found, make_work_registry(settings, ledger))
    service = open_service(settings, is_local=True)
    try:
        register_service(service)
        service.counts.add("GET", 200, 0.1)
        _note(found, service.counts.registry)
    finally:
        service.close()
    return found


def _note(found: Exported, registry: CollectorRegistry) -> None:
    for family in registry.collect():
        found.setdefault(family.name, set())  # a family that has no sample yet
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)


def _expressions() -> Iterator[tuple[str, str, str]]:
    """Title of the panel, PromQL and legend of every question."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]


def check_expression(expression: str, exported: Exported) -> set[str]:
    """The labels that the series of an expression have. Fails for a name that is not exported."""
    bare = re.sub(r'"[^"]*"', '""', re.sub(r"\[\d+[smhd]\]", "", expression))
    assert all(bare.count(a) == bare.count(b) for a, b in ("()", "{}"))
    series = {name for name in re.findall(r"[a-z_]\w*", bare) if name.startswith("tubelet_")}
    assert series, expression
    assert series <= set(exported), f"not exported: {series - set(exported)}"
    labels = {"instance", "job"}.union(*(exported[name] for name in series))
    used = set(re.findall(r"by \(([^)]*)\)", bare)) | set(re.findall(r"\{([a-z_]+)=", bare))
    named = {label.strip() for group in used for label in group.split(",")}
    assert named <= labels, f"no such label: {named - labels}"
    words = set(re.findall(r"[a-z_]\w*", re.sub(r"\{[^}]*\}|by \([^)]*\)", "", bare))) - series
    assert words <= FUNCTIONS, words
    return labels


def test_the_dashboard_asks_for_what_is_exported(exported: Exported) -> None:
    asked = set()
    for title, expression, legend in _expressions():
        labels = check_expression(expression, exported)
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= labels, title
        asked |= set(re.findall(r"tubelet_\w+", expression))
        for name in OF_LEDGER.findall(expression):  # all workers tell the same of the ledger
            assert re.search(r"\b(max|min)\b", expression), f"{title} counts {name} once for every worker"
    shown = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in asked}
    named = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in exported}
    assert shown == named, "what is exported is shown"


@pytest.mark.parametrize(
    "slip", ["rate(tubelet_frame_total[5m])", "sum by (tenant) (tubelet_units)", "avgg(tubelet_units)"]
)
def test_the_check_finds_a_slip(slip: str, exported: Exported) -> None:
    with pytest.raises(AssertionError):
        check_expression(slip, exported)


def test_panels_have_places_and_the_source_that_is_provisioned() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    (source,) = read_yaml(COMPOSE / "grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"]
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": source["uid"]}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def _read_services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    return services


def test_compose_leads_grafana_to_prometheus_and_that_to_all_who_tell() -> None:
    services = _read_services()
    (config,) = read_yaml(COMPOSE / "prometheus/prometheus.yaml")
    asked = [target for job in config["scrape_configs"] for target in job["dns_sd_configs"]]
    assert {name for target in asked for name in target["names"]} == {"worker", "worker-gpu", "api"}
    for target in asked:
        assert target["type"] == "A"
        for name in target["names"]:
            environment = services[name]["environment"]
            settings = load_settings(environment={k: v for k, v in environment.items() if "METRICS" in k})
            assert (settings.metrics_host, settings.metrics_port) == ("0.0.0.0", target["port"])
            assert "watching" in services[name]["networks"]
    for name in ("prometheus", "grafana"):
        assert services[name]["networks"] == ["watching"], (
            "they have no business with the store or the ledger"
        )
        for volume in services[name]["volumes"]:
            if volume["type"] == "bind":
                assert volume["read_only"]
                assert (COMPOSE / volume["source"]).exists()
    command = services["prometheus"]["command"]
    mounted = {volume["target"] for volume in services["prometheus"]["volumes"]}
    assert f"--config.file={next(path for path in mounted if path.endswith('.yaml'))}" in command
    (source,) = read_yaml(COMPOSE / "grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = read_yaml(COMPOSE / "grafana/provisioning/dashboards/tubelet.yaml")[0]["providers"]
    folders = {volume["target"]: volume.get("source") for volume in services["grafana"]["volumes"]}
    folder = COMPOSE / folders[provider["options"]["path"]]
    assert list(folder.iterdir()) == [DASHBOARD]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{DASHBOARD.name}"


@pytest.mark.parametrize(
    "path", ["base/api.yaml", "base/worker.yaml", "overlays/gpu/worker-gpu.yaml"], ids=lambda path: path
)
def test_pods_say_where_their_metrics_are_and_serve_them_there(path: str) -> None:
    template = read_yaml(INFRA / "kubernetes" / Path(path))[0]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    port = int(template["metadata"]["annotations"]["prometheus.io/port"])
    assert template["metadata"]["annotations"]["prometheus.io/scrape"] == "true"
    assert port in [each["containerPort"] for each in container["ports"]]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert variables["TUBELET_METRICS_PORT"] == str(port)
    assert variables["TUBELET_METRICS_HOST"] == "0.0.0.0"
    policies = read_yaml(INFRA / "kubernetes" / "base" / "network.yaml")
    (policy,) = [each for each in policies if each["metadata"]["name"] == "tubelet-metrics"]
    (rule,) = policy["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port}]
    component = template["metadata"]["labels"]["app.kubernetes.io/component"]
    assert component in policy["spec"]["podSelector"]["matchExpressions"][0]["values"]


def test_requests_are_counted_by_few_names() -> None:
    counts = RequestCounts()
    for method in ("GET", "BREW", "X" * 99):
        counts.add(method, 405, 0.1)
    methods = {
        sample.labels.get("method") for family in counts.registry.collect() for sample in family.samples
    }
    assert methods == {"GET", "other"}
