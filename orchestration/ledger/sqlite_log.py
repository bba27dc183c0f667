"""Progress and events in the SQLite ledger."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from tubelet.orchestration.ledger.records import Event, StageProgress, UnitKind
from tubelet.orchestration.ledger.sqlite_file import SqliteFile
from tubelet.orchestration.ledger.sqlite_rows import read_event
from tubelet.orchestration.ledger.totals import read_totals


class SqliteLog(SqliteFile):
    """The part of the ledger that is watched."""

    def measure_stages(self, batch_id: str = "") -> Mapping[UnitKind, StageProgress]:
        """Progress of each kind of unit, of a batch or of all. Running units count with their progress."""
        query = "SELECT kind, state, count(*), sum(span_s), sum(progress_s), sum(seconds) FROM ledger_units"
        if batch_id:
            query += " WHERE job_id IN (SELECT job_id FROM ledger_items WHERE batch_id = :batch_id)"
        stages: dict[UnitKind, dict[str, Any]] = {}
        with self._read() as db:
            rows = db.execute(f"{query} GROUP BY kind, state", {"batch_id": batch_id}).fetchall()
        for kind, state, num, span_s, progress_s, seconds in rows:
            stage = stages.setdefault(kind, {"span_s": 0.0, "span_done_s": 0.0, "seconds": 0.0})
            stage[state] = num
            stage["seconds"] += seconds
            if state not in ("failed", "cancelled"):
                stage["span_s"] += span_s
                stage["span_done_s"] += progress_s
        return {kind: StageProgress(**stage) for kind, stage in stages.items()}

    def measure_totals(self) -> Mapping[UnitKind, Mapping[str, float]]:
        """What all attempts came to that ended since the ledger began, by kind of unit and name."""
        with self._read() as db:
            return read_totals(map(tuple, db.execute("SELECT * FROM ledger_totals").fetchall()))

    def add_events(self, events: Sequence[Event]) -> None:
        """Append to the log. Events of a job belong to every batch that names it."""
        with self._write() as db:
            for event in events:
                number = db.execute(
                    "INSERT INTO ledger_events (time_s, level, text, batch_id, job_id, unit_id, fields)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        event.time_s,
                        event.level,
                        event.text,
                        event.batch_id,
                        event.job_id,
                        event.unit_id,
                        json.dumps(event.fields),
                    ),
                ).lastrowid
                db.executemany(
                    "INSERT INTO ledger_event_batches VALUES (?, ?)",
                    [(batch_id, number) for batch_id in _batches_of(db, event)],
                )

    def list_events(self, batch_id: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """The log of a batch in order; `after` (an event's number) gives what came later."""
        with self._read() as db:
            rows = db.execute(
                "SELECT e.* FROM ledger_event_batches b JOIN ledger_events e ON e.number = b.number"
                " WHERE b.batch_id = ? AND b.number > ? ORDER BY b.number LIMIT ?",
                (batch_id, after, limit),
            )
            return [read_event(row) for row in rows]


def _batches_of(db: sqlite3.Connection, event: Event) -> list[str]:
    """The batches that an event belongs to; the empty id for one that is no batch's."""
    rows = db.execute(
        "SELECT batch_id FROM ledger_batches WHERE batch_id = ?"
        " UNION SELECT batch_id FROM ledger_items WHERE job_id = ? AND job_id <> ''",
        (event.batch_id, event.job_id),
    ).fetchall()
    return [batch_id for (batch_id,) in rows] or [""]
