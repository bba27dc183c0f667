"""Batches and their items in the SQLite ledger."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence

from tubelet.orchestration.ledger.checks import (
    batch_not_ended,
    cancelled_batch,
    check_same_batch,
    unknown_batch,
)
from tubelet.orchestration.ledger.records import (
    Batch,
    Control,
    Item,
    ItemCounts,
    ItemState,
    Job,
    NewItem,
)
from tubelet.orchestration.ledger.sqlite_file import SqliteFile
from tubelet.orchestration.ledger.sqlite_jobs import (
    begin_job,
    cancel_units,
    get_job,
    rank_jobs,
    restart_job,
)
from tubelet.orchestration.ledger.sqlite_rows import JOB_COLUMNS, read_batch, read_item, read_job

_OPEN = "state IN ('waiting', 'running')"


class SqliteBatches(SqliteFile):
    """The part of the ledger that says what was asked for."""

    def create_batch(self, batch: Batch) -> Batch:
        """Take a batch in, or give the one that has its idempotency key (or its id) already."""
        with self._write(durable=True) as db:
            row = db.execute(
                "SELECT * FROM ledger_batches WHERE batch_id = ?"
                " OR (idempotency_key <> '' AND idempotency_key = ?)",
                (batch.batch_id, batch.idempotency_key),
            ).fetchone()
            if row is not None:
                held = read_batch(row)
                check_same_batch(held, batch)
                return held
            db.execute(
                "INSERT INTO ledger_batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    batch.batch_id,
                    batch.name,
                    batch.created_s,
                    json.dumps(batch.addresses),
                    batch.options,
                    batch.digest,
                    batch.priority,
                    batch.idempotency_key,
                    batch.control,
                    batch.listed,
                    batch.listing_error,
                ),
            )
        return batch

    def get_batch(self, batch_id: str) -> Batch | None:
        """The batch, or None."""
        with self._read() as db:
            return _find_batch(db, batch_id)

    def list_batches(self, *, limit: int = 100, before: str = "") -> list[Batch]:
        """The newest batches first; `before` (a batch id) gives the next page."""
        with self._read() as db:
            query, values = "SELECT * FROM ledger_batches", []
            if before:
                at = _need_batch(db, before)
                query += " WHERE (created_s, batch_id) < (?, ?)"
                values = [at.created_s, at.batch_id]
            query += " ORDER BY created_s DESC, batch_id DESC LIMIT ?"
            return [read_batch(row) for row in db.execute(query, (*values, limit))]

    def end_listing(self, batch_id: str, *, error: str = "") -> None:
        """Note that every address of a batch was expanded, or what stopped that."""
        with self._write(durable=True) as db:
            _need_batch(db, batch_id)
            db.execute(
                "UPDATE ledger_batches SET listed = ?, listing_error = ? WHERE batch_id = ?",
                (not error, error, batch_id),
            )

    def set_control(self, batch_id: str, control: Control) -> None:
        """Let a batch run, hold it, or cancel it. A cancelled batch stays cancelled."""
        with self._write(durable=True) as db:
            if _need_batch(db, batch_id).control in ("cancelled", control):
                return
            db.execute("UPDATE ledger_batches SET control = ? WHERE batch_id = ?", (control, batch_id))
            job_ids = _open_jobs(db, batch_id)
            if control == "cancelled":
                db.execute(
                    f"UPDATE ledger_items SET state = 'cancelled' WHERE batch_id = ? AND {_OPEN}", (batch_id,)
                )
                for job_id in job_ids:
                    if not _is_asked_for(db, job_id):
                        db.execute("UPDATE ledger_jobs SET state = 'cancelled' WHERE job_id = ?", (job_id,))
                        cancel_units(db, job_id, ("waiting", "running"))
            rank_jobs(db, job_ids)

    def delete_batch(self, batch_id: str) -> None:
        """Forget a batch that has ended, with its items and the jobs that no other batch names."""
        with self._write(durable=True) as db:
            batch = _find_batch(db, batch_id)
            if batch is None:
                return
            num_open = _count(db, batch_id).waiting
            if num_open or not (batch.listed or batch.listing_error or batch.control == "cancelled"):
                raise batch_not_ended(batch_id, num_open)
            jobs = db.execute(
                "SELECT DISTINCT job_id FROM ledger_items WHERE batch_id = ? AND job_id <> ''", (batch_id,)
            ).fetchall()
            db.execute("DELETE FROM ledger_items WHERE batch_id = ?", (batch_id,))
            db.execute("DELETE FROM ledger_batches WHERE batch_id = ?", (batch_id,))
            for table in ("ledger_units", "ledger_jobs"):
                db.executemany(
                    f"DELETE FROM {table} WHERE job_id = ? AND NOT EXISTS ("
                    f"SELECT 1 FROM ledger_items i WHERE i.job_id = {table}.job_id AND i.job_id <> '')",
                    [(job_id,) for (job_id,) in jobs],
                )
            numbers = db.execute(
                "DELETE FROM ledger_event_batches WHERE batch_id = ? RETURNING number", (batch_id,)
            ).fetchall()
            db.executemany(
                "DELETE FROM ledger_events WHERE number = ? AND NOT EXISTS ("
                "SELECT 1 FROM ledger_event_batches b WHERE b.number = ledger_events.number)",
                [(number,) for (number,) in numbers],
            )

    def add_items(self, batch_id: str, items: Sequence[NewItem]) -> None:
        """Add sources to a batch, each URI once however often it is added."""
        with self._write(durable=True) as db:
            batch = _need_batch(db, batch_id)
            asked_for = [job_id for item in items if (job_id := _add_item(db, batch, item))]
            rank_jobs(db, dict.fromkeys(asked_for))

    def list_items(
        self, batch_id: str, *, states: Collection[ItemState] = (), after: str = "", limit: int = 1000
    ) -> list[Item]:
        """Items by URI, those in `states` or all; `after` (a URI) gives the next page."""
        query, values = "SELECT * FROM ledger_items WHERE batch_id = ? AND uri > ?", [batch_id, after]
        if states:
            query += f" AND state IN ({', '.join('?' * len(states))})"
            values += states
        with self._read() as db:
            return [read_item(row) for row in db.execute(f"{query} ORDER BY uri LIMIT ?", (*values, limit))]

    def count_items(self, batch_id: str) -> ItemCounts:
        """Items of a batch by state."""
        with self._read() as db:
            return _count(db, batch_id)

    def get_jobs(self, job_ids: Collection[str]) -> Mapping[str, Job]:
        """Those of the jobs that are known."""
        with self._read() as db:
            rows = db.execute(
                f"SELECT {JOB_COLUMNS} FROM ledger_jobs j WHERE job_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(job_ids)),),
            )
            return {job.job_id: job for job in map(read_job, rows)}

    def retry(self, batch_id: str) -> int:
        """Let failed and cancelled items of a batch run again, from what is done; how many."""
        with self._write(durable=True) as db:
            if _need_batch(db, batch_id).control == "cancelled":
                raise cancelled_batch(batch_id)
            rows = db.execute(
                "SELECT uri, job_id FROM ledger_items"
                " WHERE batch_id = ? AND state IN ('failed', 'cancelled') AND job_id <> ''",
                (batch_id,),
            ).fetchall()
            for row in rows:
                job = get_job(db, row["job_id"])
                assert job is not None, "a job lives as long as an item names it"
                if job.state in ("failed", "cancelled"):
                    restart_job(db, job.job_id)
                db.execute(
                    "UPDATE ledger_items SET state = ?, reason = '', error_class = NULL,"
                    " (duration_s, num_objects, num_moments, warnings) = ("
                    "SELECT duration_s, num_objects, num_moments, warnings FROM ledger_jobs WHERE job_id = ?)"
                    " WHERE batch_id = ? AND uri = ?",
                    ("done" if job.state == "done" else "waiting", job.job_id, batch_id, row["uri"]),
                )
            rank_jobs(db, {row["job_id"] for row in rows})
        return len(rows)


def _find_batch(db: sqlite3.Connection, batch_id: str) -> Batch | None:
    row = db.execute("SELECT * FROM ledger_batches WHERE batch_id = ?", (batch_id,)).fetchone()
    return read_batch(row) if row else None


def _need_batch(db: sqlite3.Connection, batch_id: str) -> Batch:
    batch = _find_batch(db, batch_id)
    if batch is None:
        raise unknown_batch(batch_id)
    return batch


def _open_jobs(db: sqlite3.Connection, batch_id: str) -> list[str]:
    rows = db.execute(f"SELECT DISTINCT job_id FROM ledger_items WHERE batch_id = ? AND {_OPEN}", (batch_id,))
    return [job_id for (job_id,) in rows]


def _is_asked_for(db: sqlite3.Connection, job_id: str) -> bool:
    query = f"SELECT 1 FROM ledger_items WHERE job_id = ? AND job_id <> '' AND {_OPEN} LIMIT 1"
    return db.execute(query, (job_id,)).fetchone() is not None


def _count(db: sqlite3.Connection, batch_id: str) -> ItemCounts:
    num = dict(
        map(
            tuple,
            db.execute(
                "SELECT state, count(*) FROM ledger_items WHERE batch_id = ? GROUP BY state", (batch_id,)
            ),
        )
    )
    return ItemCounts(
        found=sum(num.values()),
        skipped=num.get("skipped", 0),
        done=num.get("done", 0),
        failed=num.get("failed", 0),
        cancelled=num.get("cancelled", 0),
        waiting=num.get("waiting", 0) + num.get("running", 0),
        running=num.get("running", 0),
    )


def _add_item(db: sqlite3.Connection, batch: Batch, item: NewItem) -> str:
    """Add an item, unless its URI is there already; the id of the job that it asks for, if any."""
    state: ItemState = item.state
    if state == "waiting" and batch.control == "cancelled":
        state = "cancelled"
    job_id = ""
    if state == "waiting":
        assert item.video_id, "an item that waits was identified"
        job_id = f"{item.video_id}.{batch.digest}"
    # a source that failed before it had a job may be listed again
    added = db.execute(
        "INSERT INTO ledger_items VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, 0, 0, 0, '[]')"
        " ON CONFLICT DO UPDATE SET identity = excluded.identity, size_bytes = excluded.size_bytes,"
        " video_id = excluded.video_id, job_id = excluded.job_id, state = excluded.state,"
        " reason = excluded.reason"
        " WHERE ledger_items.state = 'failed' AND ledger_items.job_id = ''",
        (
            batch.batch_id,
            item.uri,
            item.identity,
            item.size_bytes,
            item.video_id,
            job_id,
            state,
            item.reason,
        ),
    )
    if not added.rowcount or not job_id:
        return ""
    row = db.execute("SELECT state, duration_s FROM ledger_jobs WHERE job_id = ?", (job_id,)).fetchone()
    if row is None or row["state"] != "running":
        begin_job(db, job_id, item, batch)
    else:
        db.execute(
            "UPDATE ledger_items SET duration_s = ? WHERE batch_id = ? AND uri = ?",
            (row["duration_s"], batch.batch_id, item.uri),
        )
    return job_id
