"""What keys have used of their quotas: only what has a quota is counted. A restart forgets nothing."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread
from filelock import FileLock

from tubelet.api.quotas import QUOTAS
from tubelet.api.server.exports import KEPT_S, list_exports
from tubelet.api.server.opening import Opened
from tubelet.api.server.problems import Problem
from tubelet.api.server.usage_counts import Counts
from tubelet.orchestration.ledger.protocol import Ledger

if TYPE_CHECKING:
    from tubelet.api.server.auth import Caller

DAY_S = 24 * 3600
BLOCK_BYTES = 16 << 20
"""What an upload of unknown length asks for at a time."""

LOCK_S = 30.0
UPLOADED = "upload_gb"


class Usage:
    """What callers use, counted where `counts` says."""

    def __init__(self, counts: Opened[Counts]) -> None:
        self._counts = counts
        self._settled: set[str] = set()
        """Batches of today, of which nothing more can be found."""

        self._settled_day = 0

    def take(self, caller: Caller, name: str, amount: float, *, at_least: float | None = None) -> float:
        """Count what a caller is about to use, and give how much that is: `amount`, or what is left of it.

        Raises a Problem where less than `at_least` is left, which is all of the amount when it is not given.
        """
        limit = caller.quotas.get(name)
        if limit is None:
            return amount
        least = amount if at_least is None else at_least
        used, taken = self._counts.get().take(
            caller.key_id, _today(), name, amount, at_least=least, limit=limit
        )
        if taken is None:
            raise _refuse(name, limit, used, _seconds_left())
        return taken

    def give_back(self, caller: Caller, name: str, amount: float) -> None:
        """Uncount what was not used in the end."""
        if name in caller.quotas and amount:
            self._counts.get().give_back(caller.key_id, _today(), name, amount)

    @contextmanager
    def exporting(self, caller: Caller) -> Iterator[None]:
        """Let one export of a caller be begun at a time. Raises a Problem where no more may be kept."""
        limit = caller.quotas.get("exports")
        if limit is None:
            yield
            return
        folder = caller.tenant.folder
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".exporting.lock", timeout=LOCK_S):
            kept = [each for each in list_exports(caller.tenant) if each.key_id == caller.key_id]
            if len(kept) + 1 > limit:
                oldest_s = min((each.created_s for each in kept), default=time.time())
                raise _refuse("exports", limit, len(kept), oldest_s + KEPT_S - time.time())
            yield

    def note_batch(self, caller: Caller, batch_id: str, num_sources: int) -> None:
        """Remember a batch whose sources were counted, as how many videos they are is found later.

        A batch that is known already was submitted again: it counts once.
        """
        if "videos" in caller.quotas:
            is_new = self._counts.get().note_batch(batch_id, caller.key_id, _today(), num_sources)
            if not is_new:
                self.give_back(caller, "videos", num_sources)

    def settle(self, caller: Caller, ledger: Ledger) -> None:
        """Count the videos that were found in the batches that a caller submitted today."""
        if "videos" in caller.quotas:
            for batch_id in self._counts.get().list_batches(caller.key_id, _today()):
                self.settle_batch(batch_id, ledger)

    def settle_batch(self, batch_id: str, ledger: Ledger) -> None:
        """Count the videos that were found in a batch, before it is forgotten above all."""
        day = _today()
        if self._settled_day != day:
            self._settled, self._settled_day = set(), day
        if batch_id in self._settled:
            return
        batch = ledger.get_batch(batch_id)  # before its sources are counted: no more come once it is listed
        self._counts.get().settle_batch(batch_id, day, ledger.count_items(batch_id).found)
        if batch is None or batch.listed:
            self._settled.add(batch_id)

    def tell(self, caller: Caller) -> list[dict[str, object]]:
        """Every quota of a caller, what is used of it, and when it begins anew."""
        told: list[dict[str, object]] = []
        for name, limit in caller.quotas.items():
            if name == "exports":
                used = float(sum(each.key_id == caller.key_id for each in list_exports(caller.tenant)))
            else:
                used = self._counts.get().read(caller.key_id, _today(), name)
            row: dict[str, object] = {"name": name, "about": QUOTAS[name], "limit": limit, "used": used}
            row["left"] = max(0.0, limit - used)
            row["resets_s"] = None if name == "exports" else _seconds_left()
            told.append(row)
        return told

    def close(self) -> None:
        """Give up connections."""
        self._counts.close()


class UploadMeter:
    """Counts the bytes of one upload against its caller's quota while they come."""

    def __init__(self, usage: Usage, caller: Caller) -> None:
        self._usage = usage
        self._caller = caller
        self._held = 0
        self._size = 0

    async def count(self, chunks: AsyncIterator[bytes], *, announced: int) -> AsyncIterator[bytes]:
        """The bytes themselves. Raises a Problem as soon as they, or what is announced, are too many."""
        await self._hold(announced, announced)
        async for chunk in chunks:
            self._size += len(chunk)
            if self._size > self._held:
                more = self._size - self._held
                await self._hold(max(BLOCK_BYTES, more), more)
            yield chunk

    async def end(self, *, is_kept: bool) -> None:
        """Give back what was not sent, or all of an upload that is not kept."""
        surplus = self._held - (self._size if is_kept else 0)
        await anyio.to_thread.run_sync(self._usage.give_back, self._caller, UPLOADED, surplus / 1e9)

    async def _hold(self, num_bytes: int, at_least: int) -> None:
        take = partial(self._usage.take, self._caller, UPLOADED, num_bytes / 1e9, at_least=at_least / 1e9)
        self._held += round(1e9 * await anyio.to_thread.run_sync(take))


def _refuse(name: str, limit: float, used: float, wait_s: float) -> Problem:
    return Problem(
        "quota-exceeded",
        f"The key has used {used:g} of {limit:g} {QUOTAS[name]}",
        expected="no more than is left (GET /v1/usage)",
        do="remove some of them" if name == "exports" else "ask for less, or wait for the next day (UTC)",
        headers={"Retry-After": str(max(1, math.ceil(wait_s)))},
    )


def _today() -> int:
    return int(time.time()) // DAY_S


def _seconds_left() -> float:
    return DAY_S - time.time() % DAY_S
