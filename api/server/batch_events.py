"""Progress of batches for many listeners: each batch is asked for once a second, however many listen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import anyio.to_thread

from tubelet.api.batch_json import progress_to_json
from tubelet.api.server.tenants import Tenant
from tubelet.errors import StoreError
from tubelet.orchestration.progress import ENDED, measure_batch

log = logging.getLogger(__name__)

LOOK_S = 1.0

Told = tuple[str, dict[str, Any]]
"""An event's name, `progress`, `ended`, `gone` or `unavailable`, and what it says."""


class _Watched:
    """One batch that somebody listens to."""

    def __init__(self) -> None:
        self.changed = asyncio.Condition()
        self.told: Told | None = None
        self.number = 0
        self.listeners = 0
        self.task: asyncio.Task[None] | None = None

    async def wait_after(self, number: int) -> None:
        """Wait for what comes after a number; the condition is held."""
        await self.changed.wait_for(lambda: self.number > number)


class BatchWatch:
    """Gives every listener of a batch what is new of it."""

    def __init__(self) -> None:
        self._watched: dict[tuple[str, str], _Watched] = {}

    @property
    def num_listeners(self) -> int:
        """How many listen now."""
        return sum(watched.listeners for watched in self._watched.values())

    async def listen(
        self, tenant: Tenant, batch_id: str, *, keep_alive_s: float
    ) -> AsyncGenerator[tuple[int, Told | None], None]:
        """What is told of a batch, the newest first of all, until it has ended or is gone.

        None where nothing new was told for `keep_alive_s`.
        """
        key = (tenant.name, batch_id)
        watched = self._watched.setdefault(key, _Watched())
        watched.listeners += 1
        try:
            if watched.task is None:
                watched.task = asyncio.create_task(self._look(watched, tenant, batch_id))
            seen = 0
            while True:
                try:
                    async with watched.changed:
                        await asyncio.wait_for(watched.wait_after(seen), keep_alive_s)
                        told, seen = watched.told, watched.number
                except TimeoutError:
                    yield seen, None
                    continue
                assert told is not None, "a number comes with what is told"
                yield seen, told
                if told[0] in ("ended", "gone"):
                    return
        finally:
            watched.listeners -= 1
            if not watched.listeners and self._watched.get(key) is watched:
                del self._watched[key]
                if watched.task is not None:
                    watched.task.cancel()
                    with suppress(asyncio.CancelledError):
                        await watched.task

    async def _look(self, watched: _Watched, tenant: Tenant, batch_id: str) -> None:
        while True:
            told = await anyio.to_thread.run_sync(_measure, tenant, batch_id)
            if told != watched.told:
                async with watched.changed:
                    watched.told, watched.number = told, watched.number + 1
                    watched.changed.notify_all()
            if told[0] in ("ended", "gone"):
                return
            await asyncio.sleep(LOOK_S)


def _measure(tenant: Tenant, batch_id: str) -> Told:
    try:
        batch = tenant.ledger.get_batch(batch_id)
        if batch is None:
            return "gone", {"batch_id": batch_id}
        progress = measure_batch(batch, tenant.ledger)
    except StoreError:
        return "unavailable", {"batch_id": batch_id}
    except Exception:
        log.exception("The progress of %s cannot be told", batch_id)
        return "unavailable", {"batch_id": batch_id}
    return ("ended" if progress.state in ENDED else "progress"), progress_to_json(progress)
