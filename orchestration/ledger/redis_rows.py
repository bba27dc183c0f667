"""Answers of the Redis ledger's script as records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tubelet.orchestration.ledger.records import (
    Batch,
    ErrorClass,
    Event,
    Item,
    Job,
    Lease,
    ReadyUnit,
    StageProgress,
    UnitEntry,
    UnitKind,
)

Flat = Sequence[str]
"""Names and values of a hash, one after the other."""


def read_hash(flat: Flat) -> dict[str, Any]:
    """A hash of texts."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def read_batch(flat: Flat) -> Batch:
    """A hash of `batch:B`."""
    row = read_hash(flat)
    return Batch(
        batch_id=row["batch_id"],
        name=row["name"],
        created_s=float(row["created_s"]),
        addresses=tuple(json.loads(row["addresses"])),
        options=row["options"],
        digest=row["digest"],
        priority=int(row["priority"]),
        idempotency_key=row["idempotency_key"],
        control=row["control"],
        listed=row["listed"] == "1",
        listing_error=row["listing_error"],
    )


def read_item(flat: Flat) -> Item:
    """A hash of `item:B\\nURI`."""
    row = read_hash(flat)
    return Item(
        batch_id=row["batch_id"],
        uri=row["uri"],
        identity=row["identity"],
        size_bytes=int(row["size_bytes"]),
        video_id=row["video_id"],
        state=row["state"],
        reason=row["reason"],
        error_class=_read_class(row),
        duration_s=float(row["duration_s"]),
        num_objects=int(row["num_objects"]),
        num_moments=int(row["num_moments"]),
        warnings=tuple(json.loads(row["warnings"])),
    )


def read_job(flat: Flat, options: str) -> Job:
    """A hash of `job:J`."""
    row = read_hash(flat)
    return Job(
        job_id=row["job_id"],
        video_id=row["video_id"],
        uri=row["uri"],
        identity=row["identity"],
        size_bytes=int(row["size_bytes"]),
        options=options,
        digest=row["digest"],
        state=row["state"],
        duration_s=float(row["duration_s"]),
        num_objects=int(row["num_objects"]),
        num_moments=int(row["num_moments"]),
        warnings=tuple(json.loads(row["warnings"])),
        error=row["error"],
        error_class=_read_class(row),
    )


def read_unit(flat: Flat) -> UnitEntry:
    """A hash of `unit:U`."""
    row = read_hash(flat)
    return UnitEntry(
        unit_id=row["unit_id"],
        kind=row["kind"],
        job_id=row["job_id"],
        state=row["state"],
        payload=row["payload"],
        attempts=int(row["attempts"]),
        num_blockers=int(row["num_blockers"]),
        not_before_s=float(row["not_before_s"]),
        owner=row["owner"],
        token=int(row["token"]),
        expires_s=float(row["expires_s"]),
        span_s=float(row["span_s"]),
        progress_s=float(row["progress_s"]),
        seconds=float(row["seconds"]),
        shrink=int(row["shrink"]),
        error_class=_read_class(row),
        error=row["error"],
        models=row["models"],
    )


def read_lease(flat: Flat, job: Job, batch_ids: Sequence[str]) -> Lease:
    """A hash of `unit:U` that runs."""
    unit = read_unit(flat)
    return Lease(
        unit_id=unit.unit_id,
        kind=unit.kind,
        job=job,
        payload=unit.payload,
        owner=unit.owner,
        token=unit.token,
        attempt=unit.attempts,
        expires_s=unit.expires_s,
        span_s=unit.span_s,
        shrink=unit.shrink,
        batch_ids=tuple(batch_ids),
    )


def read_ready(row: Sequence[str]) -> ReadyUnit:
    """A unit that was taken."""
    unit_id, kind, job_id, span_s, priority = row
    return ReadyUnit(unit_id, cast(UnitKind, kind), job_id, float(span_s), int(priority))


def read_stages(flat: Flat) -> Mapping[UnitKind, StageProgress]:
    """A hash of `stages`: units by kind and state; spans and work in microseconds."""
    stages: dict[UnitKind, dict[str, Any]] = {}
    for name, value in read_hash(flat).items():
        kind, _, what = name.partition(":")
        stage = stages.setdefault(cast(UnitKind, kind), {})
        if what in ("span", "span_done"):
            stage[f"{what}_s"] = int(value) / 1e6
        elif what == "seconds":
            stage[what] = int(value) / 1e6
        else:
            stage[what] = int(value)
    progress = {kind: StageProgress(**stage) for kind, stage in stages.items()}
    return {kind: stage for kind, stage in progress.items() if stage != StageProgress()}


def write_event(event: Event) -> str:
    """An event as JSON; `read_event` reads it after its number and a line break."""
    return json.dumps(
        [event.time_s, event.level, event.text, event.batch_id, event.job_id, event.unit_id, event.fields]
    )


def read_event(entry: str) -> Event:
    """A member of `events:B`."""
    number, _, event = entry.partition("\n")
    time_s, level, text, batch_id, job_id, unit_id, fields = json.loads(event)
    return Event(
        time_s,
        level,
        text,
        batch_id,
        job_id,
        unit_id,
        tuple((name, value) for name, value in fields),
        int(number),
    )


def _read_class(row: Mapping[str, str]) -> ErrorClass | None:
    return cast(ErrorClass, row["error_class"]) if row["error_class"] else None
