"""The ledger seam: the one place that says which work there is, who runs it, and how it ended.

Every method is one atomic step: a process that dies between two calls leaves a ledger that another process
goes on from. A call that is repeated because its answer was lost does nothing twice. The ledger remembers;
files decide. A chunk is done when its result lies in the work store, a video when the index holds it, so a
ledger that is behind costs work, never rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

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


class Ledger(Protocol):
    """Batches, items, jobs and units. Times are seconds of the ledger's clock (`time.time`)."""

    # Batches

    def create_batch(self, batch: Batch) -> Batch:
        """Take a batch in, or give the one that has its idempotency key (or its id) already.

        Raises InputError when that one has other addresses or options.
        """

    def get_batch(self, batch_id: str) -> Batch | None:
        """The batch, or None."""

    def list_batches(self, *, limit: int = 100, before: str = "") -> list[Batch]:
        """The newest batches first; `before` (a batch id) gives the next page.

        Raises InputError when `before` is unknown.
        """

    def end_listing(self, batch_id: str, *, error: str = "") -> None:
        """Note that every address of a batch was expanded, or what stopped that.

        Raises InputError for an unknown batch.
        """

    def set_control(self, batch_id: str, control: Control) -> None:
        """Let a batch run, hold it, or cancel it. A cancelled batch stays cancelled.

        Units of a held batch are not ready; those that run end. Cancelling ends the items that are not ended,
        and the job of each that no other batch asks for: its units are cancelled, and whoever runs one loses
        the lease. Raises InputError for an unknown batch.
        """

    def delete_batch(self, batch_id: str) -> None:
        """Forget a batch that has ended, with its items, its log and the jobs that no other batch names.

        A batch has ended when its listing has (well or not, or by cancelling) and no item waits or runs.
        Raises InputError when it has not; an unknown batch is forgotten already.
        """

    # Items and jobs

    def add_items(self, batch_id: str, items: Sequence[NewItem]) -> None:
        """Add sources to a batch, each URI once however often it is added.

        An item that waits joins the running job of its content and the batch's options, where there is one;
        else the job begins anew, with a `plan` unit `plan:JOB_ID` whose payload is `{"uri", "identity",
        "size_bytes"}` as JSON. In a cancelled batch it is cancelled at once. A source that failed before it
        had a job may be added again, and the later finding counts. Raises InputError for an unknown batch.
        """

    def list_items(
        self, batch_id: str, *, states: Collection[ItemState] = (), after: str = "", limit: int = 1000
    ) -> list[Item]:
        """Items by URI, those in `states` or all; `after` (a URI) gives the next page."""

    def count_items(self, batch_id: str) -> ItemCounts:
        """Items of a batch by state."""

    def get_jobs(self, job_ids: Collection[str]) -> Mapping[str, Job]:
        """Those of the jobs that are known."""

    # Units

    def take_ready(self, limit: int, *, redispatch_s: float, batch_id: str = "") -> list[ReadyUnit]:
        """Units that may run and were not taken within `redispatch_s`: by priority, `RUN_ORDER`, arrival.

        A job has the highest priority of the running batches that ask for it. Of the jobs that one batch asks
        for, as they came (none while it is held), or of all. A unit that is set back to waiting counts as not
        taken, and so does one that could not be acquired because its batch was held.
        Callers of one ledger use the same `redispatch_s`; else the shortest may count for all of them.
        Taking is a hint to the caller to send the unit on its way; only `acquire` gives the right to run it.
        """

    def acquire(self, unit_id: str, owner: str, *, lease_s: float) -> Lease | None:
        """The lease of a waiting unit, or of one whose lease ran out; None when it may not run (any more).

        A lease sets the job's waiting items running. It counts as an attempt.
        """

    def renew(self, lease: Lease, *, lease_s: float, progress_s: float = 0.0) -> Lease:
        """Heartbeat: hold on to a unit, and note how many seconds of its span are done (never fewer).

        Raises LeaseLostError when it is no longer the holder's.
        """

    def holds(self, lease: Lease) -> bool:
        """Whether the unit is still the holder's, whatever the clock says."""

    def complete(self, lease: Lease, result: UnitResult, then: Sequence[NewUnit] = ()) -> None:
        """End a unit, add the units that come after it, and unblock the one that waited for it.

        Units that are there already stay as they are. A `plan` unit's duration becomes the job's; a `video`
        unit ends the job and its items as done. Raises LeaseLostError when it is no longer the holder's; then
        nothing changes.
        """

    def fail(self, lease: Lease, failure: UnitFailure) -> UnitState:
        """End an attempt. Without `retry_after_s` the unit fails, and with it the job and its items.

        Failing cancels the job's units that wait; those that run may end, and are cancelled instead of
        waiting again. Memory that ran out raises `shrink`. Gives the unit's new state. Raises LeaseLostError
        when it is no longer the holder's.
        """

    def give_back(self, unit_id: str, owner: str, failure: UnitFailure | None = None) -> bool:
        """End the lease of an owner that is known to be dead; False when it holds none.

        With a failure it counts as a failed attempt, without one as none (a worker that was asked to stop).
        """

    def give_back_all(self, owner_prefix: str) -> list[str]:
        """End, as no attempts, all leases of owners whose names begin so and who are known to be dead.

        Gives the ids of the units.
        """

    def give_back_expired(self, failure: UnitFailure, *, max_attempts: int) -> list[str]:
        """End every lease that ran out, as failed attempts; units with `max_attempts` of them fail for good.

        Gives the ids of all these units.
        """

    def send_back(self, lease: Lease, missing: Collection[str]) -> None:
        """Set done units whose results are gone back to waiting; the holder's unit waits for them.

        Those begin their attempts anew; the holder's attempt counts, so that results that vanish again and
        again come to an end. Raises LeaseLostError when the unit is no longer the holder's.
        """

    def get_unit(self, unit_id: str) -> UnitEntry | None:
        """The unit, or None."""

    def list_units(self, job_id: str) -> list[UnitEntry]:
        """The units of a job, by id."""

    def list_dead(self, batch_id: str = "", *, limit: int = 1000) -> list[UnitEntry]:
        """Units that failed for good (the dead letters), of a batch or of all, by id."""

    def retry(self, batch_id: str) -> int:
        """Let failed and cancelled items of a batch run again, from what is done; how many.

        An item whose job is done by now, for another batch, is done too.
        Items that failed before there was a job are not among them: they must be listed again.
        Raises InputError for a cancelled or unknown batch.
        """

    # Watching

    def measure_stages(self, batch_id: str = "") -> Mapping[UnitKind, StageProgress]:
        """Progress of each kind of unit, of the jobs that a batch names or of all.

        Running units count with their progress.
        """

    def measure_totals(self) -> Mapping[UnitKind, Mapping[str, float]]:
        """What all attempts came to that ended since the ledger began, by kind of unit and name (`totals`).

        These never become less: what is forgotten, done again or retried stays in them.
        """

    def add_events(self, events: Sequence[Event]) -> None:
        """Append to the log. Events of a job belong to every batch that names it by then.

        What belongs to no batch is in the log of the batch "".
        """

    def list_events(self, batch_id: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """The log of a batch in order; `after` (an event's number) gives what came later."""

    def close(self) -> None:
        """Give up connections."""
