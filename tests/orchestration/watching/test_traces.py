"""Traces of single units, and what is loaded for them."""

from __future__ import annotations

import subprocess
import sys

from tests.orchestration.celery_workers import ROOT
from tests.orchestration.ledger.steps import acquire, begin, plan_id
from tests.orchestration.watching.spans import receiving_spans
from tubelet.orchestration.ledger.records import UnitFailure
from tubelet.orchestration.ledger.sqlite import SqliteLedger
from tubelet.orchestration.watching import traces
from tubelet.orchestration.watching.unit_watch import watched_unit
from tubelet.settings import load_settings


def test_without_the_setting_nothing_of_tracing_is_loaded() -> None:
    code = (
        "import sys; from tubelet.orchestration import runner, executors\n"
        "from tubelet.orchestration.watching import traces\n"
        "from tubelet.settings import load_settings; traces.start_tracing(load_settings())\n"
        "assert traces._tracer is None\n"
        "sys.exit('opentelemetry.exporter' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=ROOT)


def test_failed_attempts_and_other_batches_are_in_the_trace(ledger: SqliteLedger) -> None:
    with receiving_spans() as (receiver, received):
        traces.start_tracing(load_settings({"traces": receiver}))
        try:
            begin(ledger, "x")
            begin(ledger, "x", batch_id="b")
            with watched_unit(acquire(ledger, plan_id("x"))) as watch:
                watch.complete_failure(UnitFailure("transient", "the store is away"))
        finally:
            traces.stop_tracing()
    (span,) = [each.span for each in received]
    assert (span.status.code, span.status.message) == (2, "the store is away")
    assert [link.trace_id for link in span.links] != [span.trace_id]
    assert len(span.links) == 1
