"""Items and the jobs that they ask for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.orchestration.ledger.steps import (
    FATAL,
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
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Item, ItemCounts, Job, NewItem, UnitResult

ODD = "s3://archive/a b/../ü\n%2F'\".mp4"


def test_items_are_kept_as_they_were_found(ledger: Ledger) -> None:
    ledger.create_batch(batch())
    ledger.add_items(
        "a",
        [
            NewItem(ODD, '"etag"', 5_000_000_000, "v-1"),
            NewItem("s3://archive/b.mp4", "etag", 7, "v-2", "skipped", "unchanged since batch z"),
            NewItem("s3://archive/c.mp4", state="failed", reason="0 bytes"),
        ],
    )
    assert ledger.list_items("a") == [
        Item("a", ODD, '"etag"', 5_000_000_000, "v-1", "waiting"),
        Item("a", "s3://archive/b.mp4", "etag", 7, "v-2", "skipped", "unchanged since batch z"),
        Item("a", "s3://archive/c.mp4", "", 0, "", "failed", "0 bytes"),
    ]
    assert ledger.count_items("a") == ItemCounts(found=3, skipped=1, failed=1, waiting=1)


def test_an_item_that_waits_begins_a_job_with_a_plan(ledger: Ledger) -> None:
    ledger.create_batch(batch())
    ledger.add_items("a", [NewItem(ODD, "etag", 5, "v-1")])
    assert ledger.get_jobs(["v-1.d1", "v-2.d1"]) == {
        "v-1.d1": Job("v-1.d1", "v-1", ODD, "etag", 5, '{"stride": 2}', "d1", "running")
    }
    (unit,) = ledger.list_units("v-1.d1")
    assert (unit.unit_id, unit.kind, unit.state) == ("plan:v-1.d1", "plan", "waiting")
    assert json.loads(unit.payload) == {"uri": ODD, "identity": "etag", "size_bytes": 5}
    assert ready(ledger) == ["plan:v-1.d1"]


def test_each_uri_is_added_once(ledger: Ledger) -> None:
    begin(ledger, "x", "y")
    finish(ledger, "x")
    before = ledger.list_items("a")
    ledger.add_items("a", [item("y"), replace(item("x"), state="skipped"), item("x"), item("z"), item("z")])
    assert ledger.list_items("a")[:2] == before
    assert states(ledger) == {"x": "done", "y": "waiting", "z": "waiting"}
    assert ledger.count_items("a") == ItemCounts(found=3, done=1, waiting=2)
    assert len(ledger.list_units("v-z.d1")) == 1


def test_a_source_that_failed_before_it_had_a_job_may_be_listed_again(ledger: Ledger) -> None:
    ledger.create_batch(batch())
    gone = NewItem("s3://archive/x.mp4", state="failed", reason="vanished")
    ledger.add_items("a", [gone])
    ledger.end_listing("a")
    assert ledger.retry("a") == 0
    ledger.add_items("a", [replace(gone, reason="no permission")])
    assert [i.reason for i in ledger.list_items("a")] == ["no permission"]
    ledger.add_items("a", [item("x")])
    assert ledger.list_items("a") == [Item("a", gone.uri, "etag-x", 1000, "v-x", "waiting")]
    assert ledger.count_items("a") == ItemCounts(found=1, waiting=1)
    # but not one whose job failed
    ledger.fail(acquire(ledger, plan_id("x")), FATAL)
    ledger.add_items("a", [item("x")])
    assert states(ledger) == {"x": "failed"}


def test_two_batches_share_the_job_of_one_content_and_options(ledger: Ledger) -> None:
    begin(ledger, "x")
    plan(ledger, "x")
    begin(ledger, "x", batch_id="b")
    ledger.create_batch(batch("c", digest="d2", options="{}"))
    ledger.add_items("c", [item("x")])
    (joined,) = ledger.list_items("b")
    assert (joined.state, joined.duration_s) == ("waiting", 40.0)
    assert sorted(ready(ledger)) == [chunk_id("x", 0), chunk_id("x", 1), plan_id("x", "d2")]
    acquire(ledger, chunk_id("x", 0))
    assert states(ledger, "b") == {"x": "running"}
    assert states(ledger, "c") == {"x": "waiting"}
    assert ledger.get_jobs(["v-x.d2"])["v-x.d2"].options == "{}"


def test_one_job_serves_two_sources_of_one_content(ledger: Ledger) -> None:
    ledger.create_batch(batch())
    ledger.add_items("a", [item("x"), item("x", uri="s3://archive/copy.mp4")])
    assert ready(ledger) == [plan_id("x")]
    finish(ledger, "x")
    assert states(ledger) == {"x": "done", "copy": "done"}
    assert ledger.measure_stages("a")["chunk"].done == 2  # once, not once a source


def test_an_ended_job_begins_anew(ledger: Ledger) -> None:
    begin(ledger, "x")
    finish(ledger, "x")
    begin(ledger, "x", batch_id="b")
    assert states(ledger) == {"x": "done"}
    assert states(ledger, "b") == {"x": "waiting"}
    assert [u.unit_id for u in ledger.list_units("v-x.d1")] == [plan_id("x")]
    job = ledger.get_jobs(["v-x.d1"])["v-x.d1"]
    assert (job.state, job.num_objects, job.duration_s, job.warnings) == ("running", 0, 0.0, ())
    assert ledger.measure_stages("a")["plan"].waiting == 1
    assert "chunk" not in ledger.measure_stages()
    finish(ledger, "x", 1)
    assert states(ledger, "b") == {"x": "done"}
    assert ledger.list_items("a")[0].duration_s == 40.0
    assert ledger.list_items("b")[0].duration_s == 20.0


def test_a_new_job_forgets_the_dead_letters_of_the_old_one(ledger: Ledger) -> None:
    begin(ledger, "x")
    ledger.fail(acquire(ledger, plan_id("x")), FATAL)
    assert len(ledger.list_dead("a")) == 1
    begin(ledger, "x", batch_id="b")
    assert ledger.list_dead() == ledger.list_dead("a") == ledger.list_dead("b") == []
    assert states(ledger) == {"x": "failed"}
    finish(ledger, "x")
    assert states(ledger) == {"x": "failed"}


def test_items_are_listed_by_uri_in_pages_of_any_states(ledger: Ledger) -> None:
    ledger.create_batch(batch())
    uris = ["Z", "a", "a b", "a/b", "é", "ü", "日本", "😀"]
    kinds = ["waiting", "skipped", "failed"]
    ledger.add_items(
        "a",
        [
            NewItem(uri, "e", 1, f"v{n}", kinds[n % 3])  # type: ignore[arg-type]
            for n, uri in reversed(list(enumerate(uris)))
        ],
    )
    assert [i.uri for i in ledger.list_items("a")] == uris
    paged, after = [], ""
    while page := ledger.list_items("a", after=after, limit=3):
        assert len(page) <= 3
        paged += page
        after = page[-1].uri
    assert [i.uri for i in paged] == uris
    some = ledger.list_items("a", states=("skipped", "failed"))
    assert [i.uri for i in some] == ["a", "a b", "é", "ü", "😀"]
    assert ledger.list_items("a", states=("skipped", "failed"), after="a b", limit=2) == some[2:4]
    assert ledger.list_items("a", states=("done",)) == []


def test_pages_may_be_longer_than_the_ledgers_own(ledger: Ledger) -> None:
    ledger.create_batch(batch())
    names = [f"{n:04}" for n in range(703)]
    ledger.add_items("a", [NewItem(n, "e", 1, f"v{n}", "skipped") for n in names])
    assert [i.uri for i in ledger.list_items("a", limit=600)] == names[:600]
    assert [i.uri for i in ledger.list_items("a", states=["skipped"], after=names[100], limit=5000)] == names[
        101:
    ]
    assert ledger.count_items("a").skipped == 703


def test_counts_add_up_at_every_step(ledger: Ledger) -> None:
    def check() -> ItemCounts:
        c = ledger.count_items("a")
        assert c.found == c.skipped + c.done + c.failed + c.cancelled + c.waiting == 5
        assert c.running <= c.waiting
        return c

    begin(ledger, "w", "x", "y", "z")
    ledger.add_items("a", [NewItem("s3://archive/s.mp4", state="skipped")])
    assert check() == ItemCounts(found=5, skipped=1, waiting=4)
    finish(ledger, "x")
    assert check() == ItemCounts(found=5, skipped=1, done=1, waiting=3)
    ledger.fail(acquire(ledger, plan_id("y")), FATAL)
    plan(ledger, "z")
    assert check() == ItemCounts(found=5, skipped=1, done=1, failed=1, waiting=2, running=1)
    ledger.set_control("a", "cancelled")
    assert check() == ItemCounts(found=5, skipped=1, done=1, failed=1, cancelled=2)


def test_a_finished_job_tells_its_items_what_was_found(ledger: Ledger) -> None:
    begin(ledger, "x")
    begin(ledger, "x", batch_id="b")
    plan(ledger, "x", 1)
    assert ledger.list_items("a")[0].duration_s == 20.0
    ledger.complete(acquire(ledger, chunk_id("x", 0)), UnitResult(2.0, num_objects=99))
    ledger.complete(
        acquire(ledger, video_id("x")),
        UnitResult(4.0, num_objects=7, num_moments=3, warnings=("dark", "ümlaut"), models="sam2@1"),
    )
    for batch_id in ("a", "b"):
        (one,) = ledger.list_items(batch_id)
        assert (one.state, one.duration_s, one.num_objects, one.num_moments) == ("done", 20.0, 7, 3)
        assert one.warnings == ("dark", "ümlaut")
        assert (one.reason, one.error_class) == ("", None)
    job = ledger.get_jobs(["v-x.d1"])["v-x.d1"]
    assert (job.state, job.duration_s, job.num_objects, job.num_moments) == ("done", 20.0, 7, 3)
    assert job.warnings == ("dark", "ümlaut")


def test_many_jobs_are_looked_up_at_once(ledger: Ledger) -> None:
    ledger.create_batch(batch())
    ledger.add_items("a", [item(str(n)) for n in range(600)])
    jobs = ledger.get_jobs([f"v-{n}.d1" for n in range(700)])
    assert set(jobs) == {f"v-{n}.d1" for n in range(600)}
    assert all(job_id == job.job_id for job_id, job in jobs.items())
    assert ledger.get_jobs([]) == {}


def test_an_item_that_waits_must_have_been_identified(ledger: Ledger) -> None:
    ledger.create_batch(batch())
    with pytest.raises(AssertionError):
        ledger.add_items("a", [NewItem("s3://archive/x.mp4")])
    assert ledger.count_items("a").found == 0
