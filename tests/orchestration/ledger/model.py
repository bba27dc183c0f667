"""The ledger's contract in memory, as simple as can be: what the real ledgers are compared with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.orchestration.ledger.model_state import ASKING, ModelState, get_findings
from tubelet.orchestration.ledger.checks import (
    batch_not_ended,
    cancelled_batch,
    check_same_batch,
)
from tubelet.orchestration.ledger.records import (
    RUN_ORDER,
    Batch,
    Control,
    Event,
    Item,
    ItemCounts,
    ItemState,
    Job,
    Lease,
    NewItem,
    NewUnit,
    ReadyUnit,
    StageProgress,
    UnitEntry,
    UnitFailure,
    UnitKind,
    UnitResult,
    UnitState,
)
from tubelet.orchestration.ledger.totals import count_result, read_totals


class ModelLedger(ModelState):
    """A `Ledger` of dictionaries; every question is answered by looking at everything."""

    # Batches

    def create_batch(self, batch: Batch) -> Batch:
        for held in self._batches.values():
            same_key = batch.idempotency_key and held.idempotency_key == batch.idempotency_key
            if held.batch_id == batch.batch_id or same_key:
                check_same_batch(held, batch)
                return held
        self._batches[batch.batch_id] = batch
        return batch

    def get_batch(self, batch_id: str) -> Batch | None:
        return self._batches.get(batch_id)

    def list_batches(self, *, limit: int = 100, before: str = "") -> list[Batch]:
        listed = sorted(self._batches.values(), key=lambda b: (b.created_s, b.batch_id), reverse=True)
        first = 1 + listed.index(self._need(before)) if before else 0
        return listed[first : first + limit]

    def end_listing(self, batch_id: str, *, error: str = "") -> None:
        self._batches[batch_id] = replace(self._need(batch_id), listed=not error, listing_error=error)

    def set_control(self, batch_id: str, control: Control) -> None:
        if self._need(batch_id).control == "cancelled":
            return
        self._batches[batch_id] = replace(self._batches[batch_id], control=control)
        if control != "cancelled":
            return
        for key, item in self._items.items():
            if key[0] == batch_id and item.state in ASKING:
                self._items[key] = replace(item, state="cancelled")
        for job in list(self._jobs.values()):
            if job.state == "running" and not self._asking(job.job_id):
                self._jobs[job.job_id] = replace(job, state="cancelled")
                self._cancel_units(job.job_id, ASKING)

    def delete_batch(self, batch_id: str) -> None:
        batch = self._batches.get(batch_id)
        if batch is None:
            return
        is_listed = batch.listed or batch.listing_error or batch.control == "cancelled"
        if not is_listed or self.count_items(batch_id).waiting:
            raise batch_not_ended(batch_id, 0)
        del self._batches[batch_id]
        for key in [key for key in self._items if key[0] == batch_id]:
            del self._items[key]
            self._job_of.pop(key, None)
        for job_id in set(self._jobs) - set(self._job_of.values()):
            del self._jobs[job_id]
            self._forget_units(job_id)
        for batch_ids, _ in self._events:
            batch_ids.discard(batch_id)

    # Items and jobs

    def add_items(self, batch_id: str, items: Sequence[NewItem]) -> None:
        batch = self._need(batch_id)
        for new in items:
            key = (batch_id, new.uri)
            held = self._items.get(key)
            if held is not None and (held.state != "failed" or key in self._job_of):
                continue
            state: ItemState = new.state
            if state == "waiting" and batch.control == "cancelled":
                state = "cancelled"
            item = Item(batch_id, new.uri, new.identity, new.size_bytes, new.video_id, state, new.reason)
            assert new.video_id or new.state != "waiting"
            self._items[key] = item
            if state == "waiting":
                job_id = f"{new.video_id}.{batch.digest}"
                self._job_of[key] = job_id
                job = self._jobs.get(job_id)
                if job is None or job.state != "running":
                    self._begin(job_id, new, batch)
                else:
                    self._items[key] = replace(item, duration_s=job.duration_s)

    def list_items(
        self, batch_id: str, *, states: Collection[ItemState] = (), after: str = "", limit: int = 1000
    ) -> list[Item]:
        listed = [
            item
            for (of_batch, uri), item in self._items.items()
            if of_batch == batch_id and uri > after and (not states or item.state in states)
        ]
        return sorted(listed, key=lambda item: item.uri)[:limit]

    def count_items(self, batch_id: str) -> ItemCounts:
        num: dict[str, int] = dict.fromkeys(
            ("skipped", "done", "failed", "cancelled", "waiting", "running"), 0
        )
        for (of_batch, _), item in self._items.items():
            if of_batch == batch_id:
                num[item.state] += 1
        num["found"] = sum(num.values())
        num["waiting"] += num["running"]
        return ItemCounts(**num)

    def get_jobs(self, job_ids: Collection[str]) -> Mapping[str, Job]:
        return {job_id: self._jobs[job_id] for job_id in job_ids if job_id in self._jobs}

    # Units

    def take_ready(self, limit: int, *, redispatch_s: float, batch_id: str = "") -> list[ReadyUnit]:
        ranked = []
        for number, unit in enumerate(self._units.values()):
            batches = [self._batches[b] for b in self._asking(unit.job_id)]
            running = [b for b in batches if b.control == "running"]
            asked = [b for b in running if b.batch_id == batch_id] if batch_id else running
            taken_s = self._taken_s.get(unit.unit_id)
            if not asked or not self._waits(unit):
                continue
            if taken_s is None or taken_s <= self._now() - redispatch_s:
                priority = max(b.priority for b in asked)
                order = (0 if batch_id else -priority, RUN_ORDER.index(unit.kind), number)
                ranked.append((order, priority, unit))
        taken = [(unit, priority) for _, priority, unit in sorted(ranked)[:limit]]
        for unit, _ in taken:
            self._taken_s[unit.unit_id] = self._now()
        return [ReadyUnit(u.unit_id, u.kind, u.job_id, u.span_s, priority) for u, priority in taken]

    def acquire(self, unit_id: str, owner: str, *, lease_s: float) -> Lease | None:
        unit = self._units.get(unit_id)
        if unit is None:
            return None
        if not any(self._batches[b].control == "running" for b in self._asking(unit.job_id)):
            self._taken_s.pop(unit_id, None)
            return None
        job = self._jobs[unit.job_id]
        ran_out = unit.state == "running" and unit.expires_s <= self._now()
        if job.state != "running" or not (self._waits(unit) or ran_out):
            return None
        self._token = max(self._token + 1, int(self._now() * 1e6))
        unit = self._change(
            unit_id,
            state="running",
            owner=owner,
            token=self._token,
            expires_s=self._now() + lease_s,
            attempts=unit.attempts + 1,
            progress_s=0.0,
        )
        for key, item in self._items.items():
            if self._job_of.get(key) == job.job_id and item.state == "waiting":
                self._items[key] = replace(item, state="running")
        return Lease(
            unit_id,
            unit.kind,
            job,
            unit.payload,
            owner,
            unit.token,
            unit.attempts,
            unit.expires_s,
            unit.span_s,
            unit.shrink,
            tuple(sorted(self._asking(unit.job_id))),
        )

    def renew(self, lease: Lease, *, lease_s: float, progress_s: float = 0.0) -> Lease:
        unit = self._hold(lease)
        expires_s = self._now() + lease_s
        progress_s = min(max(unit.progress_s, progress_s), unit.span_s)
        self._change(unit.unit_id, expires_s=expires_s, progress_s=progress_s)
        return replace(lease, expires_s=expires_s)

    def holds(self, lease: Lease) -> bool:
        return self._is_held(lease)

    def complete(self, lease: Lease, result: UnitResult, then: Sequence[NewUnit] = ()) -> None:
        if self._is_settled(lease, "done"):
            return
        unit = self._hold(lease)
        self._count(unit.kind, count_result(lease, result))
        self._change(
            unit.unit_id,
            state="done",
            expires_s=0.0,
            progress_s=unit.span_s,
            seconds=unit.seconds + result.seconds,
            models=result.models,
            error="",
            error_class=None,
        )
        self._settled[unit.unit_id] = unit.token
        for new in then:
            self._add(unit.job_id, new)
        waiting = self._units.get(self._unblocks[unit.unit_id])
        if waiting is not None and waiting.num_blockers:
            self._change(waiting.unit_id, num_blockers=waiting.num_blockers - 1)
        job = self._jobs[unit.job_id]
        if unit.kind == "plan":
            self._jobs[job.job_id] = replace(job, duration_s=result.duration_s)
            for key, item in self._items.items():
                if self._job_of.get(key) == job.job_id and item.state in ASKING:
                    self._items[key] = replace(item, duration_s=result.duration_s)
        elif unit.kind == "video":
            found = {"num_objects": result.num_objects, "num_moments": result.num_moments}
            self._jobs[job.job_id] = replace(job, state="done", warnings=result.warnings, **found)
            self._end_items(job.job_id)

    def fail(self, lease: Lease, failure: UnitFailure) -> UnitState:
        if self._is_settled(lease, "waiting", "failed", "cancelled", "done"):
            return self._units[lease.unit_id].state
        unit = self._hold(lease)
        state = self._end_attempt(unit, failure)
        self._settled[unit.unit_id] = lease.token
        return state

    def give_back(self, unit_id: str, owner: str, failure: UnitFailure | None = None) -> bool:
        unit = self._units.get(unit_id)
        if unit is None or unit.state != "running" or unit.owner != owner:
            return False
        if failure is None:
            self._stop(unit)
        else:
            self._end_attempt(unit, failure)
        return True

    def give_back_all(self, owner_prefix: str) -> list[str]:
        units = [u for u in self._units.values() if u.state == "running" and u.owner.startswith(owner_prefix)]
        for unit in units:
            self._stop(unit)
        return sorted(unit.unit_id for unit in units)

    def give_back_expired(self, failure: UnitFailure, *, max_attempts: int) -> list[str]:
        late = [u for u in self._units.values() if u.state == "running" and u.expires_s <= self._now()]
        late.sort(key=lambda unit: (unit.expires_s, unit.unit_id))
        for unit in late:
            again_s = None if unit.attempts >= max_attempts else failure.retry_after_s or 0.0
            self._end_attempt(self._units[unit.unit_id], replace(failure, retry_after_s=again_s))
        return sorted(unit.unit_id for unit in late)

    def send_back(self, lease: Lease, missing: Collection[str]) -> None:
        if self._is_settled(lease, "waiting"):
            return
        unit = self._hold(lease)
        num = 0
        for unit_id in set(missing):
            gone = self._units.get(unit_id)
            if gone is not None and gone.job_id == unit.job_id and gone.state == "done":
                self._change(unit_id, state="waiting", owner="", progress_s=0.0, attempts=0)
                self._unblocks[unit_id] = unit.unit_id
                num += 1
        self._change(
            unit.unit_id,
            state="waiting",
            owner="",
            expires_s=0.0,
            progress_s=0.0,
            num_blockers=unit.num_blockers + num,
        )
        self._settled[unit.unit_id] = lease.token

    def get_unit(self, unit_id: str) -> UnitEntry | None:
        return self._units.get(unit_id)

    def list_units(self, job_id: str) -> list[UnitEntry]:
        return self._units_of(job_id)

    def list_dead(self, batch_id: str = "", *, limit: int = 1000) -> list[UnitEntry]:
        named = {job for (of_batch, _), job in self._job_of.items() if batch_id in ("", of_batch)}
        dead = [u for u in self._units.values() if u.state == "failed" and u.job_id in named]
        return sorted(dead, key=lambda unit: unit.unit_id)[:limit]

    def retry(self, batch_id: str) -> int:
        if self._need(batch_id).control == "cancelled":
            raise cancelled_batch(batch_id)
        keys = [
            key
            for key, item in self._items.items()
            if key[0] == batch_id and key in self._job_of and item.state in ("failed", "cancelled")
        ]
        for key in keys:
            job = self._jobs[self._job_of[key]]
            if job.state in ("failed", "cancelled"):
                self._jobs[job.job_id] = replace(job, state="running", error="", error_class=None)
                for unit in self.list_units(job.job_id):
                    if unit.state in ("failed", "cancelled"):
                        fresh: dict[str, Any] = {"attempts": 0, "error": "", "error_class": None}
                        self._change(unit.unit_id, state="waiting", owner="", not_before_s=0.0, **fresh)
            self._items[key] = replace(
                self._items[key],
                state="done" if job.state == "done" else "waiting",
                reason="",
                error_class=None,
                **get_findings(job),
            )
        return len(keys)

    # Watching

    def measure_stages(self, batch_id: str = "") -> Mapping[UnitKind, StageProgress]:
        named = {job for (of_batch, _), job in self._job_of.items() if batch_id in ("", of_batch)}
        stages: dict[UnitKind, StageProgress] = {}
        for unit in self._units.values():
            if unit.job_id in named:
                stage = stages.get(unit.kind, StageProgress())
                is_live = unit.state not in ("failed", "cancelled")
                stages[unit.kind] = replace(
                    stage,
                    span_s=stage.span_s + unit.span_s * is_live,
                    span_done_s=stage.span_done_s + unit.progress_s * is_live,
                    seconds=stage.seconds + unit.seconds,
                    **{unit.state: getattr(stage, unit.state) + 1},
                )
        return stages

    def measure_totals(self) -> Mapping[UnitKind, Mapping[str, float]]:
        return read_totals((k, n, v) for k, totals in self._totals.items() for n, v in totals.items())

    def add_events(self, events: Sequence[Event]) -> None:
        for event in events:
            self._num_events += 1
            batch_ids = {b for (b, _), job_id in self._job_of.items() if job_id == event.job_id}
            batch_ids |= {event.batch_id} & set(self._batches)
            self._events.append((batch_ids or {""}, replace(event, number=self._num_events)))

    def list_events(self, batch_id: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
        log = [event for batch_ids, event in self._events if batch_id in batch_ids and event.number > after]
        return log[:limit]

    def close(self) -> None:
        pass
