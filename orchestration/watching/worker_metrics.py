"""Metrics of what runs on this machine: its worker processes, and Celery's queues where it sends to them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tubelet.orchestration.watching.worker_notes import ask_for_notes, read_notes
from tubelet.settings import Settings

log = logging.getLogger(__name__)

KEPT_S = 1.0


class WorkerCollector(Collector):
    """Memory of the worker processes of some homes on this machine."""

    def __init__(self, homes: Callable[[], Iterable[Path]]) -> None:
        self._homes = homes

    def describe(self) -> Iterable[Metric]:
        """Nothing: being registered must look at nothing."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics as the workers last noted them, at most some seconds ago."""
        memory = GaugeMetricFamily(
            "tubelet_worker_memory_bytes", "Resident memory of a worker process", labels=["pid"]
        )
        gpu = GaugeMetricFamily(
            "tubelet_gpu_memory_bytes",
            "Memory of a GPU that a worker process has in use (allocated) and keeps (reserved)",
            labels=["pid", "device", "state"],
        )
        for home in self._homes():
            ask_for_notes(home)
            for note in read_notes(home):
                memory.add_metric([str(note.pid)], note.memory_bytes)
                for device, states in note.gpu_bytes.items():
                    for state, num_bytes in states.items():
                        gpu.add_metric([str(note.pid), device, state], num_bytes)
        yield memory
        yield gpu


class QueueCollector(Collector):
    """How many messages wait in Celery's queues. Nothing is told while they cannot be asked."""

    def __init__(self, settings: Settings) -> None:
        from tubelet.orchestration.celery_queues import make_app

        self._app = make_app(settings, waits_for_ever=False)
        self._lock = threading.Lock()
        self._last: dict[str, int] = {}
        self._until_s = 0.0

    def describe(self) -> Iterable[Metric]:
        """Nothing: being registered must ask no broker."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now, or were a moment ago."""
        depth = GaugeMetricFamily(
            "tubelet_queue_depth", "Messages that wait in a queue of Celery", labels=["kind"]
        )
        with self._lock:
            if time.monotonic() >= self._until_s:
                self._last = self._measure()
                self._until_s = time.monotonic() + KEPT_S
            for kind, num in self._last.items():
                depth.add_metric([kind], num)
        yield depth

    def _measure(self) -> dict[str, int]:
        from kombu.exceptions import KombuError
        from redis.exceptions import RedisError

        from tubelet.orchestration.celery_queues import QUEUES

        try:
            with self._app.connection_for_write() as connection:
                channel: Any = connection.default_channel
                return {kind: int(channel.queue_declare(queue=kind).message_count) for kind in QUEUES}
        except (KombuError, RedisError, OSError) as error:
            log.warning("Celery's queues cannot be measured: %s", error)
            return {}
