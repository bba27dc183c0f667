"""Rows of the SQLite ledger as records."""

from __future__ import annotations

import json
import sqlite3

from tubelet.orchestration.ledger.records import Batch, Event, Item, Job, Lease, ReadyUnit, UnitEntry

JOB_COLUMNS = "j.*, (SELECT o.options FROM ledger_options o WHERE o.options_id = j.options_id) AS options"


def read_batch(row: sqlite3.Row) -> Batch:
    """A row of `ledger_batches`."""
    return Batch(
        batch_id=row["batch_id"],
        name=row["name"],
        created_s=row["created_s"],
        addresses=tuple(json.loads(row["addresses"])),
        options=row["options"],
        digest=row["digest"],
        priority=row["priority"],
        idempotency_key=row["idempotency_key"],
        control=row["control"],
        listed=bool(row["listed"]),
        listing_error=row["listing_error"],
    )


def read_item(row: sqlite3.Row) -> Item:
    """A row of `ledger_items`."""
    return Item(
        batch_id=row["batch_id"],
        uri=row["uri"],
        identity=row["identity"],
        size_bytes=row["size_bytes"],
        video_id=row["video_id"],
        state=row["state"],
        reason=row["reason"],
        error_class=row["error_class"],
        duration_s=row["duration_s"],
        num_objects=row["num_objects"],
        num_moments=row["num_moments"],
        warnings=tuple(json.loads(row["warnings"])),
    )


def read_job(row: sqlite3.Row) -> Job:
    """A row of `JOB_COLUMNS` of `ledger_jobs j`."""
    return Job(
        job_id=row["job_id"],
        video_id=row["video_id"],
        uri=row["uri"],
        identity=row["identity"],
        size_bytes=row["size_bytes"],
        options=row["options"],
        digest=row["digest"],
        state=row["state"],
        duration_s=row["duration_s"],
        num_objects=row["num_objects"],
        num_moments=row["num_moments"],
        warnings=tuple(json.loads(row["warnings"])),
        error=row["error"],
        error_class=row["error_class"],
    )


def read_unit(row: sqlite3.Row) -> UnitEntry:
    """A row of `ledger_units`."""
    return UnitEntry(
        unit_id=row["unit_id"],
        kind=row["kind"],
        job_id=row["job_id"],
        state=row["state"],
        payload=row["payload"],
        attempts=row["attempts"],
        num_blockers=row["num_blockers"],
        not_before_s=row["not_before_s"],
        owner=row["owner"],
        token=row["token"],
        expires_s=row["expires_s"],
        span_s=row["span_s"],
        progress_s=row["progress_s"],
        seconds=row["seconds"],
        shrink=row["shrink"],
        error_class=row["error_class"],
        error=row["error"],
        models=row["models"],
    )


def read_ready(row: sqlite3.Row) -> ReadyUnit:
    """A row of `ledger_units` that may run."""
    return ReadyUnit(row["unit_id"], row["kind"], row["job_id"], row["span_s"], row["priority"])


def read_lease(row: sqlite3.Row, job: Job, batch_ids: tuple[str, ...]) -> Lease:
    """A row of `ledger_units` that runs."""
    return Lease(
        unit_id=row["unit_id"],
        kind=row["kind"],
        job=job,
        payload=row["payload"],
        owner=row["owner"],
        token=row["token"],
        attempt=row["attempts"],
        expires_s=float(row["expires_s"]),
        span_s=float(row["span_s"]),  # RETURNING gives whole numbers as integers
        shrink=row["shrink"],
        batch_ids=batch_ids,
    )


def read_event(row: sqlite3.Row) -> Event:
    """A row of `ledger_events`."""
    return Event(
        time_s=row["time_s"],
        level=row["level"],
        text=row["text"],
        batch_id=row["batch_id"],
        job_id=row["job_id"],
        unit_id=row["unit_id"],
        fields=tuple((name, value) for name, value in json.loads(row["fields"])),
        number=row["number"],
    )
