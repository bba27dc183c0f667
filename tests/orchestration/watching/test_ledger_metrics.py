"""Metrics of the ledger: sums, and nothing that names anybody's videos."""

from __future__ import annotations

from tests.orchestration.ledger.steps import acquire, begin, plan_id
from tests.orchestration.watching.metrics_reading import Found, read_samples
from tubelet.errors import StoreError
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import UnitFailure
from tubelet.orchestration.ledger.sqlite import SqliteLedger
from tubelet.orchestration.watching.ledger_metrics import LedgerCollector


def collect(collector: LedgerCollector) -> Found:
    return read_samples(collector.collect())


def test_the_ledger_is_told_in_sums(ledger: SqliteLedger) -> None:
    begin(ledger, "x", "y")
    collector = LedgerCollector(lambda: [ledger, ledger])
    assert collect(collector)["tubelet_units", (("kind", "plan"), ("state", "waiting"))] == 4
    ledger.fail(
        acquire(ledger, plan_id("x")), UnitFailure("transient", "away", seconds=7200.0, gpu_seconds=1800.0)
    )
    fresh = collect(LedgerCollector(lambda: [ledger]))
    assert fresh["tubelet_attempts_failed_total", (("error_class", "transient"), ("kind", "plan"))] == 1
    assert fresh["tubelet_gpu_seconds_total", (("kind", "plan"),)] == 1800
    assert ("tubelet_gpu_seconds_per_video_hour", ()) not in fresh, "nothing was tracked yet"
    assert collect(collector)["tubelet_units", (("kind", "plan"), ("state", "waiting"))] == 4, "kept a second"
    assert not any("archive" in str(key) for key in fresh)


def test_a_ledger_that_is_away_is_told_and_not_asked_at_once_again() -> None:
    asked = []

    def find() -> list[Ledger]:
        asked.append(1)
        raise StoreError("away")

    collector = LedgerCollector(find)
    assert collect(collector) == collect(collector) == {("tubelet_ledger_up", ()): 0}
    assert len(asked) == 1
