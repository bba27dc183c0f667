"""Clocks of units, and what their GPUs cost."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest

from tests.orchestration.ledger.steps import acquire, begin, plan_id
from tubelet.orchestration.ledger.records import UnitResult
from tubelet.orchestration.ledger.sqlite import SqliteLedger
from tubelet.orchestration.watching.gpu import count_gpu_seconds, measure_gpu_memory, set_gpu_share
from tubelet.orchestration.watching.unit_watch import timed, timed_iteration, watched_unit


def test_stages_are_timed_and_what_is_inside_counts_once(ledger: SqliteLedger) -> None:
    begin(ledger, "x")
    with watched_unit(acquire(ledger, plan_id("x"))) as watch:
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
