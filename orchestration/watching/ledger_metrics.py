"""Metrics that come from ledgers when they are asked for: the same from any process, and kept over restarts.

They say nothing of names, addresses or tenants: only sums over all ledgers that they are given.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tubelet.errors import TubeletError
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import StageProgress, UnitKind
from tubelet.orchestration.ledger.totals import FAILED, STAGE

MIN_KEPT_S = 1.0
KEPT_TIMES = 20.0
"""An answer is kept for a second, or for so many times as long as it took: asking costs 5 % at most."""

FAILURE_KEPT_S = 5.0

STATES = ("waiting", "running", "done", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class _Measured:
    """What all ledgers said, and until when that is good."""

    stages: Mapping[UnitKind, Mapping[str, float]]
    totals: Mapping[UnitKind, Mapping[str, float]]
    until_s: float
    is_up: bool


class LedgerCollector(Collector):
    """Sums over the ledgers that `ledgers` finds. Where one does not answer, all count as down."""

    def __init__(self, ledgers: Callable[[], Iterable[Ledger]]) -> None:
        self._ledgers = ledgers
        self._lock = threading.Lock()
        self._last: _Measured | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing: being registered must ask no ledger."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now, or were a moment ago."""
        with self._lock:
            if self._last is None or time.monotonic() >= self._last.until_s:
                self._last = self._measure()
            measured = self._last
        yield GaugeMetricFamily("tubelet_ledger_up", "Whether the ledger answers", value=measured.is_up)
        if measured.is_up:
            yield from _tell_stages(measured.stages)
            yield from _tell_totals(measured.totals)

    def _measure(self) -> _Measured:
        started_s = time.monotonic()
        stages: dict[UnitKind, defaultdict[str, float]] = {}
        totals: dict[UnitKind, defaultdict[str, float]] = {}
        try:
            for ledger in self._ledgers():
                for kind, progress in ledger.measure_stages().items():
                    _add(stages.setdefault(kind, defaultdict(float)), _read_progress(progress))
                for kind, amounts in ledger.measure_totals().items():
                    _add(totals.setdefault(kind, defaultdict(float)), amounts)
        except TubeletError:
            return _Measured({}, {}, time.monotonic() + FAILURE_KEPT_S, is_up=False)
        now_s = time.monotonic()
        kept_s = max(MIN_KEPT_S, KEPT_TIMES * (now_s - started_s))
        return _Measured(stages, totals, now_s + kept_s, is_up=True)


def _read_progress(progress: StageProgress) -> dict[str, float]:
    counts = {state: float(getattr(progress, state)) for state in STATES}
    return {**counts, "left_s": progress.span_s - progress.span_done_s}


def _add(sums: defaultdict[str, float], amounts: Mapping[str, float]) -> None:
    for name, amount in amounts.items():
        sums[name] += amount


def _tell_stages(stages: Mapping[UnitKind, Mapping[str, float]]) -> Iterator[Metric]:
    units = GaugeMetricFamily(
        "tubelet_units", "Units that the ledger holds, by kind and state", labels=["kind", "state"]
    )
    for kind, counts in stages.items():
        for state in STATES:
            units.add_metric([kind, state], counts[state])
    yield units
    chunks = stages.get("chunk", {})
    yield GaugeMetricFamily(
        "tubelet_video_seconds_left",
        "Seconds of open videos to be tracked",
        value=chunks.get("left_s", 0.0),
    )


def _tell_totals(totals: Mapping[UnitKind, Mapping[str, float]]) -> Iterator[Metric]:
    done = CounterMetricFamily("tubelet_units_done", "Units that were done", labels=["kind"])
    failed = CounterMetricFamily(
        "tubelet_attempts_failed", "Attempts at units that failed", labels=["kind", "error_class"]
    )
    seconds = CounterMetricFamily(
        "tubelet_unit_seconds", "Seconds that attempts at units took", labels=["kind"]
    )
    stage_seconds = CounterMetricFamily(
        "tubelet_stage_seconds", "Seconds that stages of finished units took", labels=["kind", "stage"]
    )
    gpu = CounterMetricFamily(
        "tubelet_gpu_seconds", "Seconds of whole GPUs that attempts at units took", labels=["kind"]
    )
    for kind, amounts in totals.items():
        done.add_metric([kind], amounts.get("done", 0.0))
        seconds.add_metric([kind], amounts.get("seconds", 0.0))
        gpu.add_metric([kind], amounts.get("gpu_seconds", 0.0))
        for name, amount in amounts.items():
            if name.startswith(FAILED):
                failed.add_metric([kind, name.removeprefix(FAILED)], amount)
            elif name.startswith(STAGE):
                stage_seconds.add_metric([kind, name.removeprefix(STAGE)], amount)
    yield from (done, failed, seconds, stage_seconds, gpu)
    chunks, videos = totals.get("chunk", {}), totals.get("video", {})
    for name, text, value in (
        ("tubelet_frames", "Frames that were tracked", chunks.get("frames")),
        ("tubelet_video_seconds", "Seconds of video that were tracked", chunks.get("span_s")),
        ("tubelet_objects", "Objects that were described", videos.get("objects")),
        ("tubelet_captions", "Moments that were given a sentence", videos.get("moments")),
    ):
        yield CounterMetricFamily(name, text, value=value or 0.0)
    cost = GaugeMetricFamily(
        "tubelet_gpu_seconds_per_video_hour", "GPU-seconds an hour of video has cost so far, over all time"
    )
    if hours := chunks.get("span_s", 0.0) / 3600:
        cost.add_metric([], sum(amounts.get("gpu_seconds", 0.0) for amounts in totals.values()) / hours)
    yield cost
