"""Attempts that fail: backoff, smaller portions, dead letters, retry, owners that died."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.orchestration.ledger.steps import (
    FATAL,
    TRANSIENT,
    Clock,
    acquire,
    begin,
    chunk_id,
    finish,
    plan,
    plan_id,
    ready,
    run_chunks,
    states,
    video_id,
)
from tubelet.errors import LeaseLostError
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import ItemCounts, UnitFailure, UnitResult

DIED = UnitFailure("bug", "the worker died", retry_after_s=5.0)


def test_a_unit_that_may_run_again_waits_for_its_time(ledger: Ledger, clock: Clock) -> None:
    begin(ledger, "x")
    ready(ledger)
    lease = acquire(ledger, plan_id("x"))
    assert ledger.fail(lease, TRANSIENT) == "waiting"
    unit = ledger.get_unit(plan_id("x"))
    assert unit is not None
    assert (unit.state, unit.attempts, unit.owner, unit.seconds) == ("waiting", 1, "", 2.0)
    assert (unit.error_class, unit.error) == ("transient", "the store answered 503")
    assert unit.not_before_s == clock() + 30
    assert not ledger.holds(lease)
    clock.move(29.5)
    assert ready(ledger, redispatch_s=0.0) == []
    assert ledger.acquire(plan_id("x"), "w1", lease_s=60) is None
    clock.move(0.5)
    assert ready(ledger) == [plan_id("x")]  # though it was taken not long ago
    again = acquire(ledger, plan_id("x"))
    assert (again.attempt, again.shrink) == (2, 0)
    ledger.complete(again, UnitResult(3.0))
    done = ledger.get_unit(plan_id("x"))
    assert done is not None
    assert (done.state, done.attempts, done.seconds) == ("done", 2, 5.0)
    assert (done.error_class, done.error) == (None, "")


def test_memory_that_ran_out_shrinks_the_next_attempts(ledger: Ledger) -> None:
    begin(ledger, "x")
    too_big = UnitFailure("out of memory", "CUDA out of memory", retry_after_s=0.0)
    for shrink in range(3):
        lease = acquire(ledger, plan_id("x"))
        assert lease.shrink == shrink
        assert ledger.fail(lease, too_big) == "waiting"
    ledger.fail(acquire(ledger, plan_id("x")), replace(TRANSIENT, retry_after_s=0.0))
    assert acquire(ledger, plan_id("x")).shrink == 3


def test_a_unit_that_fails_for_good_fails_its_job_and_items(ledger: Ledger) -> None:
    begin(ledger, "x", "y")
    begin(ledger, "x", batch_id="b")
    plan(ledger, "x", 3)
    running = acquire(ledger, chunk_id("x", 0), "w2")
    assert ledger.fail(acquire(ledger, chunk_id("x", 1)), FATAL) == "failed"
    assert [u.state for u in ledger.list_units("v-x.d1")] == [
        "running",  # may end
        "failed",
        "cancelled",
        "done",
        "cancelled",
    ]
    for batch_id in ("a", "b"):
        failed = ledger.list_items(batch_id)[0]
        assert (failed.state, failed.reason, failed.error_class) == ("failed", "not a video", "bad input")
    assert states(ledger) == {"x": "failed", "y": "waiting"}
    job = ledger.get_jobs(["v-x.d1"])["v-x.d1"]
    assert (job.state, job.error, job.error_class) == ("failed", "not a video", "bad input")
    assert ledger.count_items("b") == ItemCounts(found=1, failed=1)
    ledger.complete(running, UnitResult(1.0))
    assert ready(ledger, redispatch_s=0.0) == [plan_id("y")]
    assert ledger.acquire(chunk_id("x", 2), "w1", lease_s=60) is None


def test_units_of_a_failed_job_do_not_wait_again(ledger: Ledger) -> None:
    begin(ledger, "x")
    plan(ledger, "x", 4)
    leases = [acquire(ledger, chunk_id("x", n), f"w{n}") for n in range(4)]
    ledger.fail(leases[0], FATAL)
    assert ledger.fail(leases[1], TRANSIENT) == "cancelled"
    assert ledger.give_back(chunk_id("x", 2), "w2")
    ledger.fail(leases[3], replace(FATAL, error="another"))
    assert [u.state for u in ledger.list_units("v-x.d1")[:4]] == [
        "failed",
        "cancelled",
        "cancelled",
        "failed",
    ]
    assert ledger.get_jobs(["v-x.d1"])["v-x.d1"].error == "not a video"  # the first counts


@pytest.mark.parametrize("failure", [TRANSIENT, FATAL])
def test_failing_twice_changes_nothing(ledger: Ledger, failure: UnitFailure) -> None:
    begin(ledger, "x")
    lease = acquire(ledger, plan_id("x"))
    state = ledger.fail(lease, failure)
    before = ledger.get_unit(plan_id("x"))
    assert ledger.fail(lease, failure) == state
    assert ledger.get_unit(plan_id("x")) == before
    with pytest.raises(LeaseLostError):
        ledger.complete(lease, UnitResult(1.0))


def test_dead_letters_hold_all_that_running_again_needs(ledger: Ledger) -> None:
    begin(ledger, "x", "y", "z")
    begin(ledger, "z", batch_id="b")
    for name in "xyz":
        plan(ledger, name, 1)
        ledger.fail(acquire(ledger, chunk_id(name, 0), f"host-{name}"), FATAL)
    assert [u.unit_id for u in ledger.list_dead()] == [chunk_id(n, 0) for n in "xyz"]
    assert [u.unit_id for u in ledger.list_dead("a")] == [chunk_id(n, 0) for n in "xyz"]
    assert [u.unit_id for u in ledger.list_dead("b")] == [chunk_id("z", 0)]
    assert [u.unit_id for u in ledger.list_dead(limit=2)] == [chunk_id(n, 0) for n in "xy"]
    assert ledger.list_dead("unknown") == []
    dead = ledger.list_dead("b")[0]
    assert (dead.payload, dead.job_id, dead.attempts) == ('{"chunk": 0}', "v-z.d1", 1)
    assert (dead.error_class, dead.error, dead.owner) == ("bad input", "not a video", "host-z")
    job = ledger.get_jobs([dead.job_id])[dead.job_id]
    assert (job.uri, job.options) == ("s3://archive/z.mp4", '{"stride": 2}')


def test_retry_goes_on_from_what_is_done(ledger: Ledger) -> None:
    begin(ledger, "x", "y")
    finish(ledger, "y")
    plan(ledger, "x", 3)
    ledger.complete(acquire(ledger, chunk_id("x", 0)), UnitResult(3.0))
    running = acquire(ledger, chunk_id("x", 2), "w3")
    ledger.fail(acquire(ledger, chunk_id("x", 1)), FATAL)
    assert ledger.retry("a") == 1
    assert ledger.list_dead() == []
    (again,) = [i for i in ledger.list_items("a") if i.state == "waiting"]
    assert (again.uri, again.reason, again.error_class) == ("s3://archive/x.mp4", "", None)
    job = ledger.get_jobs(["v-x.d1"])["v-x.d1"]
    assert (job.state, job.error, job.error_class) == ("running", "", None)
    ledger.complete(running, UnitResult(3.0))  # went on meanwhile
    assert ready(ledger) == [chunk_id("x", 1)]
    lease = acquire(ledger, chunk_id("x", 1))
    assert lease.attempt == 1
    ledger.complete(lease, UnitResult(3.0))
    assert ready(ledger) == [video_id("x")]
    ledger.complete(acquire(ledger, video_id("x")), UnitResult(1.0))
    assert states(ledger) == {"x": "done", "y": "done"}
    assert ledger.retry("a") == 0


def test_retry_of_a_held_batch_waits_until_it_goes_on(ledger: Ledger) -> None:
    begin(ledger, "x")
    ledger.fail(acquire(ledger, plan_id("x")), FATAL)
    ledger.set_control("a", "paused")
    assert ledger.retry("a") == 1
    assert ready(ledger) == []
    ledger.set_control("a", "running")
    assert ready(ledger) == [plan_id("x")]


def test_retry_joins_what_another_batch_began_or_finished(ledger: Ledger) -> None:
    begin(ledger, "x", "y")
    for name in "xy":
        ledger.fail(acquire(ledger, plan_id(name)), FATAL)
    begin(ledger, "x", "y", batch_id="b")
    finish(ledger, "y")
    plan(ledger, "x", 1)
    assert states(ledger) == {"x": "failed", "y": "failed"}
    assert ledger.retry("a") == 2
    assert states(ledger) == {"x": "waiting", "y": "done"}
    assert ledger.list_items("a")[1].num_objects == 7
    run_chunks(ledger, "x", 1)
    ledger.complete(acquire(ledger, video_id("x")), UnitResult(1.0))
    assert states(ledger) == states(ledger, "b") == {"x": "done", "y": "done"}


def test_retry_of_many(ledger: Ledger) -> None:
    names = [f"{n:03}" for n in range(230)]
    begin(ledger, *names)
    for name in names:
        ledger.fail(acquire(ledger, plan_id(name)), FATAL)
    assert ledger.retry("a") == 230
    assert ready(ledger) == [plan_id(name) for name in names]


def test_an_owner_that_died_gives_its_unit_back(ledger: Ledger, clock: Clock) -> None:
    begin(ledger, "x")
    lease = acquire(ledger, plan_id("x"), "w1")
    assert not ledger.give_back(plan_id("x"), "w2")
    assert not ledger.give_back("unknown", "w1")
    assert ledger.holds(lease)
    assert ledger.give_back(plan_id("x"), "w1")
    assert not ledger.give_back(plan_id("x"), "w1")
    with pytest.raises(LeaseLostError):
        ledger.fail(lease, TRANSIENT)
    assert ready(ledger) == [plan_id("x")]
    again = acquire(ledger, plan_id("x"), "w2")
    assert again.attempt == 1  # as if the first had not begun
    assert ledger.give_back(plan_id("x"), "w2", DIED)
    unit = ledger.get_unit(plan_id("x"))
    assert unit is not None
    assert (unit.attempts, unit.error, unit.not_before_s) == (1, "the worker died", clock() + 5)
    with pytest.raises(LeaseLostError):
        ledger.fail(again, TRANSIENT)
    clock.move(5)
    assert acquire(ledger, plan_id("x"), "w3").attempt == 2
    assert ledger.give_back(plan_id("x"), "w3", replace(DIED, retry_after_s=None))
    assert states(ledger) == {"x": "failed"}
    assert ledger.list_dead()[0].error_class == "bug"


def test_all_units_of_dead_owners_come_back(ledger: Ledger) -> None:
    begin(ledger, "a", "b", "c", "d", "e")
    owners = {"a": "host-1:7:0", "b": "host-1:7:1", "c": "host-1:77", "d": "HOST-1:7:", "e": "x host-1:7:"}
    leases = {name: acquire(ledger, plan_id(name), owner) for name, owner in owners.items()}
    assert ledger.give_back_all("host-1:7:") == [plan_id("a"), plan_id("b")]
    assert [ledger.holds(lease) for lease in leases.values()] == [False, False, True, True, True]
    assert ready(ledger) == [plan_id("a"), plan_id("b")]
    assert acquire(ledger, plan_id("a")).attempt == 1
    assert ledger.give_back_all("nobody") == []


def test_leases_that_ran_out_end_as_failed_attempts(ledger: Ledger, clock: Clock) -> None:
    begin(ledger, "x", "y", "z")
    for name, lease_s in (("x", 10), ("y", 10), ("z", 99)):
        acquire(ledger, plan_id(name), f"w-{name}", lease_s=lease_s)
    clock.move(9)
    assert ledger.give_back_expired(DIED, max_attempts=2) == []
    clock.move(1)
    assert ledger.give_back_expired(DIED, max_attempts=2) == [plan_id("x"), plan_id("y")]
    assert ledger.give_back_expired(DIED, max_attempts=2) == []
    unit = ledger.get_unit(plan_id("x"))
    assert unit is not None
    assert (unit.state, unit.attempts, unit.not_before_s) == ("waiting", 1, clock() + 5)
    clock.move(5)
    acquire(ledger, plan_id("x"), lease_s=10)
    clock.move(10)
    assert ledger.give_back_expired(DIED, max_attempts=2) == [plan_id("x")]
    assert states(ledger) == {"x": "failed", "y": "running", "z": "running"}
    (dead,) = ledger.list_dead()
    assert (dead.attempts, dead.error_class, dead.error) == (2, "bug", "the worker died")


def test_without_a_pause_an_expired_unit_runs_again_at_once(ledger: Ledger, clock: Clock) -> None:
    begin(ledger, "x")
    acquire(ledger, plan_id("x"), lease_s=10)
    clock.move(10)
    assert ledger.give_back_expired(replace(DIED, retry_after_s=None), max_attempts=3) == [plan_id("x")]
    assert ready(ledger) == [plan_id("x")]


def test_many_leases_run_out_at_once(ledger: Ledger, clock: Clock) -> None:
    names = [f"{n:03}" for n in range(230)]
    begin(ledger, *names)
    for name in names:
        acquire(ledger, plan_id(name), lease_s=1)
    clock.move(1)
    assert ledger.give_back_expired(DIED, max_attempts=3) == [plan_id(name) for name in names]
