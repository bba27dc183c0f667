"""Units: what is ready, who holds it, what comes after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.orchestration.ledger.steps import (
    TRANSIENT,
    Clock,
    acquire,
    batch,
    begin,
    chunk_id,
    item,
    plan,
    plan_id,
    ready,
    run_chunks,
    states,
    units_after_plan,
    video_id,
)
from tubelet.errors import LeaseLostError
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Lease, NewUnit, ReadyUnit, UnitResult


def test_units_are_ready_as_they_came_and_taken_once(ledger: Ledger, clock: Clock) -> None:
    begin(ledger, "c", "a", "b")
    assert ledger.take_ready(2, redispatch_s=60) == [
        ReadyUnit(plan_id("c"), "plan", "v-c.d1", 0.0),
        ReadyUnit(plan_id("a"), "plan", "v-a.d1", 0.0),
    ]
    clock.move(10)
    assert ready(ledger) == [plan_id("b")]
    assert ready(ledger) == []


def test_what_ends_videos_goes_before_what_begins_more(ledger: Ledger) -> None:
    """A large batch is not opened whole before its first videos are done."""
    begin(ledger, "a", "b", "c")
    plan(ledger, "b", num_chunks=2)
    assert ready(ledger, 3) == [chunk_id("b", 0), chunk_id("b", 1), plan_id("a")]
    run_chunks(ledger, "b", 2)
    assert ready(ledger, redispatch_s=0.0) == [video_id("b"), plan_id("a"), plan_id("c")]


def test_a_taken_unit_that_nobody_acquired_is_ready_again(ledger: Ledger, clock: Clock) -> None:
    begin(ledger, "a", "b")
    assert ready(ledger, 1) == [plan_id("a")]
    clock.move(30)
    assert ready(ledger, 1) == [plan_id("b")]
    clock.move(29)
    assert ready(ledger) == []
    clock.move(1)
    assert ready(ledger) == [plan_id("a")]
    clock.move(60)
    assert ready(ledger, batch_id="a") == [plan_id("a"), plan_id("b")]
    assert ready(ledger, redispatch_s=0.0) == [plan_id("a"), plan_id("b")]


def test_taking_gives_no_right_and_acquiring_needs_none(ledger: Ledger) -> None:
    begin(ledger, "a", "b")
    ready(ledger, 1)
    acquire(ledger, plan_id("b"))
    acquire(ledger, plan_id("a"), "w2")
    assert ready(ledger, redispatch_s=0.0) == []


def test_higher_priorities_come_first(ledger: Ledger) -> None:
    begin(ledger, "l1", "l2", batch_id="low", priority=-1)
    begin(ledger, "n1", "n2", batch_id="normal")
    begin(ledger, "h1", "h2", batch_id="high", priority=10)
    begin(ledger, "n3", batch_id="normal too", created_s=0.0)
    assert ready(ledger, 3) == [plan_id("h1"), plan_id("h2"), plan_id("n1")]
    assert ready(ledger, batch_id="low", limit=1) == [plan_id("l1")]
    assert ready(ledger) == [plan_id("n2"), plan_id("n3"), plan_id("l2")]


def test_ready_units_tell_their_priority(ledger: Ledger) -> None:
    begin(ledger, "l", batch_id="low", priority=-1)
    begin(ledger, "h", batch_id="high", priority=10)
    assert [unit.priority for unit in ledger.take_ready(5, redispatch_s=0.0)] == [10, -1]
    assert [unit.priority for unit in ledger.take_ready(5, redispatch_s=0.0, batch_id="low")] == [-1]


def test_a_shared_job_has_the_highest_priority_of_its_running_batches(ledger: Ledger) -> None:
    begin(ledger, "first", "shared", batch_id="low")
    begin(ledger, "shared", batch_id="high", priority=5)
    assert ready(ledger, 1, redispatch_s=0.0) == [plan_id("shared")]
    ledger.set_control("high", "paused")
    assert ready(ledger, redispatch_s=0.0) == [plan_id("first"), plan_id("shared")]
    ledger.set_control("high", "running")
    assert ready(ledger, 1, redispatch_s=0.0) == [plan_id("shared")]
    ledger.set_control("high", "cancelled")
    assert ready(ledger, redispatch_s=0.0) == [plan_id("first"), plan_id("shared")]


def test_ready_units_of_one_batch(ledger: Ledger) -> None:
    begin(ledger, "x", "y")
    begin(ledger, "x", "z", batch_id="b", priority=5)
    assert ready(ledger, batch_id="a") == [plan_id("x"), plan_id("y")]
    assert ready(ledger, batch_id="b") == [plan_id("z")]
    assert ready(ledger, batch_id="unknown") == []
    assert ready(ledger, batch_id="b", redispatch_s=0.0) == [plan_id("x"), plan_id("z")]
    ledger.set_control("b", "paused")
    assert ready(ledger, batch_id="b", redispatch_s=0.0) == []


def test_a_lease_holds_all_that_running_needs(ledger: Ledger, clock: Clock) -> None:
    begin(ledger, "x")
    plan(ledger, "x", 1)
    lease = acquire(ledger, chunk_id("x", 0), "host-1", lease_s=45)
    job = ledger.get_jobs(["v-x.d1"])["v-x.d1"]
    assert lease == Lease(
        chunk_id("x", 0),
        "chunk",
        job,
        '{"chunk": 0}',
        "host-1",
        lease.token,
        1,
        clock() + 45,
        20.0,
        0,
        ("a",),
    )
    unit = ledger.get_unit(chunk_id("x", 0))
    assert unit is not None
    assert (unit.state, unit.owner, unit.token, unit.attempts) == ("running", "host-1", lease.token, 1)
    assert unit.expires_s == clock() + 45
    assert ledger.holds(lease)


def test_a_lease_sets_the_jobs_items_running(ledger: Ledger) -> None:
    begin(ledger, "x", "y")
    ready(ledger)
    assert states(ledger) == {"x": "waiting", "y": "waiting"}
    acquire(ledger, plan_id("x"))
    assert states(ledger) == {"x": "running", "y": "waiting"}


def test_only_one_owner_holds_a_unit(ledger: Ledger, clock: Clock) -> None:
    begin(ledger, "x")
    acquire(ledger, plan_id("x"), "w1", lease_s=60)
    clock.move(59)
    assert ledger.acquire(plan_id("x"), "w2", lease_s=60) is None
    assert ledger.acquire(plan_id("x"), "w1", lease_s=60) is None
    assert ledger.acquire("plan:unknown", "w1", lease_s=60) is None


def test_a_lease_that_ran_out_passes_on_and_the_old_holder_changes_nothing(
    ledger: Ledger, clock: Clock
) -> None:
    begin(ledger, "x")
    old = acquire(ledger, plan_id("x"), "w1", lease_s=60)
    clock.move(60)
    assert ledger.holds(old)  # whatever the clock says
    new = acquire(ledger, plan_id("x"), "w2", lease_s=60)
    assert new.token > old.token
    assert (new.attempt, new.owner) == (2, "w2")
    assert not ledger.holds(old)
    assert ledger.holds(new)
    before = ledger.list_units("v-x.d1"), ledger.list_items("a"), ledger.measure_stages()
    calls: list[Callable[[], object]] = [
        lambda: ledger.renew(old, lease_s=600, progress_s=1.0),
        lambda: ledger.complete(old, UnitResult(1.0, duration_s=5.0), units_after_plan("x", 2)),
        lambda: ledger.fail(old, TRANSIENT),
        lambda: ledger.fail(old, replace(TRANSIENT, retry_after_s=None)),
        lambda: ledger.send_back(old, [plan_id("x")]),
    ]
    for call in calls:
        with pytest.raises(LeaseLostError, match="w1 no longer holds plan:v-x"):
            call()
    assert not ledger.give_back(plan_id("x"), "w1", TRANSIENT)
    assert (ledger.list_units("v-x.d1"), ledger.list_items("a"), ledger.measure_stages()) == before
    ledger.complete(new, UnitResult(1.0))


def test_the_same_owner_loses_to_itself(ledger: Ledger, clock: Clock) -> None:
    begin(ledger, "x")
    old = acquire(ledger, plan_id("x"), "w1", lease_s=1)
    clock.move(2)
    new = acquire(ledger, plan_id("x"), "w1", lease_s=1)
    with pytest.raises(LeaseLostError):
        ledger.complete(old, UnitResult(1.0))
    ledger.complete(new, UnitResult(1.0))


def test_a_holder_whose_lease_ran_out_goes_on_if_nobody_took_it(ledger: Ledger, clock: Clock) -> None:
    begin(ledger, "x")
    lease = acquire(ledger, plan_id("x"), lease_s=10)
    clock.move(11)
    renewed = ledger.renew(lease, lease_s=30)
    assert renewed == replace(lease, expires_s=clock() + 30)
    clock.move(29)
    assert ledger.acquire(plan_id("x"), "w2", lease_s=10) is None
    ledger.complete(lease, UnitResult(1.0))  # the first lease has the same token


def test_tokens_rise_and_follow_the_clock(ledger: Ledger, clock: Clock) -> None:
    begin(ledger, "a", "b", "c", "d")
    first = acquire(ledger, plan_id("a")).token
    assert first == int(clock() * 1e6)
    assert acquire(ledger, plan_id("b")).token == first + 1
    clock.move(-100)  # a clock that was set back
    assert acquire(ledger, plan_id("c")).token == first + 2
    clock.move(200)
    assert acquire(ledger, plan_id("d")).token == int(clock() * 1e6)


def test_plan_chunks_and_video_come_one_after_the_other(ledger: Ledger) -> None:
    begin(ledger, "x")
    assert ledger.acquire(video_id("x"), "w1", lease_s=60) is None
    plan(ledger, "x", 2)
    assert ready(ledger) == [chunk_id("x", 0), chunk_id("x", 1)]
    ledger.complete(acquire(ledger, chunk_id("x", 1)), UnitResult(1.0))
    unit = ledger.get_unit(video_id("x"))
    assert unit is not None
    assert (unit.state, unit.num_blockers) == ("waiting", 1)
    assert ledger.acquire(video_id("x"), "w1", lease_s=60) is None
    assert ready(ledger) == []
    ledger.complete(acquire(ledger, chunk_id("x", 0)), UnitResult(1.0))
    assert ready(ledger) == [video_id("x")]
    ledger.complete(acquire(ledger, video_id("x")), UnitResult(2.5, models="sam2@1"))
    assert [u.state for u in ledger.list_units("v-x.d1")] == ["done"] * 4
    assert ready(ledger, redispatch_s=0.0) == []
    assert ledger.acquire(video_id("x"), "w1", lease_s=60) is None
    done = ledger.get_unit(video_id("x"))
    assert done is not None
    assert (done.seconds, done.models, done.owner, done.attempts) == (2.5, "sam2@1", "w1", 1)
    assert done.progress_s == done.span_s == 40.0


def test_the_units_of_a_job_are_listed_by_id(ledger: Ledger) -> None:
    begin(ledger, "x")
    plan(ledger, "x", 510)
    ids = [u.unit_id for u in ledger.list_units("v-x.d1")]
    assert ids == sorted(ids)
    assert len(ids) == 512
    assert ledger.list_units("unknown") == []
    assert ledger.get_unit("unknown") is None


def test_completing_twice_changes_nothing(ledger: Ledger) -> None:
    begin(ledger, "x")
    lease = acquire(ledger, plan_id("x"))
    for _ in range(2):
        ledger.complete(lease, UnitResult(1.0, duration_s=40.0), units_after_plan("x", 2))
    unit = ledger.get_unit(plan_id("x"))
    assert unit is not None
    assert unit.seconds == 1.0
    chunk = acquire(ledger, chunk_id("x", 0))
    for _ in range(2):
        ledger.complete(chunk, UnitResult(3.0))
    waiting = ledger.get_unit(video_id("x"))
    assert waiting is not None
    assert waiting.num_blockers == 1
    assert ledger.measure_stages()["chunk"].seconds == 3.0


def test_units_that_are_there_already_stay_as_they_are(ledger: Ledger) -> None:
    begin(ledger, "x")
    plan(ledger, "x", 2)
    chunk = acquire(ledger, chunk_id("x", 0))
    ledger.complete(chunk, UnitResult(3.0), [NewUnit(chunk_id("x", 1), "chunk", "other", 99.0, 7)])
    unit = ledger.get_unit(chunk_id("x", 1))
    assert unit is not None
    assert (unit.payload, unit.span_s, unit.num_blockers) == ('{"chunk": 1}', 20.0, 0)


def test_heartbeats_note_progress(ledger: Ledger) -> None:
    begin(ledger, "x")
    plan(ledger, "x", 1)
    lease = acquire(ledger, chunk_id("x", 0))
    for told, kept in ((5.0, 5.0), (0.0, 5.0), (12.5, 12.5), (99.0, 20.0)):
        ledger.renew(lease, lease_s=60, progress_s=told)
        unit = ledger.get_unit(chunk_id("x", 0))
        assert unit is not None
        assert unit.progress_s == kept
    assert ledger.measure_stages()["chunk"].span_done_s == 20.0
    ledger.fail(lease, TRANSIENT)
    assert ledger.measure_stages()["chunk"].span_done_s == 0.0


def test_done_units_whose_results_are_gone_run_again(ledger: Ledger) -> None:
    begin(ledger, "x")
    plan(ledger, "x", 3)
    run_chunks(ledger, "x", 3)
    lease = acquire(ledger, video_id("x"))
    missing = [chunk_id("x", 0), chunk_id("x", 2), "chunk:unknown"]
    for _ in range(2):  # a repeated call changes nothing
        ledger.send_back(lease, missing)
    entries = {u.unit_id: u for u in ledger.list_units("v-x.d1")}
    waiting = entries[video_id("x")]
    assert (waiting.state, waiting.num_blockers, waiting.owner) == ("waiting", 2, "")
    assert waiting.attempts == 1  # it counts
    assert entries[chunk_id("x", 1)].state == "done"
    assert entries[chunk_id("x", 0)].attempts == 0
    assert ledger.measure_stages()["chunk"].span_done_s == 20.0
    assert ready(ledger) == [chunk_id("x", 0), chunk_id("x", 2)]
    with pytest.raises(LeaseLostError):
        ledger.complete(lease, UnitResult(1.0))
    for number in (0, 2):
        assert ledger.acquire(video_id("x"), "w1", lease_s=60) is None
        ledger.complete(acquire(ledger, chunk_id("x", number)), UnitResult(3.0))
    again = acquire(ledger, video_id("x"))
    assert again.attempt == 2
    ledger.complete(again, UnitResult(4.0))
    assert states(ledger) == {"x": "done"}


def test_a_plan_that_is_sent_back_finds_its_units_again(ledger: Ledger) -> None:
    begin(ledger, "x")
    plan(ledger, "x", 2)
    run_chunks(ledger, "x", 2)
    ledger.send_back(acquire(ledger, video_id("x")), [plan_id("x")])
    assert ready(ledger) == [plan_id("x")]
    plan(ledger, "x", 2)
    assert ready(ledger) == [video_id("x")]


def test_a_unit_sent_back_with_nothing_missing_is_ready(ledger: Ledger) -> None:
    begin(ledger, "x")
    plan(ledger, "x", 1)
    run_chunks(ledger, "x", 1)
    ledger.send_back(acquire(ledger, video_id("x")), [])
    assert ready(ledger) == [video_id("x")]


def test_two_openings_are_one_ledger(ledger: Ledger, open_again: Callable[[], Ledger]) -> None:
    begin(ledger, "x")
    other = open_again()
    lease = acquire(other, plan_id("x"))
    assert ledger.holds(lease)
    assert ledger.acquire(plan_id("x"), "w2", lease_s=60) is None
    ledger.complete(lease, UnitResult(1.0))
    assert not other.holds(lease)
    other.close()
    unit = other.get_unit(plan_id("x"))  # opens again
    assert unit is not None
    assert unit.state == "done"


def test_a_stale_worker_of_an_earlier_run_of_a_job_is_refused(ledger: Ledger) -> None:
    begin(ledger, "x")
    stale = acquire(ledger, plan_id("x"))
    ledger.set_control("a", "cancelled")
    ledger.create_batch(batch("b"))
    ledger.add_items("b", [item("x")])
    with pytest.raises(LeaseLostError):
        ledger.complete(stale, UnitResult(1.0), units_after_plan("x", 1))
    fresh = acquire(ledger, plan_id("x"), "w2")
    assert fresh.token > stale.token
    assert not ledger.holds(stale)
    with pytest.raises(LeaseLostError):
        ledger.fail(stale, TRANSIENT)
    ledger.complete(fresh, UnitResult(1.0), units_after_plan("x", 2))
    run_chunks(ledger, "x", 2)
    ledger.complete(acquire(ledger, video_id("x")), UnitResult(1.0))
    assert states(ledger, "b") == {"x": "done"}
