"""The ledger on a Redis server: for workers on several machines.

Every method is a call of one Lua script, which the server runs as one step. Cancelling, deleting and
retrying a large batch go page by page, each page one step, so that nobody else waits for long; what a
process that died left of it is taken up by the next `take_ready` (of a retry: by the next retry). A call
whose answer was lost is sent again, and does nothing twice.

The server needs `appendonly yes` and `maxmemory-policy noeviction`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar, cast, get_args
from uuid import uuid4

from tubelet.orchestration.ledger.checks import (
    batch_not_ended,
    cancelled_batch,
    check_same_batch,
    lease_lost,
    plan_payload,
    unknown_batch,
)
from tubelet.orchestration.ledger.records import (
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
from tubelet.orchestration.ledger.redis_client import RedisClient
from tubelet.orchestration.ledger.redis_rows import (
    read_batch,
    read_event,
    read_hash,
    read_item,
    read_job,
    read_lease,
    read_ready,
    read_stages,
    read_unit,
    write_event,
)
from tubelet.orchestration.ledger.totals import count_failure, count_result, read_totals

T = TypeVar("T")

_PAGE = 500
_SWEEP = 200
_REMEMBER_CALLS_S = 3600
_ITEM_STATES: tuple[ItemState, ...] = get_args(ItemState)


class RedisLedger(RedisClient):
    """`Ledger` under the keys `{prefix}:…` of a Redis server. Times are the server's, or those of `now`.

    Raises InputError for an address that is none, StoreError when the server does not answer, stays full, or
    holds a ledger of another version.
    """

    # Batches

    def create_batch(self, batch: Batch) -> Batch:
        """Take a batch in, or give the one that has its idempotency key (or its id) already."""
        fields = {
            "batch_id": batch.batch_id,
            "name": batch.name,
            "created_s": batch.created_s,
            "addresses": json.dumps(batch.addresses),
            "options": batch.options,
            "digest": batch.digest,
            "priority": batch.priority,
            "idempotency_key": batch.idempotency_key,
            "control": batch.control,
            "listed": batch.listed,
            "listing_error": batch.listing_error,
        }
        flat = [part for pair in fields.items() for part in pair]
        answer = self.run("create_batch", batch.batch_id, batch.idempotency_key, batch.created_s, *flat)
        if not answer:
            return batch
        held = read_batch(answer)
        check_same_batch(held, batch)
        return held

    def get_batch(self, batch_id: str) -> Batch | None:
        """The batch, or None."""
        answer = self.run("get_batch", batch_id)
        return read_batch(answer) if answer else None

    def list_batches(self, *, limit: int = 100, before: str = "") -> list[Batch]:
        """The newest batches first; `before` (a batch id) gives the next page."""
        status, *batches = self.run("list_batches", before, limit)
        if status == "unknown":
            raise unknown_batch(before)
        return [read_batch(flat) for flat in batches]

    def end_listing(self, batch_id: str, *, error: str = "") -> None:
        """Note that every address of a batch was expanded, or what stopped that."""
        if self.run("end_listing", batch_id, error) == "unknown":
            raise unknown_batch(batch_id)

    def set_control(self, batch_id: str, control: Control) -> None:
        """Let a batch run, hold it, or cancel it. A cancelled batch stays cancelled."""
        if self.run("set_control", batch_id, control) == "unknown":
            raise unknown_batch(batch_id)
        self._sweep(batch_id)

    def delete_batch(self, batch_id: str) -> None:
        """Forget a batch that has ended, with its items, its log and the jobs that no other batch names."""
        status = self.run("delete_batch", batch_id)
        if status != "ok":
            raise batch_not_ended(batch_id, int(status))
        self._sweep(batch_id)

    def _sweep(self, batch_id: str) -> None:
        while self.run("sweep", batch_id, _SWEEP):
            pass

    # Items and jobs

    def add_items(self, batch_id: str, items: Sequence[NewItem]) -> None:
        """Add sources to a batch, each URI once however often it is added."""
        for page in _pages(items) if items else [items]:
            fields: list[object] = []
            for item in page:
                assert item.video_id or item.state != "waiting", "an item that waits was identified"
                fields += [item.uri, item.identity, item.size_bytes, item.video_id, item.reason, item.state]
                fields.append(plan_payload(item))
            if self.run("add_items", batch_id, len(page), *fields) == "unknown":
                raise unknown_batch(batch_id)

    def list_items(
        self, batch_id: str, *, states: Collection[ItemState] = (), after: str = "", limit: int = 1000
    ) -> list[Item]:
        """Items by URI, those in `states` or all; `after` (a URI) gives the next page."""
        listed: list[Item] = []
        while len(listed) < limit:
            num = min(limit - len(listed), _PAGE)
            page = [read_item(flat) for flat in self.run("list_items", batch_id, after, num, *states)]
            page.sort(key=lambda item: item.uri.encode("utf-8", "surrogateescape"))
            listed += page[:num]
            if len(page) < num:
                break
            after = listed[-1].uri
        return listed

    def count_items(self, batch_id: str) -> ItemCounts:
        """Items of a batch by state."""
        num = dict(zip(_ITEM_STATES, self.run("count_items", batch_id, *_ITEM_STATES), strict=True))
        waiting, running = num.pop("waiting"), num["running"]
        return ItemCounts(found=waiting + sum(num.values()), waiting=waiting + running, **num)

    def get_jobs(self, job_ids: Collection[str]) -> Mapping[str, Job]:
        """Those of the jobs that are known."""
        found = (read_job(*row) for page in _pages(list(job_ids)) for row in self.run("get_jobs", *page))
        return {job.job_id: job for job in found}

    def retry(self, batch_id: str) -> int:
        """Let failed and cancelled items of a batch run again, from what is done; how many."""
        num = 0
        for state in ("failed", "cancelled"):
            after = ""
            while True:
                status, *page = self.run("retry", batch_id, state, after, _SWEEP)
                if status == "unknown":
                    raise unknown_batch(batch_id)
                if status == "cancelled":
                    raise cancelled_batch(batch_id)
                num += page[0]
                after = page[1]
                if not after:
                    break
        return num

    # Units

    def take_ready(self, limit: int, *, redispatch_s: float, batch_id: str = "") -> list[ReadyUnit]:
        """Units that may run and were not taken within `redispatch_s`, by priority, then as they came."""
        return [read_ready(row) for row in self.run("take_ready", batch_id, limit, redispatch_s)]

    def acquire(self, unit_id: str, owner: str, *, lease_s: float) -> Lease | None:
        """The lease of a waiting unit, or of one whose lease ran out; None when it may not run (any more)."""
        answer = self.run("acquire", unit_id, owner, lease_s, uuid4().hex)
        if not answer:
            return None
        unit, job, options, batch_ids = answer
        return read_lease(unit, read_job(job, options), batch_ids)

    def renew(self, lease: Lease, *, lease_s: float, progress_s: float = 0.0) -> Lease:
        """Heartbeat: hold on to a unit, and note how many seconds of its span are done."""
        expires_s = self._held(lease, self.run("renew", lease.unit_id, lease.token, lease_s, progress_s))
        return replace(lease, expires_s=float(expires_s))

    def holds(self, lease: Lease) -> bool:
        """Whether the unit is still the holder's, whatever the clock says."""
        return bool(self.run("holds", lease.unit_id, lease.token))

    def complete(self, lease: Lease, result: UnitResult, then: Sequence[NewUnit] = ()) -> None:
        """End a unit, add the units that come after it, and unblock the one that waited for it."""
        fields: list[object] = [result.seconds, result.models, result.duration_s]
        fields += [result.num_objects, result.num_moments, json.dumps(result.warnings), len(then)]
        for unit in then:
            fields += [unit.unit_id, unit.kind, unit.payload, unit.span_s, unit.num_blockers, unit.unblocks]
        fields += [part for pair in count_result(lease, result).items() for part in pair]
        self._held(lease, self.run("complete", lease.unit_id, lease.token, *fields))

    def fail(self, lease: Lease, failure: UnitFailure) -> UnitState:
        """End an attempt. Without `retry_after_s` the unit fails, and with it the job and its items."""
        answer = self.run("fail", lease.unit_id, lease.token, *_failure_fields(failure))
        state: UnitState = self._held(lease, answer)  # type: ignore[assignment]
        return state

    def give_back(self, unit_id: str, owner: str, failure: UnitFailure | None = None) -> bool:
        """End the lease of an owner that is known to be dead; False when it holds none."""
        fields = _failure_fields(failure) if failure else []
        return bool(self.run("give_back", unit_id, owner, *fields))

    def give_back_all(self, owner_prefix: str) -> list[str]:
        """End, as no attempts, all leases of owners whose names begin so and who are known to be dead."""
        return sorted(self.run("give_back_all", owner_prefix))

    def give_back_expired(self, failure: UnitFailure, *, max_attempts: int) -> list[str]:
        """End every lease that ran out, as failed attempts; units with `max_attempts` fail for good."""
        ended: list[str] = []
        while page := self.run("give_back_expired", _SWEEP, max_attempts, *_failure_fields(failure)):
            ended += page
        return sorted(ended)

    def send_back(self, lease: Lease, missing: Collection[str]) -> None:
        """Set done units whose results are gone back to waiting; the holder's unit waits for them."""
        self._held(lease, self.run("send_back", lease.unit_id, lease.token, *missing))

    def get_unit(self, unit_id: str) -> UnitEntry | None:
        """The unit, or None."""
        answer = self.run("get_unit", unit_id)
        return read_unit(answer) if answer else None

    def list_units(self, job_id: str) -> list[UnitEntry]:
        """The units of a job, by id."""
        return list(self._units_of("job.units", job_id))

    def list_dead(self, batch_id: str = "", *, limit: int = 1000) -> list[UnitEntry]:
        """Units that failed for good (the dead letters), of a batch or of all, by id."""
        return list(islice(self._units_of("dead", batch_id), limit))

    def _units_of(self, kind: str, name: str) -> Iterator[UnitEntry]:
        after = ""
        while page := [read_unit(flat) for flat in self.run("list_units", kind, name, after, _PAGE)]:
            yield from page
            after = page[-1].unit_id

    def _held(self, lease: Lease, answer: str) -> str:
        if answer == "lost":
            raise lease_lost(lease)
        return answer

    # Watching

    def measure_stages(self, batch_id: str = "") -> Mapping[UnitKind, StageProgress]:
        """Progress of each kind of unit, of a batch or of all. Running units count with their progress."""
        return read_stages(self.run("measure_stages", batch_id))

    def measure_totals(self) -> Mapping[UnitKind, Mapping[str, float]]:
        """What all attempts came to that ended since the ledger began, by kind of unit and name."""
        return read_totals(
            (cast(UnitKind, kind), name, int(millionths))
            for field, millionths in read_hash(self.run("measure_totals")).items()
            for kind, _, name in [field.partition(":")]
        )

    def add_events(self, events: Sequence[Event]) -> None:
        """Append to the log. Events of a job belong to every batch that names it by then."""
        for page in _pages(events):
            fields: list[object] = []
            for event in page:
                fields += [event.batch_id, event.job_id, write_event(event)]
            self.run("add_events", uuid4().hex, _REMEMBER_CALLS_S, len(page), *fields)

    def list_events(self, batch_id: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """The log of a batch in order; `after` (an event's number) gives what came later."""
        return [read_event(entry) for entry in self.run("list_events", batch_id, after, limit)]


def _pages(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(values), _PAGE):
        yield values[first : first + _PAGE]


def _failure_fields(failure: UnitFailure) -> list[object]:
    told = [failure.error_class, failure.error, failure.seconds, failure.retry_after_s]
    return [*told, *(part for pair in count_failure(failure).items() for part in pair)]
