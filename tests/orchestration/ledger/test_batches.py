"""Batches: taken in once, listed, held, cancelled, forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.orchestration.ledger.steps import (
    acquire,
    batch,
    begin,
    chunk_id,
    finish,
    item,
    plan,
    plan_id,
    ready,
    states,
    video_id,
)
from tubelet.errors import InputError, LeaseLostError
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Event, ItemCounts, NewItem, UnitResult


def test_a_batch_is_kept_as_it_was_given(ledger: Ledger, open_again: Callable[[], Ledger]) -> None:
    made = batch("a", addresses=("s3://a/ü **", "/b c"), priority=-3, idempotency_key="k", name="Läufe")
    assert ledger.create_batch(made) == made
    assert open_again().get_batch("a") == made


def test_an_unknown_batch_is_none_and_has_nothing(ledger: Ledger) -> None:
    assert ledger.get_batch("a") is None
    assert ledger.list_items("a") == []
    assert ledger.count_items("a") == ItemCounts()
    assert ledger.measure_stages("a") == {}
    assert ledger.list_events("a") == []
    assert ledger.list_batches() == []


@pytest.mark.parametrize(
    "call",
    [
        lambda ledger: ledger.end_listing("b"),
        lambda ledger: ledger.set_control("b", "paused"),
        lambda ledger: ledger.add_items("b", [item("x")]),
        lambda ledger: ledger.add_items("b", []),
        lambda ledger: ledger.retry("b"),
        lambda ledger: ledger.list_batches(before="b"),
    ],
)
def test_an_unknown_batch_is_refused(ledger: Ledger, call: Callable[[Ledger], object]) -> None:
    begin(ledger, "x")
    with pytest.raises(InputError, match="no batch 'b'"):
        call(ledger)


def test_a_repeated_submission_is_the_same_batch(ledger: Ledger) -> None:
    first = ledger.create_batch(batch("a", idempotency_key="k"))
    again = ledger.create_batch(batch("b", idempotency_key="k", name="other", priority=5, created_s=9.0))
    assert again == first
    assert ledger.get_batch("b") is None
    assert ledger.create_batch(batch("c")) != first
    assert [b.batch_id for b in ledger.list_batches()] == ["c", "a"]


def test_a_repeated_call_gives_the_batch_as_it_stands(ledger: Ledger) -> None:
    ledger.create_batch(batch("a"))
    ledger.end_listing("a")
    assert ledger.create_batch(batch("a")).listed


@pytest.mark.parametrize(
    ("change", "name"),
    [({"addresses": ("/b",)}, "addresses"), ({"options": "{}"}, "options"), ({"digest": "d2"}, "options")],
)
@pytest.mark.parametrize("batch_id", ["a", "b"])
def test_a_key_with_other_addresses_or_options_is_refused(
    ledger: Ledger, batch_id: str, change: dict[str, object], name: str
) -> None:
    ledger.create_batch(batch("a", idempotency_key="k"))
    with pytest.raises(InputError, match=f"with other {name}"):
        ledger.create_batch(batch(batch_id, idempotency_key="k", **change))
    assert ledger.get_batch("b") is None


def test_batches_are_listed_newest_first_in_pages(ledger: Ledger) -> None:
    for number, created_s in enumerate([5.0, 1.0, 3.0, 3.0, 9.5]):
        ledger.create_batch(batch(f"b{number}", created_s=created_s))
    assert [b.batch_id for b in ledger.list_batches()] == ["b4", "b0", "b3", "b2", "b1"]
    assert [b.batch_id for b in ledger.list_batches(limit=2)] == ["b4", "b0"]
    assert [b.batch_id for b in ledger.list_batches(limit=2, before="b0")] == ["b3", "b2"]
    assert [b.batch_id for b in ledger.list_batches(before="b2")] == ["b1"]
    assert ledger.list_batches(before="b1") == []
    assert ledger.list_batches(limit=0) == []


def test_a_listing_ends_well_or_not(ledger: Ledger) -> None:
    ledger.create_batch(batch("a"))
    ledger.end_listing("a", error="no permission to list s3://archive")
    stopped = ledger.get_batch("a")
    assert stopped is not None
    assert (stopped.listed, stopped.listing_error) == (False, "no permission to list s3://archive")
    ledger.end_listing("a")
    listed = ledger.get_batch("a")
    assert listed is not None
    assert (listed.listed, listed.listing_error) == (True, "")


def test_units_of_a_held_batch_are_not_ready_until_it_goes_on(ledger: Ledger) -> None:
    begin(ledger, "x", "y")
    lease = acquire(ledger, plan_id("x"))
    ledger.set_control("a", "paused")
    assert ready(ledger) == []
    assert ready(ledger, batch_id="a") == []
    assert ledger.acquire(plan_id("y"), "w2", lease_s=60) is None
    # what runs ends, and what comes after it waits too
    ledger.renew(lease, lease_s=60)
    ledger.complete(lease, UnitResult(1.0))
    ledger.set_control("a", "running")
    assert ready(ledger) == [plan_id("y")]


def test_a_unit_that_was_sent_before_its_batch_was_held_is_sent_again_after(ledger: Ledger) -> None:
    begin(ledger, "x")
    assert ready(ledger) == [plan_id("x")]
    ledger.set_control("a", "paused")
    assert ledger.acquire(plan_id("x"), "w1", lease_s=60) is None
    ledger.set_control("a", "running")
    assert ready(ledger) == [plan_id("x")]


def test_items_added_to_a_held_batch_wait(ledger: Ledger) -> None:
    ledger.create_batch(batch("a", control="paused"))
    ledger.add_items("a", [item("x")])
    assert states(ledger) == {"x": "waiting"}
    assert ready(ledger) == []
    ledger.set_control("a", "running")
    assert ready(ledger) == [plan_id("x")]


def test_cancelling_ends_what_is_not_ended(ledger: Ledger) -> None:
    begin(ledger, "done", "runs", "waits")
    ledger.add_items("a", [NewItem("s3://archive/skip.mp4", state="skipped", reason="unchanged")])
    finish(ledger, "done")
    plan(ledger, "runs")
    lease = acquire(ledger, chunk_id("runs", 0))
    ledger.set_control("a", "cancelled")
    assert states(ledger) == {"done": "done", "runs": "cancelled", "waits": "cancelled", "skip": "skipped"}
    assert ledger.count_items("a") == ItemCounts(found=4, skipped=1, done=1, cancelled=2)
    job_ids = ["v-done.d1", "v-runs.d1", "v-waits.d1"]
    jobs = ledger.get_jobs(job_ids)
    assert [jobs[job_id].state for job_id in job_ids] == ["done", "cancelled", "cancelled"]
    assert [u.state for u in ledger.list_units("v-runs.d1")] == [
        "cancelled",
        "cancelled",
        "done",
        "cancelled",
    ]
    assert ready(ledger) == []
    assert ledger.acquire(chunk_id("runs", 1), "w2", lease_s=60) is None
    # whoever runs one loses the lease
    assert not ledger.holds(lease)
    for call in (
        lambda: ledger.renew(lease, lease_s=60),
        lambda: ledger.complete(lease, UnitResult(1.0)),
        lambda: ledger.send_back(lease, []),
    ):
        with pytest.raises(LeaseLostError):
            call()
    assert [u.state for u in ledger.list_units("v-runs.d1")] == [
        "cancelled",
        "cancelled",
        "done",
        "cancelled",
    ]


def test_a_cancelled_batch_stays_cancelled(ledger: Ledger) -> None:
    begin(ledger, "x")
    ledger.set_control("a", "cancelled")
    for control in ("running", "paused", "cancelled"):
        ledger.set_control("a", control)  # type: ignore[arg-type]
        held = ledger.get_batch("a")
        assert held is not None
        assert held.control == "cancelled"
    ledger.add_items("a", [item("late")])
    assert states(ledger) == {"x": "cancelled", "late": "cancelled"}
    assert ready(ledger) == []
    with pytest.raises(InputError, match="was cancelled"):
        ledger.retry("a")


def test_a_job_that_another_batch_asks_for_goes_on(ledger: Ledger) -> None:
    begin(ledger, "x", "only-a")
    begin(ledger, "x", batch_id="b", created_s=2.0)
    lease = acquire(ledger, plan_id("x"))
    ledger.set_control("a", "cancelled")
    assert states(ledger) == {"x": "cancelled", "only-a": "cancelled"}
    assert states(ledger, "b") == {"x": "running"}
    ledger.renew(lease, lease_s=60)
    ledger.complete(lease, UnitResult(1.0))
    ledger.set_control("b", "cancelled")
    assert ledger.get_jobs(["v-x.d1"])["v-x.d1"].state == "cancelled"


def test_a_job_asked_for_by_a_held_and_a_running_batch_runs(ledger: Ledger) -> None:
    begin(ledger, "x")
    begin(ledger, "x", "y", batch_id="b")
    ledger.set_control("a", "paused")
    assert sorted(ready(ledger)) == [plan_id("x"), plan_id("y")]
    acquire(ledger, plan_id("x"))
    assert states(ledger) == {"x": "running"}
    ledger.set_control("b", "paused")
    assert ledger.acquire(plan_id("y"), "w1", lease_s=60) is None


@pytest.mark.parametrize("step", ["listing", "waiting", "running"])
def test_a_batch_that_has_not_ended_is_not_forgotten(ledger: Ledger, step: str) -> None:
    ledger.create_batch(batch("a"))
    if step != "listing":
        ledger.add_items("a", [item("x")])
        ledger.end_listing("a")
    if step == "running":
        acquire(ledger, plan_id("x"))
    with pytest.raises(InputError, match="has not ended"):
        ledger.delete_batch("a")
    assert ledger.get_batch("a") is not None


def test_deleting_forgets_a_batch_and_jobs_that_no_other_names(ledger: Ledger) -> None:
    begin(ledger, "x", "y", idempotency_key="k")
    begin(ledger, "x", batch_id="b", created_s=2.0)
    ledger.add_events(
        [Event(1.0, "info", "of y", job_id="v-y.d1"), Event(1.0, "info", "of x", job_id="v-x.d1")]
    )
    finish(ledger, "x")
    finish(ledger, "y", 1)
    ledger.delete_batch("a")
    assert ledger.get_batch("a") is None
    assert [b.batch_id for b in ledger.list_batches()] == ["b"]
    assert ledger.list_items("a") == []
    assert ledger.count_items("a") == ItemCounts()
    assert ledger.list_events("a") == []
    assert ledger.measure_stages("a") == {}
    assert set(ledger.get_jobs(["v-x.d1", "v-y.d1"])) == {"v-x.d1"}
    assert ledger.list_units("v-y.d1") == []
    assert len(ledger.list_units("v-x.d1")) == 4
    assert ledger.measure_stages() == ledger.measure_stages("b")
    assert [event.text for event in ledger.list_events("b")] == ["of x"]
    ledger.delete_batch("a")  # forgotten already
    # the key is free again, and so is the id
    assert ledger.create_batch(batch("a", idempotency_key="k", options="{}")).options == "{}"


def test_a_batch_is_forgotten_after_its_listing_failed_or_it_was_cancelled(ledger: Ledger) -> None:
    ledger.create_batch(batch("a"))
    ledger.end_listing("a", error="no such bucket")
    ledger.create_batch(batch("b"))
    ledger.add_items("b", [item("x")])
    ledger.set_control("b", "cancelled")
    for batch_id in ("a", "b"):
        ledger.delete_batch(batch_id)
    assert ledger.list_batches() == []
    assert ledger.get_unit(plan_id("x")) is None


def test_a_worker_of_a_forgotten_job_has_lost_its_lease(ledger: Ledger) -> None:
    begin(ledger, "x")
    plan(ledger, "x")
    lease = acquire(ledger, chunk_id("x", 0))
    ledger.set_control("a", "cancelled")
    ledger.delete_batch("a")
    with pytest.raises(LeaseLostError):
        ledger.complete(lease, UnitResult(1.0))
    assert ledger.acquire(video_id("x"), "w1", lease_s=60) is None
