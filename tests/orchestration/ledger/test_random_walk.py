"""Random walks over both ledgers, compared with the model after every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.orchestration.ledger.model import ModelLedger
from tests.orchestration.ledger.steps import Clock, batch, units_after_plan
from tests.redis_server import RedisServer
from tubelet.errors import TubeletError
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Event, Lease, NewItem, UnitFailure, UnitResult
from tubelet.orchestration.ledger.redis import RedisLedger
from tubelet.orchestration.ledger.sqlite import SqliteLedger

BATCHES = ("a", "b", "c")
PRIORITY = {"a": 0, "b": 5, "c": 0}
CONTENTS = ("x", "y")
JOBS = tuple(f"v-{content}.d1" for content in CONTENTS)
UNITS = tuple(
    f"{unit}"
    for job in JOBS
    for unit in (f"plan:{job}", f"chunk:{job}:00000", f"chunk:{job}:00001", f"video:{job}")
)
OWNERS = ("w:1", "w:2", "v:1")
batches = st.sampled_from(BATCHES)
units = st.sampled_from(UNITS)
owners = st.sampled_from(OWNERS)
failures = st.builds(
    UnitFailure,
    st.sampled_from(["bad input", "transient", "out of memory", "bug"]),
    st.sampled_from(["one", "two"]),
    st.sampled_from([0.0, 1.5]),
    st.sampled_from([None, 0.0, 8.0]),
)
items = st.builds(
    lambda content, copy, state: NewItem(f"{content}{copy}", content, 5, f"v-{content}", state, ""),
    st.sampled_from(CONTENTS),
    st.sampled_from(["", "2"]),
    st.sampled_from(["waiting", "waiting", "waiting", "failed", "skipped"]),
)


class Walk(RuleBasedStateMachine):
    """Every step is done on the model and on the ledger; both must answer the same."""

    make_ledger: Callable[[Callable[[], float]], Ledger]

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(1000.0)
        self.model = ModelLedger(self.clock)
        self.ledger = type(self).make_ledger(self.clock)
        self.leases: list[Lease] = []

    def teardown(self) -> None:
        self.ledger.close()

    def both(self, call: Callable[[Any], Any]) -> Any:
        answers = []
        for ledger in (self.model, self.ledger):
            try:
                answers.append(call(ledger))
            except TubeletError as error:
                answers.append(type(error))
        assert answers[1] == answers[0]
        return answers[0]

    @initialize(some=st.lists(items, min_size=1, max_size=3), redispatch_s=st.sampled_from([0.0, 7.0]))
    def begin(self, some: list[NewItem], redispatch_s: float) -> None:
        self.redispatch_s = redispatch_s
        self.create("a")
        self.add("a", some)
        self.acquire(f"plan:{JOBS[0]}", OWNERS[0], 10.0)

    @rule(batch_id=batches)
    def create(self, batch_id: str) -> None:
        self.both(lambda ledger: ledger.create_batch(batch(batch_id, priority=PRIORITY[batch_id])))

    @rule(batch_id=batches, some=st.lists(items, max_size=3))
    def add(self, batch_id: str, some: list[NewItem]) -> None:
        self.both(lambda ledger: ledger.add_items(batch_id, some))

    @rule(batch_id=batches, error=st.sampled_from(["", "", "no bucket"]))
    def end_listing(self, batch_id: str, error: str) -> None:
        self.both(lambda ledger: ledger.end_listing(batch_id, error=error))

    @rule(batch_id=batches, control=st.sampled_from(["paused", "running", "running", "cancelled"]))
    def control(self, batch_id: str, control: Any) -> None:
        self.both(lambda ledger: ledger.set_control(batch_id, control))

    @rule(batch_id=batches)
    def delete(self, batch_id: str) -> None:
        self.both(lambda ledger: ledger.delete_batch(batch_id))

    @rule(batch_id=batches)
    def retry(self, batch_id: str) -> None:
        self.both(lambda ledger: ledger.retry(batch_id))

    @rule(limit=st.integers(0, 3), batch_id=st.sampled_from(["", *BATCHES]))
    def take(self, limit: int, batch_id: str) -> None:
        again_s = self.redispatch_s
        self.both(lambda ledger: ledger.take_ready(limit, redispatch_s=again_s, batch_id=batch_id))

    @rule(unit_id=units, owner=owners, lease_s=st.sampled_from([5.0, 50.0]))
    def acquire(self, unit_id: str, owner: str, lease_s: float) -> None:
        lease = self.both(lambda ledger: ledger.acquire(unit_id, owner, lease_s=lease_s))
        if lease is not None:
            self.leases.append(lease)

    @rule(owner=owners)
    def acquire_what_is_ready(self, owner: str) -> None:
        for unit in self.both(lambda ledger: ledger.take_ready(2, redispatch_s=self.redispatch_s)):
            self.acquire(unit.unit_id, owner, 20.0)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), progress_s=st.sampled_from([0.0, 5.0, 99.0]))
    def renew(self, data: st.DataObject, progress_s: float) -> None:
        lease = self.pick(data)
        self.both(lambda ledger: ledger.holds(lease))
        self.both(lambda ledger: ledger.renew(lease, lease_s=9.0, progress_s=progress_s))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), seconds=st.sampled_from([0.5, 2.0]))
    def complete(self, data: st.DataObject, seconds: float) -> None:
        lease = self.pick(data)
        result = UnitResult(seconds, 40.0, 7, 3, 100, ("dark",), "sam2", stage_seconds=(("read", 0.1),))
        then = units_after_plan(lease.job.identity, 2) if lease.kind == "plan" else []
        self.both(lambda ledger: ledger.complete(lease, result, then))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), failure=failures)
    def fail(self, data: st.DataObject, failure: UnitFailure) -> None:
        lease = self.pick(data)
        self.both(lambda ledger: ledger.fail(lease, failure))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), missing=st.sets(units, max_size=3))
    def send_back(self, data: st.DataObject, missing: set[str]) -> None:
        lease = self.pick(data)
        self.both(lambda ledger: ledger.send_back(lease, missing - {lease.unit_id}))

    @rule(unit_id=units, owner=owners, failure=st.none() | failures)
    def give_back(self, unit_id: str, owner: str, failure: UnitFailure | None) -> None:
        self.both(lambda ledger: ledger.give_back(unit_id, owner, failure))

    @rule(prefix=st.sampled_from(["w:", "v:1", "nobody"]))
    def give_back_all(self, prefix: str) -> None:
        self.both(lambda ledger: ledger.give_back_all(prefix))

    @rule(failure=failures, max_attempts=st.integers(1, 3))
    def give_back_expired(self, failure: UnitFailure, max_attempts: int) -> None:
        self.both(lambda ledger: ledger.give_back_expired(failure, max_attempts=max_attempts))

    @rule(seconds=st.sampled_from([0.0, 1.0, 6.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.clock.move(seconds)

    @rule(batch_id=st.sampled_from(["", *BATCHES]), job_id=st.sampled_from(["", *JOBS]))
    def log(self, batch_id: str, job_id: str) -> None:
        self.both(lambda ledger: ledger.add_events([Event(1.0, "info", "said", batch_id, job_id)]))

    @invariant()
    def looks_the_same(self) -> None:
        self.both(lambda ledger: ledger.list_batches())
        self.both(lambda ledger: ledger.get_jobs(JOBS))
        self.both(lambda ledger: ledger.list_dead())
        self.both(lambda ledger: ledger.measure_stages())
        self.both(lambda ledger: ledger.measure_totals())
        for job_id in JOBS:
            self.both(lambda ledger: ledger.list_units(job_id))  # noqa: B023 (called at once)
        for made in self.model.list_batches():
            batch_id = made.batch_id
            self.both(lambda ledger: ledger.list_items(batch_id))  # noqa: B023
            self.both(lambda ledger: ledger.count_items(batch_id))  # noqa: B023
            self.both(lambda ledger: ledger.measure_stages(batch_id))  # noqa: B023
            self.both(lambda ledger: ledger.list_dead(batch_id))  # noqa: B023
            self.both(lambda ledger: ledger.list_events(batch_id))  # noqa: B023

    def pick(self, data: st.DataObject) -> Lease:
        """Mostly one of the last leases."""
        return data.draw(st.sampled_from(self.leases[-3:] + self.leases[:1]))


def _walk(make_ledger: Callable[[Callable[[], float]], Ledger], num: int) -> None:
    machine = type("Walk", (Walk,), {"make_ledger": staticmethod(make_ledger)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=num,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_sqlite_ledger_walks_like_the_model(tmp_path: Path) -> None:
    _walk(lambda now: SqliteLedger(tmp_path / f"{uuid4().hex}.sqlite", now=now), 40)


@pytest.mark.redis
def test_the_redis_ledger_walks_like_the_model(redis_server: RedisServer) -> None:
    _walk(lambda now: RedisLedger(redis_server.url, prefix=uuid4().hex, now=now), 25)
