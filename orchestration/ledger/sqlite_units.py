"""Units of work and their leases in the SQLite ledger."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from tubelet.orchestration.ledger.checks import lease_lost
from tubelet.orchestration.ledger.records import (
    Lease,
    NewUnit,
    ReadyUnit,
    UnitEntry,
    UnitFailure,
    UnitResult,
    UnitState,
)
from tubelet.orchestration.ledger.sqlite_file import SqliteFile
from tubelet.orchestration.ledger.sqlite_jobs import add_unit, end_job, get_job
from tubelet.orchestration.ledger.sqlite_rows import read_lease, read_ready, read_unit
from tubelet.orchestration.ledger.totals import count_failure, count_result

_READY = (
    "state = 'waiting' AND num_blockers = 0 AND priority IS NOT NULL"
    " AND not_before_s <= :now AND (taken_s IS NULL OR taken_s <= :again)"
)
_READY_OF_ALL = f"SELECT * FROM ledger_units WHERE {_READY} ORDER BY priority DESC, number LIMIT :limit"
_READY_OF_BATCH = f"""
SELECT * FROM ledger_units WHERE {_READY} AND job_id IN (
    SELECT i.job_id FROM ledger_items i JOIN ledger_batches b ON b.batch_id = i.batch_id
    WHERE i.batch_id = :batch_id AND i.state IN ('waiting', 'running') AND b.control = 'running'
) ORDER BY number LIMIT :limit
"""


class SqliteUnits(SqliteFile):
    """The part of the ledger that says who runs what."""

    def take_ready(self, limit: int, *, redispatch_s: float, batch_id: str = "") -> list[ReadyUnit]:
        """Units that may run and were not taken within `redispatch_s`: by priority, kind, arrival."""
        query = _READY_OF_BATCH if batch_id else _READY_OF_ALL
        now = self._now()
        values = {"now": now, "again": now - redispatch_s, "limit": limit, "batch_id": batch_id}
        with self._read() as db:
            if not db.execute(query, {**values, "limit": 1}).fetchone():
                return []
        with self._write() as db:
            rows = db.execute(query, values).fetchall()
            db.executemany(
                "UPDATE ledger_units SET taken_s = ? WHERE number = ?", [(now, row["number"]) for row in rows]
            )
        return [read_ready(row) for row in rows]

    def acquire(self, unit_id: str, owner: str, *, lease_s: float) -> Lease | None:
        """The lease of a waiting unit, or of one whose lease ran out; None when it may not run (any more)."""
        now = self._now()
        with self._write() as db:
            row = _find(db, unit_id)
            if row is None:
                return None
            if row["priority"] is None:  # held: whoever sent it on its way must send it again
                db.execute("UPDATE ledger_units SET taken_s = NULL WHERE number = ?", (row["number"],))
                return None
            job = get_job(db, row["job_id"])
            waits = row["state"] == "waiting" and row["num_blockers"] == 0 and row["not_before_s"] <= now
            ran_out = row["state"] == "running" and row["expires_s"] <= now
            if job is None or job.state != "running" or not (waits or ran_out):
                return None
            (token,) = db.execute(
                "UPDATE ledger_token SET last = max(last + 1, ?) RETURNING last", (int(now * 1e6),)
            ).fetchone()
            row = db.execute(
                "UPDATE ledger_units SET state = 'running', owner = ?, token = ?, settled_token = 0,"
                " expires_s = ?, attempts = attempts + 1, progress_s = 0, taken_s = NULL"
                " WHERE number = ? RETURNING *",
                (owner, token, now + lease_s, row["number"]),
            ).fetchone()
            db.execute(
                "UPDATE ledger_items SET state = 'running'"
                " WHERE job_id = ? AND job_id <> '' AND state = 'waiting'",
                (job.job_id,),
            )
            return read_lease(row, job, _asking(db, job.job_id))

    def renew(self, lease: Lease, *, lease_s: float, progress_s: float = 0.0) -> Lease:
        """Heartbeat: hold on to a unit, and note how many seconds of its span are done."""
        expires_s = self._now() + lease_s
        with self._write() as db:
            row = _hold(db, lease)
            db.execute(
                "UPDATE ledger_units SET expires_s = ?, progress_s = min(max(progress_s, ?), span_s)"
                " WHERE number = ?",
                (expires_s, progress_s, row["number"]),
            )
        return replace(lease, expires_s=expires_s)

    def holds(self, lease: Lease) -> bool:
        """Whether the unit is still the holder's, whatever the clock says."""
        with self._read() as db:
            return _is_held(_find(db, lease.unit_id), lease)

    def complete(self, lease: Lease, result: UnitResult, then: Sequence[NewUnit] = ()) -> None:
        """End a unit, add the units that come after it, and unblock the one that waited for it."""
        with self._write() as db:
            row = _find(db, lease.unit_id)
            if row is not None and row["state"] == "done" and row["settled_token"] == lease.token:
                return  # said before, by the same holder
            row = _hold(db, lease)
            job_id = row["job_id"]
            db.execute(
                "UPDATE ledger_units SET state = 'done', settled_token = token, expires_s = 0,"
                " progress_s = span_s, seconds = seconds + ?, models = ?, error = '', error_class = NULL"
                " WHERE number = ?",
                (result.seconds, result.models, row["number"]),
            )
            _count(db, row["kind"], count_result(lease, result))
            for unit in then:
                add_unit(db, job_id, unit, priority=row["priority"])
            db.execute(
                "UPDATE ledger_units SET num_blockers = num_blockers - 1"
                " WHERE unit_id = ? AND job_id = ? AND num_blockers > 0",
                (row["unblocks"], job_id),
            )
            if row["kind"] == "plan":
                db.execute(
                    "UPDATE ledger_jobs SET duration_s = ? WHERE job_id = ?", (result.duration_s, job_id)
                )
                db.execute(
                    "UPDATE ledger_items SET duration_s = ?"
                    " WHERE job_id = ? AND job_id <> '' AND state IN ('waiting', 'running')",
                    (result.duration_s, job_id),
                )
            elif row["kind"] == "video":
                db.execute(
                    "UPDATE ledger_jobs SET num_objects = ?, num_moments = ?, warnings = ? WHERE job_id = ?",
                    (result.num_objects, result.num_moments, json.dumps(result.warnings), job_id),
                )
                end_job(db, job_id, "done")

    def fail(self, lease: Lease, failure: UnitFailure) -> UnitState:
        """End an attempt. Without `retry_after_s` the unit fails, and with it the job and its items."""
        now = self._now()
        with self._write() as db:
            row = _find(db, lease.unit_id)
            if row is not None and row["state"] != "running" and row["settled_token"] == lease.token:
                state: UnitState = row["state"]  # said before, by the same holder
                return state
            return _end_attempt(db, _hold(db, lease), failure, now=now, settle=True)

    def give_back(self, unit_id: str, owner: str, failure: UnitFailure | None = None) -> bool:
        """End the lease of an owner that is known to be dead; False when it holds none."""
        now = self._now()
        with self._write() as db:
            row = _find(db, unit_id)
            if row is None or row["state"] != "running" or row["owner"] != owner:
                return False
            if failure is None:
                _stop(db, row)
            else:
                _end_attempt(db, row, failure, now=now)
            return True

    def give_back_all(self, owner_prefix: str) -> list[str]:
        """End, as no attempts, all leases of owners whose names begin so and who are known to be dead."""
        with self._write() as db:
            rows = db.execute(
                "SELECT * FROM ledger_units WHERE state = 'running' AND substr(owner, 1, ?) = ?"
                " ORDER BY unit_id",
                (len(owner_prefix), owner_prefix),
            ).fetchall()
            for row in rows:
                _stop(db, row)
        return [row["unit_id"] for row in rows]

    def give_back_expired(self, failure: UnitFailure, *, max_attempts: int) -> list[str]:
        """End every lease that ran out, as failed attempts; units with `max_attempts` fail for good."""
        now = self._now()
        query = "SELECT * FROM ledger_units WHERE state = 'running' AND expires_s <= ? ORDER BY unit_id"
        with self._read() as db:
            if not db.execute(query, (now,)).fetchone():
                return []
        with self._write() as db:
            rows = db.execute(query, (now,)).fetchall()
            for row in rows:
                again_s = None if row["attempts"] >= max_attempts else failure.retry_after_s or 0.0
                _end_attempt(db, row, replace(failure, retry_after_s=again_s), now=now)
        return [row["unit_id"] for row in rows]

    def send_back(self, lease: Lease, missing: Collection[str]) -> None:
        """Set done units whose results are gone back to waiting; the holder's unit waits for them."""
        with self._write() as db:
            row = _find(db, lease.unit_id)
            if row is not None and row["state"] == "waiting" and row["settled_token"] == lease.token:
                return  # said before, by the same holder
            row = _hold(db, lease)
            num_missing = 0
            for unit_id in dict.fromkeys(missing):
                num_missing += db.execute(
                    "UPDATE ledger_units SET state = 'waiting', owner = '', progress_s = 0, taken_s = NULL,"
                    " attempts = 0, settled_token = 0, unblocks = ?"
                    " WHERE unit_id = ? AND job_id = ? AND state = 'done'",
                    (lease.unit_id, unit_id, row["job_id"]),
                ).rowcount
            db.execute(
                "UPDATE ledger_units SET state = 'waiting', settled_token = token, owner = '', expires_s = 0,"
                " progress_s = 0, taken_s = NULL, num_blockers = num_blockers + ? WHERE number = ?",
                (num_missing, row["number"]),
            )

    def get_unit(self, unit_id: str) -> UnitEntry | None:
        """The unit, or None."""
        with self._read() as db:
            row = _find(db, unit_id)
        return read_unit(row) if row else None

    def list_units(self, job_id: str) -> list[UnitEntry]:
        """The units of a job, by id."""
        with self._read() as db:
            rows = db.execute("SELECT * FROM ledger_units WHERE job_id = ? ORDER BY unit_id", (job_id,))
            return [read_unit(row) for row in rows]

    def list_dead(self, batch_id: str = "", *, limit: int = 1000) -> list[UnitEntry]:
        """Units that failed for good (the dead letters), of a batch or of all, by id."""
        query = "SELECT * FROM ledger_units WHERE state = 'failed'"
        if batch_id:
            query += " AND job_id IN (SELECT job_id FROM ledger_items WHERE batch_id = :batch_id)"
        with self._read() as db:
            rows = db.execute(
                f"{query} ORDER BY unit_id LIMIT :limit", {"batch_id": batch_id, "limit": limit}
            )
            return [read_unit(row) for row in rows]


def _find(db: sqlite3.Connection, unit_id: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM ledger_units WHERE unit_id = ?", (unit_id,)
    ).fetchone()
    return row


def _asking(db: sqlite3.Connection, job_id: str) -> tuple[str, ...]:
    """The batches that ask for a job, the oldest first."""
    rows = db.execute(
        "SELECT DISTINCT batch_id FROM ledger_items"
        " WHERE job_id = ? AND job_id <> '' AND state IN ('waiting', 'running') ORDER BY batch_id",
        (job_id,),
    )
    return tuple(batch_id for (batch_id,) in rows)


def _count(db: sqlite3.Connection, kind: str, amounts: Mapping[str, int]) -> None:
    db.executemany(
        "INSERT INTO ledger_totals VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET millionths = millionths + excluded.millionths",
        [(kind, name, millionths) for name, millionths in amounts.items()],
    )


def _is_held(row: sqlite3.Row | None, lease: Lease) -> bool:
    return row is not None and row["state"] == "running" and row["token"] == lease.token


def _hold(db: sqlite3.Connection, lease: Lease) -> sqlite3.Row:
    row = _find(db, lease.unit_id)
    if row is None or not _is_held(row, lease):
        raise lease_lost(lease)
    return row


def _stop(db: sqlite3.Connection, row: sqlite3.Row) -> None:
    """End an attempt as if it had not begun."""
    db.execute(
        "UPDATE ledger_units SET state = ?, attempts = attempts - 1, owner = '', expires_s = 0,"
        " progress_s = 0 WHERE number = ?",
        (_after(db, row), row["number"]),
    )


def _after(db: sqlite3.Connection, row: sqlite3.Row) -> UnitState:
    """Where a unit goes that may run again: nowhere when its job has ended meanwhile."""
    (state,) = db.execute("SELECT state FROM ledger_jobs WHERE job_id = ?", (row["job_id"],)).fetchone()
    return "waiting" if state == "running" else "cancelled"


def _end_attempt(
    db: sqlite3.Connection, row: sqlite3.Row, failure: UnitFailure, *, now: float, settle: bool = False
) -> UnitState:
    """End a running unit's attempt as failed: it waits again, or the job fails with it."""
    _count(db, row["kind"], count_failure(failure))
    for_good = failure.retry_after_s is None
    state: UnitState = "failed" if for_good else _after(db, row)
    db.execute(
        "UPDATE ledger_units SET state = ?, owner = ?, expires_s = 0, progress_s = 0, not_before_s = ?,"
        " settled_token = ?, seconds = seconds + ?, shrink = shrink + ?, error_class = ?, error = ?"
        " WHERE number = ?",
        (
            state,
            row["owner"] if for_good else "",
            now + (failure.retry_after_s or 0.0) if state == "waiting" else 0.0,
            row["token"] if settle else 0,
            failure.seconds,
            failure.error_class == "out of memory",
            failure.error_class,
            failure.error,
            row["number"],
        ),
    )
    (job_state,) = db.execute("SELECT state FROM ledger_jobs WHERE job_id = ?", (row["job_id"],)).fetchone()
    if for_good and job_state == "running":
        end_job(db, row["job_id"], "failed", error=failure.error, error_class=failure.error_class)
    return state
