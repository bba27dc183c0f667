"""Logs that say which batch, video, chunk and request a line belongs to, as JSON lines where that is set.

The ids lie in a context variable: whatever is logged while a unit runs, by whichever library, carries them.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from tubelet.orchestration.ledger.records import Lease
from tubelet.settings import Settings

_ids: ContextVar[Mapping[str, Any]] = ContextVar("tubelet_ids", default={})  # noqa: B039 (never changed)

ATTRIBUTE = "tubelet_ids"
"""Where a record keeps its ids."""


@contextmanager
def log_ids(**ids: Any) -> Iterator[None]:
    """Whatever is logged inside carries these ids too, those that are not empty."""
    token = _ids.set({**_ids.get(), **{name: value for name, value in ids.items() if value}})
    try:
        yield
    finally:
        _ids.reset(token)


def name_ids(lease: Lease) -> dict[str, Any]:
    """The ids of a unit that runs. A video that several batches ask for has them all in `batches`."""
    kind, _, number = lease.unit_id.partition(f":{lease.job.job_id}:")
    return {
        "batch": lease.batch_ids[0] if lease.batch_ids else "",
        "batches": lease.batch_ids if len(lease.batch_ids) > 1 else (),
        "video": lease.job.video_id,
        "unit": lease.unit_id,
        "chunk": number if kind == "chunk" else "",
        "attempt": lease.attempt,
        "worker": lease.owner,
    }


class IdFilter(logging.Filter):
    """Notes on every record the ids that were in force where it was made."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record pass."""
        if not hasattr(record, ATTRIBUTE):
            setattr(record, ATTRIBUTE, _ids.get())
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a record, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, ATTRIBUTE, {}),
            "pid": record.process,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logging(settings: Settings, *, level: int | None = None) -> None:
    """Have all that this process logs go to standard error as JSON lines, if the settings say so.

    `level` goes before the settings' own.
    """
    if settings.log_format != "json":
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(IdFilter())
    logging.basicConfig(
        level=settings.log_level.upper() if level is None else level, handlers=[handler], force=True
    )
    logging.captureWarnings(True)
