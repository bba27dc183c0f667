"""Steps on jobs and their units, each inside a transaction of the caller."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from tubelet.orchestration.ledger.checks import plan_payload
from tubelet.orchestration.ledger.records import (
    RUN_ORDER,
    Batch,
    ErrorClass,
    Job,
    JobState,
    NewItem,
    NewUnit,
    UnitState,
)
from tubelet.orchestration.ledger.sqlite_rows import JOB_COLUMNS, read_job

# the highest priority of the running batches that ask for a job; none: its units are held
_NUMBER_BITS = 48
_RANK = """
UPDATE ledger_units SET priority = (
    SELECT max(b.priority) FROM ledger_items i JOIN ledger_batches b ON b.batch_id = i.batch_id
    WHERE i.job_id = ledger_units.job_id AND i.job_id <> '' AND i.state IN ('waiting', 'running')
        AND b.control = 'running'
) WHERE job_id = ?
"""


def get_job(db: sqlite3.Connection, job_id: str) -> Job | None:
    """The job, or None."""
    row = db.execute(f"SELECT {JOB_COLUMNS} FROM ledger_jobs j WHERE job_id = ?", (job_id,)).fetchone()
    return read_job(row) if row else None


def begin_job(db: sqlite3.Connection, job_id: str, item: NewItem, batch: Batch) -> None:
    """Begin a job anew: what an earlier run of it left is forgotten, but for the items that it ended."""
    db.execute("INSERT OR IGNORE INTO ledger_options (options) VALUES (?)", (batch.options,))
    db.execute("DELETE FROM ledger_units WHERE job_id = ?", (job_id,))
    db.execute(
        "INSERT OR REPLACE INTO ledger_jobs VALUES (?, ?, ?, ?, ?,"
        " (SELECT options_id FROM ledger_options WHERE options = ?), ?, 'running', 0, 0, 0, '[]', '', NULL)",
        (job_id, item.video_id, item.uri, item.identity, item.size_bytes, batch.options, batch.digest),
    )
    add_unit(db, job_id, NewUnit(f"plan:{job_id}", "plan", plan_payload(item)))


def add_unit(db: sqlite3.Connection, job_id: str, unit: NewUnit, *, priority: int | None = None) -> None:
    """Add a unit to a job; one that is there already stays as it is."""
    first = RUN_ORDER.index(unit.kind) << _NUMBER_BITS  # numbers say in which order units are taken
    db.execute(
        "INSERT INTO ledger_units"
        " (number, unit_id, kind, job_id, priority, state, payload, num_blockers, unblocks, span_s)"
        " SELECT coalesce(max(number) + 1, ?), ?, ?, ?, ?, 'waiting', ?, ?, ?, ? FROM ledger_units"
        " WHERE number BETWEEN ? AND ? ON CONFLICT DO NOTHING",
        (
            first,
            unit.unit_id,
            unit.kind,
            job_id,
            priority,
            unit.payload,
            unit.num_blockers,
            unit.unblocks,
            unit.span_s,
            first,
            first + (1 << _NUMBER_BITS) - 1,
        ),
    )


def rank_jobs(db: sqlite3.Connection, job_ids: Iterable[str]) -> None:
    """Set the priority of the jobs' units after batches that ask for them came, went or were held."""
    db.executemany(_RANK, [(job_id,) for job_id in job_ids])


def end_job(
    db: sqlite3.Connection,
    job_id: str,
    state: JobState,
    *,
    error: str = "",
    error_class: ErrorClass | None = None,
) -> None:
    """End a running job, the items that ask for it, and its units that wait."""
    db.execute(
        "UPDATE ledger_jobs SET state = ?, error = ?, error_class = ? WHERE job_id = ?",
        (state, error, error_class, job_id),
    )
    db.execute(
        "UPDATE ledger_items SET state = ?, reason = ?, error_class = ?,"
        " (duration_s, num_objects, num_moments, warnings) = ("
        "SELECT duration_s, num_objects, num_moments, warnings FROM ledger_jobs WHERE job_id = ?)"
        " WHERE job_id = ? AND job_id <> '' AND state IN ('waiting', 'running')",
        (state, error, error_class, job_id, job_id),
    )
    cancel_units(db, job_id, ("waiting",))


def cancel_units(db: sqlite3.Connection, job_id: str, states: tuple[UnitState, ...]) -> None:
    """Cancel those of a job's units that are in `states`."""
    db.execute(
        "UPDATE ledger_units SET state = 'cancelled', owner = '', expires_s = 0, progress_s = 0,"
        f" taken_s = NULL, not_before_s = 0 WHERE job_id = ? AND state IN ({', '.join('?' * len(states))})",
        (job_id, *states),
    )


def restart_job(db: sqlite3.Connection, job_id: str) -> None:
    """Let a failed or cancelled job go on from the units that are done, with all attempts before it."""
    db.execute(
        "UPDATE ledger_jobs SET state = 'running', error = '', error_class = NULL WHERE job_id = ?", (job_id,)
    )
    db.execute(
        "UPDATE ledger_units SET state = 'waiting', attempts = 0, owner = '', taken_s = NULL,"
        " not_before_s = 0, error = '', error_class = NULL, settled_token = 0"
        " WHERE job_id = ? AND state IN ('failed', 'cancelled')",
        (job_id,),
    )
