"""Random walks over batches: steered over HTTP, worked on by a scripted worker, foretold by a model."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.api.conftest import Served, serve
from tests.api.tiny_index import make_settings
from tubelet.errors import LeaseLostError
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Lease, NewItem, NewUnit, UnitFailure, UnitResult

KEYS = ("", "one", "two")
MAX_BATCHES = 4
NUMBERS = count()
FOUND = st.lists(st.sampled_from(["waiting", "waiting", "failed", "skipped"]), min_size=1, max_size=3)
FATAL = UnitFailure("bad input", "not a video")


@dataclass
class Expected:
    """What a batch must be."""

    sources: list[str]
    key: str
    control: str = "running"
    listed: bool = False
    items: dict[str, str] = field(default_factory=dict)
    """State by video, of those that have a job."""

    misfits: int = 0
    """Sources that failed before they had one."""

    skipped: int = 0
    stages: dict[str, str] = field(default_factory=dict)
    """What each video's job comes to next: plan or video."""

    def count(self, *states: str) -> int:
        return sum(state in states for state in self.items.values())

    @property
    def state(self) -> str:
        if self.control == "cancelled":
            return "cancelled"
        if self.listed and not self.count("waiting", "running"):
            return "failed" if self.count("failed") or self.misfits else "done"
        if self.control == "paused":
            return "paused"
        return "running" if self.listed else "listing"

    @property
    def is_listing(self) -> bool:
        return not self.listed and self.control != "cancelled"

    @property
    def counts(self) -> dict[str, int]:
        return {
            "found": len(self.items) + self.misfits + self.skipped,
            "skipped": self.skipped,
            "done": self.count("done"),
            "failed": self.count("failed") + self.misfits,
            "cancelled": self.count("cancelled"),
            "waiting": self.count("waiting", "running"),
            "running": self.count("running"),
        }


class Walk(RuleBasedStateMachine):
    """Every step is done on the model and over HTTP; both must tell the same of every batch."""

    served: ClassVar[Served]
    ledger: ClassVar[Ledger]

    def __init__(self) -> None:
        super().__init__()
        self.batches: dict[str, Expected] = {}
        self.deleted: list[str] = []
        self.leases: dict[str, Lease] = {}

    def pick(self, number: int) -> str:
        return sorted(self.batches)[number % len(self.batches)]

    def find_owner(self, video_id: str) -> Expected:
        return next(each for each in self.batches.values() if video_id in each.items)

    def find_ready(self) -> set[str]:
        return {
            f"{batch.stages[name]}:{name}"
            for batch in self.batches.values()
            for name, state in batch.items.items()
            if batch.control == "running" and state in ("waiting", "running") and name not in self.leases
        }

    @initialize(first=FOUND, second=FOUND)
    def begin(self, first: list[str], second: list[str]) -> None:
        for found in (first, second):
            self.submit("", "s3://archive/a/**")
            self.end_listing(sorted(self.batches)[-1], found)

    @precondition(lambda self: len(self.batches) < MAX_BATCHES)
    @rule(key=st.sampled_from(KEYS), source=st.sampled_from(["s3://archive/a/**", "s3://archive/b/**"]))
    def submit(self, key: str, source: str) -> None:
        used = key and f"{key}-{id(self)}"
        held = next((each for each in self.batches.items() if used and each[1].key == used), None)
        status = 202 if held is None or held[1].sources == [source] else 409
        headers = {"Idempotency-Key": used} if used else {}
        told = self.served.post("/v1/batches", status, json={"sources": [source]}, headers=headers)
        if held is not None:
            assert status == 409 or told["batch_id"] == held[0]
        else:
            assert told["batch_id"] not in self.batches
            self.batches[told["batch_id"]] = Expected([source], used)

    @precondition(lambda self: any(each.is_listing for each in self.batches.values()))
    @rule(number=st.integers(0, 9), found=FOUND)
    def list_sources(self, number: int, found: list[str]) -> None:
        listing = [name for name, each in sorted(self.batches.items()) if each.is_listing]
        self.end_listing(listing[number % len(listing)], found)

    def end_listing(self, batch_id: str, found: list[str]) -> None:
        batch = self.batches[batch_id]
        items = []
        for state in found:
            name = f"v{next(NUMBERS)}"
            items.append(NewItem(f"s3://archive/{name}", f"etag:1:{name}", 1, name, state))  # type: ignore[arg-type]
            if state == "waiting":
                batch.items[name], batch.stages[name] = "waiting", "plan"
        batch.misfits += found.count("failed")
        batch.skipped += found.count("skipped")
        batch.listed = True
        self.ledger.add_items(batch_id, items)
        self.ledger.end_listing(batch_id)

    @precondition(lambda self: self.find_ready())
    @rule(number=st.integers(0, 9))
    def begin_unit(self, number: int) -> None:
        wanted = self.find_ready()
        ready = self.ledger.take_ready(100, redispatch_s=0.0)
        assert {unit.unit_id.rpartition(".")[0] for unit in ready} == wanted
        lease = self.ledger.acquire(ready[number % len(ready)].unit_id, "worker", lease_s=600)
        assert lease is not None
        name = lease.job.video_id
        self.leases[name] = lease
        self.find_owner(name).items[name] = "running"

    @precondition(lambda self: self.leases)
    @rule(number=st.integers(0, 9), is_well=st.sampled_from([True, True, False]))
    def end_unit(self, number: int, is_well: bool) -> None:
        name = sorted(self.leases)[number % len(self.leases)]
        lease, batch = self.leases.pop(name), self.find_owner(name)
        try:
            if not is_well:
                self.ledger.fail(lease, FATAL)
            elif lease.kind == "plan":
                self.ledger.complete(
                    lease, UnitResult(1.0, 9.0), [NewUnit(f"video:{lease.job.job_id}", "video", "{}")]
                )
            else:
                self.ledger.complete(lease, UnitResult(1.0, num_objects=1))
        except LeaseLostError:
            assert batch.items[name] == "cancelled"
            return
        assert batch.items[name] == "running"
        if not is_well:
            batch.items[name] = "failed"
        elif lease.kind == "plan":
            batch.stages[name] = "video"
        else:
            batch.items[name] = "done"

    @precondition(lambda self: self.batches)
    @rule(number=st.integers(0, 9), action=st.sampled_from(["cancel", "pause", "resume", "retry"]))
    def steer(self, number: int, action: str) -> None:
        batch_id = self.pick(number)
        batch = self.batches[batch_id]
        if batch.control == "cancelled" and action != "cancel":
            problem = self.served.post(f"/v1/batches/{batch_id}/{action}", 409)
            assert problem["code"] == "conflict"
            return
        if action == "retry":
            batch.items |= {name: "waiting" for name, state in batch.items.items() if state == "failed"}
        elif action != "cancel":
            batch.control = {"pause": "paused", "resume": "running"}[action]
        elif batch.state not in ("done", "failed"):
            batch.control = "cancelled"
            for name, state in batch.items.items():
                if state in ("waiting", "running"):
                    batch.items[name] = "cancelled"
        told = self.served.post(f"/v1/batches/{batch_id}/{action}")
        assert (told["state"], told["counts"]) == (batch.state, batch.counts)

    @precondition(lambda self: self.batches)
    @rule(number=st.integers(0, 9))
    def delete(self, number: int) -> None:
        batch_id = self.pick(number)
        if self.batches[batch_id].state not in ("done", "failed", "cancelled"):
            assert self.served.ask("DELETE", f"/v1/batches/{batch_id}", 409)["code"] == "conflict"
            return
        self.served.ask("DELETE", f"/v1/batches/{batch_id}", 204)
        for name in self.batches.pop(batch_id).items:
            self.leases.pop(name, None)
        self.deleted.append(batch_id)

    @invariant()
    def tells_what_the_model_foretells(self) -> None:
        page = self.served.get("/v1/batches?limit=100")["batches"]
        told = {batch["batch_id"]: (batch["state"], batch["counts"], batch["sources"]) for batch in page}
        wanted = {name: (each.state, each.counts, each.sources) for name, each in self.batches.items()}
        assert {name: told[name] for name in wanted} == wanted
        assert not set(self.deleted) & set(told)

    def teardown(self) -> None:
        for batch_id in self.batches:
            self.served.post(f"/v1/batches/{batch_id}/cancel")
            self.served.ask("DELETE", f"/v1/batches/{batch_id}", 204)
        for batch_id in self.deleted:
            assert self.served.get(f"/v1/batches/{batch_id}", 404)["code"] == "not-found"


def test_batches_walk_as_the_model(tmp_path: Path) -> None:
    home = make_settings(tmp_path / "home")
    with serve(home) as served, closing(open_ledger(home.ledger_location)) as ledger:
        machine: Any = type("Walk", (Walk,), {"served": served, "ledger": ledger})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=20,
                stateful_step_count=30,
                deadline=None,
                phases=[Phase.generate],
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
        assert served.get("/v1/batches")["batches"] == []
