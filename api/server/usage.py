"""What keys have used of their quotas, in a file of the service's home: a restart forgets nothing.

Only what has a quota is counted. Processes that share a home share the counts.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from tubelet.api.quotas import QUOTAS
from tubelet.api.server.exports import KEPT_S, list_exports
from tubelet.api.server.problems import Problem
from tubelet.errors import StoreError, TransientStoreError
from tubelet.orchestration.ledger.protocol import Ledger

if TYPE_CHECKING:
    from tubelet.api.server.auth import Caller

DAY_S = 24 * 3600
BLOCK_BYTES = 16 << 20
"""What an upload of unknown length asks for at a time."""

BUSY_S = 30.0
UPLOADED = "upload_gb"
_TABLES = """
CREATE TABLE IF NOT EXISTS used (
    key_id TEXT, day INTEGER, name TEXT, amount REAL NOT NULL, PRIMARY KEY (key_id, day, name)
);
CREATE TABLE IF NOT EXISTS batches (
    batch_id TEXT PRIMARY KEY, key_id TEXT NOT NULL, day INTEGER NOT NULL, counted REAL NOT NULL
);
"""


class Usage:
    """Counts by key and day."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.exporting = threading.Lock()
        """Held from looking how many exports there are until another one is begun."""

    def take(self, caller: Caller, name: str, amount: float, *, at_least: float | None = None) -> float:
        """Count what a caller is about to use, and give how much that is: `amount`, or what is left of it.

        Raises a Problem where less than `at_least` is left, which is all of the amount when it is not given.
        """
        limit = caller.quotas.get(name)
        if limit is None:
            return amount
        with self._writing() as file:
            used = _read(file, caller.key_id, name)
            if used + (amount if at_least is None else at_least) > limit:
                raise _refuse(name, limit, used, _seconds_left())
            taken = min(amount, limit - used)
            _add(file, caller.key_id, name, taken)
            return taken

    def give_back(self, caller: Caller, name: str, amount: float) -> None:
        """Uncount what was not used in the end."""
        if name in caller.quotas and amount:
            with self._writing() as file:
                _add(file, caller.key_id, name, -amount)

    def take_export(self, caller: Caller) -> None:
        """See whether a caller may keep one more export. Raises a Problem where not."""
        limit = caller.quotas.get("exports", math.inf)
        kept = [each for each in list_exports(caller.tenant) if each.key_id == caller.key_id]
        if len(kept) + 1 > limit:
            oldest_s = min((each.created_s for each in kept), default=time.time())
            raise _refuse("exports", limit, len(kept), oldest_s + KEPT_S - time.time())

    def note_batch(self, caller: Caller, batch_id: str, num_sources: int) -> None:
        """Remember a batch whose sources were counted, as how many videos they are is found later.

        A batch that is known already was submitted again: it counts once.
        """
        if "videos" not in caller.quotas:
            return
        with self._writing() as file:
            row = (batch_id, caller.key_id, _today(), num_sources)
            if not file.execute("INSERT OR IGNORE INTO batches VALUES (?, ?, ?, ?)", row).rowcount:
                _add(file, caller.key_id, "videos", -num_sources)

    def settle(self, caller: Caller, ledger: Ledger) -> None:
        """Count the videos that were found in the batches that a caller submitted today."""
        if "videos" not in caller.quotas:
            return
        with self._writing() as file:
            asked = (caller.key_id, _today())
            rows = file.execute("SELECT batch_id FROM batches WHERE key_id = ? AND day = ?", asked).fetchall()
        for (batch_id,) in rows:
            self.settle_batch(batch_id, ledger)

    def settle_batch(self, batch_id: str, ledger: Ledger) -> None:
        """Count the videos that were found in a batch, before it is forgotten above all."""
        if not self._path.exists():
            return
        found = ledger.count_items(batch_id).found
        with self._writing() as file:
            row = file.execute(
                "SELECT key_id, counted FROM batches WHERE batch_id = ? AND day = ?", (batch_id, _today())
            ).fetchone()
            if row is not None and found > row[1]:
                file.execute("UPDATE batches SET counted = ? WHERE batch_id = ?", (found, batch_id))
                _add(file, row[0], "videos", found - row[1])

    def tell(self, caller: Caller) -> list[dict[str, object]]:
        """Every quota of a caller, what is used of it, and when it begins anew."""
        told: list[dict[str, object]] = []
        for name, limit in caller.quotas.items():
            if name == "exports":
                used = float(sum(each.key_id == caller.key_id for each in list_exports(caller.tenant)))
            else:
                with self._writing() as file:
                    used = _read(file, caller.key_id, name)
            row: dict[str, object] = {"name": name, "about": QUOTAS[name], "limit": limit, "used": used}
            row["left"] = max(0.0, limit - used)
            row["resets_s"] = None if name == "exports" else _seconds_left()
            told.append(row)
        return told

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, before and after which others have theirs."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)) as file:
                file.executescript(_TABLES)
                file.execute("BEGIN IMMEDIATE")
                try:
                    yield file
                except BaseException:
                    file.execute("ROLLBACK")
                    raise
                for table in ("used", "batches"):
                    file.execute(f"DELETE FROM {table} WHERE day < ?", (_today() - 1,))
                file.execute("COMMIT")
        except sqlite3.Error as error:
            kind = TransientStoreError if isinstance(error, sqlite3.OperationalError) else StoreError
            raise kind(
                f"What keys have used cannot be counted: {error}",
                expected=f"{self._path} as the service wrote it",
                do="make room for it, or remove it",
            ) from error


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


def _read(file: sqlite3.Connection, key_id: str, name: str) -> float:
    asked = (key_id, _today(), name)
    row = file.execute("SELECT amount FROM used WHERE key_id = ? AND day = ? AND name = ?", asked).fetchone()
    return float(row[0]) if row else 0.0


def _add(file: sqlite3.Connection, key_id: str, name: str, amount: float) -> None:
    file.execute(
        "INSERT INTO used VALUES (?, ?, ?, ?) "
        "ON CONFLICT (key_id, day, name) DO UPDATE SET amount = MAX(0.0, amount + ?)",
        (key_id, _today(), name, max(0.0, amount), amount),
    )


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
