"""Serves the metrics of a process over HTTP, for Prometheus to fetch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from tubelet.errors import InputError
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.watching.ledger_metrics import LedgerCollector
from tubelet.orchestration.watching.worker_metrics import QueueCollector, WorkerCollector
from tubelet.settings import Settings


def make_work_registry(settings: Settings, ledger: Ledger) -> CollectorRegistry:
    """What there is to say of one ledger and the workers on this machine."""
    registry = CollectorRegistry()
    registry.register(LedgerCollector(lambda: [ledger]))
    registry.register(WorkerCollector(lambda: [settings.home]))
    if settings.executor == "celery":
        registry.register(QueueCollector(settings))
    return registry


@contextmanager
def serving_metrics(settings: Settings, registry: CollectorRegistry) -> Iterator[str]:
    """Serve a registry at `metrics_host` and `metrics_port` until leaving; gives the address.

    Raises InputError where the address cannot be had.
    """
    host = settings.metrics_host
    try:
        server, thread = start_http_server(settings.metrics_port or 0, host, registry)
    except OSError as error:
        raise InputError(
            f"Metrics cannot be served at {host}:{settings.metrics_port}: {error}",
            expected="an address of this machine, and a port that is free",
            do="choose another --metrics-port (TUBELET_METRICS_PORT)",
        ) from error
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
