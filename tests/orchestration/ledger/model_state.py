"""What the ledger in memory holds, and the steps that its calls are made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from tubelet.orchestration.ledger.checks import lease_lost, plan_payload, unknown_batch
from tubelet.orchestration.ledger.records import (
    Batch,
    Event,
    Item,
    Job,
    Lease,
    NewItem,
    NewUnit,
    UnitEntry,
    UnitFailure,
    UnitKind,
    UnitState,
)
from tubelet.orchestration.ledger.totals import count_failure

ASKING = ("waiting", "running")


class ModelState:
    """Dictionaries of batches, items, jobs and units."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._batches: dict[str, Batch] = {}
        self._items: dict[tuple[str, str], Item] = {}
        self._job_of: dict[tuple[str, str], str] = {}
        self._jobs: dict[str, Job] = {}
        self._units: dict[str, UnitEntry] = {}  # as they came
        self._unblocks: dict[str, str] = {}
        self._taken_s: dict[str, float] = {}
        self._settled: dict[str, int] = {}
        self._events: list[tuple[set[str], Event]] = []
        self._totals: dict[UnitKind, dict[str, int]] = {}
        self._token = 0
        self._num_events = 0

    def _need(self, batch_id: str) -> Batch:
        if batch_id not in self._batches:
            raise unknown_batch(batch_id)
        return self._batches[batch_id]

    def _asking(self, job_id: str) -> set[str]:
        return {k[0] for k, job in self._job_of.items() if job == job_id and self._items[k].state in ASKING}

    def _waits(self, unit: UnitEntry) -> bool:
        return unit.state == "waiting" and not unit.num_blockers and unit.not_before_s <= self._now()

    def _count(self, kind: UnitKind, amounts: Mapping[str, int]) -> None:
        totals = self._totals.setdefault(kind, {})
        for name, amount in amounts.items():
            totals[name] = totals.get(name, 0) + amount

    def _units_of(self, job_id: str) -> list[UnitEntry]:
        return sorted((u for u in self._units.values() if u.job_id == job_id), key=lambda u: u.unit_id)

    def _is_held(self, lease: Lease) -> bool:
        unit = self._units.get(lease.unit_id)
        return unit is not None and unit.state == "running" and unit.token == lease.token

    def _hold(self, lease: Lease) -> UnitEntry:
        if not self._is_held(lease):
            raise lease_lost(lease)
        return self._units[lease.unit_id]

    def _is_settled(self, lease: Lease, *states: UnitState) -> bool:
        unit = self._units.get(lease.unit_id)
        return unit is not None and unit.state in states and self._settled.get(unit.unit_id) == lease.token

    def _change(self, unit_id: str, **changes: Any) -> UnitEntry:
        """Change a unit; whichever state it comes to, it counts as not taken, and its end as not told."""
        self._units[unit_id] = replace(self._units[unit_id], **changes)
        if "state" in changes:
            self._taken_s.pop(unit_id, None)
            self._settled.pop(unit_id, None)
        return self._units[unit_id]

    def _add(self, job_id: str, new: NewUnit) -> None:
        if new.unit_id not in self._units:
            self._units[new.unit_id] = UnitEntry(
                new.unit_id, new.kind, job_id, "waiting", new.payload, 0, new.num_blockers, span_s=new.span_s
            )
            self._unblocks[new.unit_id] = new.unblocks

    def _begin(self, job_id: str, item: NewItem, batch: Batch) -> None:
        self._forget_units(job_id)
        self._jobs[job_id] = Job(
            job_id,
            item.video_id,
            item.uri,
            item.identity,
            item.size_bytes,
            batch.options,
            batch.digest,
            "running",
        )
        self._add(job_id, NewUnit(f"plan:{job_id}", "plan", plan_payload(item)))

    def _forget_units(self, job_id: str) -> None:
        for unit in self._units_of(job_id):
            for memory in (self._units, self._unblocks, self._taken_s, self._settled):
                memory.pop(unit.unit_id, None)  # type: ignore[attr-defined]

    def _end_attempt(self, unit: UnitEntry, failure: UnitFailure) -> UnitState:
        job = self._jobs[unit.job_id]
        self._count(unit.kind, count_failure(failure))
        state: UnitState = "waiting" if job.state == "running" else "cancelled"
        if failure.retry_after_s is None:
            state = "failed"
        self._change(
            unit.unit_id,
            state=state,
            owner=unit.owner if state == "failed" else "",
            expires_s=0.0,
            progress_s=0.0,
            not_before_s=self._now() + (failure.retry_after_s or 0.0) if state == "waiting" else 0.0,
            seconds=unit.seconds + failure.seconds,
            shrink=unit.shrink + (failure.error_class == "out of memory"),
            error_class=failure.error_class,
            error=failure.error,
        )
        if state == "failed" and job.state == "running":
            told = {"error": failure.error, "error_class": failure.error_class}
            self._jobs[job.job_id] = replace(job, state="failed", **told)  # type: ignore[arg-type]
            self._end_items(job.job_id)
        return state

    def _stop(self, unit: UnitEntry) -> None:
        state = "waiting" if self._jobs[unit.job_id].state == "running" else "cancelled"
        ended: dict[str, Any] = {"owner": "", "expires_s": 0.0, "progress_s": 0.0}
        self._change(unit.unit_id, state=state, attempts=unit.attempts - 1, **ended)

    def _end_items(self, job_id: str) -> None:
        job = self._jobs[job_id]
        for key, item in self._items.items():
            if self._job_of.get(key) == job_id and item.state in ASKING:
                told: dict[str, Any] = {
                    "reason": job.error,
                    "error_class": job.error_class,
                    **get_findings(job),
                }
                self._items[key] = replace(item, state=job.state, **told)
        self._cancel_units(job_id, ("waiting",))

    def _cancel_units(self, job_id: str, states: Collection[str]) -> None:
        for unit in self._units_of(job_id):
            if unit.state in states:
                ended: dict[str, Any] = {
                    "owner": "",
                    "expires_s": 0.0,
                    "progress_s": 0.0,
                    "not_before_s": 0.0,
                }
                self._change(unit.unit_id, state="cancelled", **ended)


def get_findings(job: Job) -> dict[str, Any]:
    """What a job says of its items."""
    return {
        "duration_s": job.duration_s,
        "num_objects": job.num_objects,
        "num_moments": job.num_moments,
        "warnings": job.warnings,
    }
