"""Progress and the log."""

from __future__ import annotations

from dataclasses import replace

from tests.orchestration.ledger.steps import (
    FATAL,
    TRANSIENT,
    acquire,
    begin,
    chunk_id,
    finish,
    plan,
    plan_id,
    run_chunks,
    video_id,
)
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Event, StageProgress, UnitResult


def test_stages_count_units_spans_and_work(ledger: Ledger) -> None:
    begin(ledger, "x", "y")
    assert ledger.measure_stages("a") == {"plan": StageProgress(waiting=2)}
    plan(ledger, "x", 3)
    ledger.complete(acquire(ledger, chunk_id("x", 0)), UnitResult(3.0))
    lease = acquire(ledger, chunk_id("x", 1))
    ledger.renew(lease, lease_s=60, progress_s=5.0)
    assert ledger.measure_stages("a") == {
        "plan": StageProgress(waiting=1, done=1, seconds=0.5),
        "chunk": StageProgress(waiting=1, running=1, done=1, span_s=60.0, span_done_s=25.0, seconds=3.0),
        "video": StageProgress(waiting=1, span_s=60.0),
    }
    ledger.fail(lease, TRANSIENT)
    chunk = ledger.measure_stages("a")["chunk"]
    assert chunk == StageProgress(waiting=2, done=1, span_s=60.0, span_done_s=20.0, seconds=5.0)
    ledger.fail(acquire(ledger, chunk_id("x", 2)), FATAL)
    assert ledger.measure_stages("a") == {
        "plan": StageProgress(waiting=1, done=1, seconds=0.5),
        "chunk": StageProgress(done=1, failed=1, cancelled=1, span_s=20.0, span_done_s=20.0, seconds=6.0),
        "video": StageProgress(cancelled=1),
    }
    ledger.retry("a")
    chunk = ledger.measure_stages("a")["chunk"]
    assert chunk == StageProgress(waiting=2, done=1, span_s=60.0, span_done_s=20.0, seconds=6.0)


def test_stages_of_a_batch_are_those_of_the_jobs_it_names(ledger: Ledger) -> None:
    begin(ledger, "x", "y")
    finish(ledger, "y", 1)
    plan(ledger, "x", 2)
    begin(ledger, "x", "z", batch_id="b")  # joins a job that is under way
    both = {
        "plan": StageProgress(waiting=1, done=1, seconds=0.5),
        "chunk": StageProgress(waiting=2, span_s=40.0),
        "video": StageProgress(waiting=1, span_s=40.0),
    }
    assert ledger.measure_stages("b") == both
    assert ledger.measure_stages()["plan"] == StageProgress(waiting=1, done=2, seconds=1.0)
    run_chunks(ledger, "x", 2)
    for batch_id, done in (("a", 3), ("b", 2), ("", 3)):
        assert ledger.measure_stages(batch_id)["chunk"].done == done
    ledger.set_control("a", "cancelled")
    assert ledger.measure_stages("a")["video"] == StageProgress(
        waiting=1, done=1, span_s=60.0, span_done_s=20.0, seconds=4.0
    )
    ledger.complete(acquire(ledger, video_id("x")), UnitResult(2.0))
    assert ledger.measure_stages("b")["video"].done == 1


def test_totals_count_every_attempt_and_never_become_less(ledger: Ledger) -> None:
    begin(ledger, "x", "y")
    assert ledger.measure_totals() == {}
    plan(ledger, "x", 2)
    lease = acquire(ledger, chunk_id("x", 0))
    result = UnitResult(3.0, num_frames=100, gpu_seconds=1.5, stage_seconds=(("read", 0.1), ("track", 2.9)))
    ledger.complete(lease, result)
    ledger.complete(lease, result)  # the answer was lost: nothing counts twice
    late = acquire(ledger, chunk_id("x", 1))
    ledger.fail(late, replace(TRANSIENT, gpu_seconds=0.5, retry_after_s=0.0))
    ledger.fail(late, replace(TRANSIENT, gpu_seconds=0.5, retry_after_s=0.0))
    assert ledger.give_back(acquire(ledger, chunk_id("x", 1)).unit_id, "w1", FATAL)
    totals = {
        "plan": {"done": 1.0, "seconds": 0.5},
        "chunk": {
            "done": 1.0,
            "failed:transient": 1.0,
            "failed:bad input": 1.0,
            "seconds": 6.0,
            "gpu_seconds": 2.0,
            "span_s": 20.0,
            "frames": 100.0,
            "stage:read": 0.1,
            "stage:track": 2.9,
        },
    }
    assert ledger.measure_totals() == totals
    ledger.set_control("a", "cancelled")
    ledger.delete_batch("a")
    assert ledger.measure_stages() == {}
    assert ledger.measure_totals() == totals


def test_spans_that_were_done_before_are_not_counted_again(ledger: Ledger) -> None:
    begin(ledger, "x")
    plan(ledger, "x", 1)
    ledger.complete(acquire(ledger, chunk_id("x", 0)), UnitResult(0.25, resumed=True))
    assert ledger.measure_totals()["chunk"] == {"done": 1.0, "seconds": 0.25}


def test_a_lease_names_the_batches_that_ask(ledger: Ledger) -> None:
    begin(ledger, "x", batch_id="b")
    begin(ledger, "x", "y", batch_id="a")
    assert acquire(ledger, plan_id("x")).batch_ids == ("a", "b")
    assert acquire(ledger, plan_id("y")).batch_ids == ("a",)
    ledger.set_control("a", "cancelled")
    assert ledger.acquire(plan_id("y"), "w1", lease_s=1.0) is None


def test_the_log_is_kept_in_order(ledger: Ledger) -> None:
    begin(ledger, "x")
    events = [
        Event(5.0, "info", "one", batch_id="a"),
        Event(4.0, "error", "zwei\nü", "a", "v-x.d1", plan_id("x"), (("seconds", "1.5"), ("a b", "ü"))),
        Event(6.0, "warning", "three", job_id="v-x.d1"),
    ]
    ledger.add_events(events[:2])
    ledger.add_events(events[2:])
    ledger.add_events([])
    log = ledger.list_events("a")
    assert [(e.time_s, e.level, e.text, e.batch_id, e.job_id, e.unit_id, e.fields) for e in log] == [
        (e.time_s, e.level, e.text, e.batch_id, e.job_id, e.unit_id, e.fields) for e in events
    ]
    numbers = [e.number for e in log]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > 0
    assert ledger.list_events("a", limit=2) == log[:2]
    assert ledger.list_events("a", after=numbers[0], limit=1) == log[1:2]
    assert ledger.list_events("a", after=numbers[2]) == []


def test_events_of_a_job_belong_to_every_batch_that_names_it_by_then(ledger: Ledger) -> None:
    begin(ledger, "x", "y")
    ledger.add_events([Event(1.0, "info", "before", job_id="v-x.d1")])
    begin(ledger, "x", batch_id="b")
    ledger.add_events(
        [
            Event(2.0, "info", "shared", job_id="v-x.d1"),
            Event(2.0, "info", "told by b", batch_id="b", job_id="v-x.d1"),
            Event(2.0, "info", "only y", job_id="v-y.d1"),
            Event(2.0, "info", "only b", batch_id="b"),
            Event(2.0, "info", "of nobody"),
            Event(2.0, "info", "of unknown ones", batch_id="z", job_id="v-z.d1"),
        ]
    )
    assert [e.text for e in ledger.list_events("a")] == ["before", "shared", "told by b", "only y"]
    assert [e.text for e in ledger.list_events("b")] == ["shared", "told by b", "only b"]
    assert [e.text for e in ledger.list_events("")] == ["of nobody", "of unknown ones"]
    assert ledger.list_events("z") == []


def test_numbers_rise_after_a_log_was_forgotten(ledger: Ledger) -> None:
    begin(ledger, batch_id="a")
    ledger.add_events([Event(1.0, "info", "old", batch_id="a")])
    number = ledger.list_events("a")[0].number
    ledger.delete_batch("a")
    begin(ledger, batch_id="a")
    assert ledger.list_events("a") == []
    ledger.add_events([Event(1.0, "info", "new", batch_id="a")])
    assert ledger.list_events("a")[0].number > number


def test_a_log_of_many_events(ledger: Ledger) -> None:
    begin(ledger, batch_id="a")
    ledger.add_events([Event(1.0, "info", str(n), batch_id="a") for n in range(510)])
    paged: list[Event] = []
    while page := ledger.list_events("a", after=paged[-1].number if paged else 0):
        paged += page
    assert [e.text for e in paged] == [str(n) for n in range(510)]
