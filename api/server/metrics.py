"""Metrics of the service, in Prometheus' text format: its requests, and what its ledgers and workers say.

They are sums over all tenants, whose names appear nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tubelet.api.server.tenants import list_tenants
from tubelet.orchestration.ledger.opening import is_local_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.watching.ledger_metrics import LedgerCollector
from tubelet.orchestration.watching.worker_metrics import WorkerCollector

if TYPE_CHECKING:
    from tubelet.api.server.state import Service

METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")

disable_created_metrics()  # type: ignore[no-untyped-call]  # when counting began is nobody's question, and would double the series


class RequestCounts:
    """Requests by method and status, and how long they took."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counts = Counter(
            "tubelet_api_requests",
            "Requests that were answered",
            ["method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "tubelet_api_request_seconds",
            "Seconds from a request to the end of its answer",
            ["method"],
            registry=self.registry,
        )

    def add(self, method: str, status: int, seconds: float) -> None:
        """Count one request that was answered."""
        known = method if method in METHODS else "other"
        self._counts.labels(known, status).inc()
        self._seconds.labels(known).observe(seconds)


class _ServiceCollector(Collector):
    """Who listens to batches."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        yield GaugeMetricFamily(
            "tubelet_api_listeners",
            "Callers that listen to the events of a batch",
            value=self._service.watch.num_listeners,
        )


def register_service(service: Service) -> None:
    """Add to the metrics of requests what the service's parts have to say."""

    def find_ledgers() -> Iterator[Ledger]:
        for name in list_tenants(service.settings):
            tenant = service.tenants.get(name)
            location = tenant.settings.ledger_location
            if not is_local_ledger(location) or Path(location.removeprefix("sqlite:///")).exists():
                yield tenant.ledger

    def find_homes() -> Iterator[Path]:
        for name in list_tenants(service.settings):
            yield service.tenants.get(name).settings.home

    for collector in (
        _ServiceCollector(service),
        LedgerCollector(find_ledgers),
        WorkerCollector(find_homes),
    ):
        service.counts.registry.register(collector)


def render_metrics(service: Service) -> tuple[bytes, str]:
    """The text and its media type."""
    return generate_latest(service.counts.registry), CONTENT_TYPE_PLAIN_0_0_4
