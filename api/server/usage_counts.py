"""Where the counts of quotas lie: on the Redis server of a shared ledger, else in a file of the home.

Every method is one step, whoever else counts at this moment, in this process or another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from tubelet.errors import StoreError, TransientStoreError
from tubelet.orchestration.ledger.opening import is_local_ledger
from tubelet.settings import Settings


class Counts(Protocol):
    """Amounts by key, day and name, and the batches of a key and day. They are kept for two days."""

    def read(self, key_id: str, day: int, name: str) -> float:
        """How much is counted."""

    def take(
        self, key_id: str, day: int, name: str, amount: float, *, at_least: float, limit: float
    ) -> tuple[float, float | None]:
        """Count an amount, or what the limit leaves of it; how much was counted before, and is now.

        Nothing (None) is where less than `at_least` is left.
        """

    def give_back(self, key_id: str, day: int, name: str, amount: float) -> None:
        """Uncount an amount; never below nothing."""

    def note_batch(self, batch_id: str, key_id: str, day: int, counted: float) -> bool:
        """Remember a batch whose sources were counted as videos; False where it is known already."""

    def list_batches(self, key_id: str, day: int) -> list[str]:
        """The batches that were noted."""

    def settle_batch(self, batch_id: str, day: int, found: float) -> None:
        """Count what was found in a batch of that day beyond what is counted of it."""

    def close(self) -> None:
        """Give up connections."""


def open_counts(settings: Settings) -> Counts:
    """The counts of a service with these settings. Raises StoreError where they cannot be had now."""
    if is_local_ledger(settings.ledger_location):
        return FileCounts(settings.home / "api" / "usage.sqlite")
    from tubelet.api.server.usage_redis import RedisCounts

    return RedisCounts(settings.ledger_location)


BUSY_S = 30.0
_TABLES = """
CREATE TABLE IF NOT EXISTS used (
    key_id TEXT, day INTEGER, name TEXT, amount REAL NOT NULL, PRIMARY KEY (key_id, day, name)
);
CREATE TABLE IF NOT EXISTS batches (
    batch_id TEXT PRIMARY KEY, key_id TEXT NOT NULL, day INTEGER NOT NULL, counted REAL NOT NULL
);
"""


class FileCounts:
    """Counts in an SQLite file, for the processes that share a home."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_made = False
        self._cleared_day = 0

    def read(self, key_id: str, day: int, name: str) -> float:
        """How much is counted."""
        with self._opened() as file:
            return _read(file, key_id, day, name)

    def take(
        self, key_id: str, day: int, name: str, amount: float, *, at_least: float, limit: float
    ) -> tuple[float, float | None]:
        """Count an amount, or what the limit leaves of it; how much was counted before, and is now."""
        with self._writing(day) as file:
            used = _read(file, key_id, day, name)
            if used + at_least > limit:
                return used, None
            taken = min(amount, limit - used)
            _add(file, key_id, day, name, taken)
            return used, taken

    def give_back(self, key_id: str, day: int, name: str, amount: float) -> None:
        """Uncount an amount; never below nothing."""
        with self._writing(day) as file:
            _add(file, key_id, day, name, -amount)

    def note_batch(self, batch_id: str, key_id: str, day: int, counted: float) -> bool:
        """Remember a batch whose sources were counted as videos; False where it is known already."""
        with self._writing(day) as file:
            row = (batch_id, key_id, day, counted)
            return bool(file.execute("INSERT OR IGNORE INTO batches VALUES (?, ?, ?, ?)", row).rowcount)

    def list_batches(self, key_id: str, day: int) -> list[str]:
        """The batches that were noted."""
        with self._opened() as file:
            asked = "SELECT batch_id FROM batches WHERE key_id = ? AND day = ? ORDER BY rowid"
            return [str(row[0]) for row in file.execute(asked, (key_id, day))]

    def settle_batch(self, batch_id: str, day: int, found: float) -> None:
        """Count what was found in a batch of that day beyond what is counted of it."""
        if not self._path.exists():
            return
        with self._writing(day) as file:
            asked = "SELECT key_id, counted FROM batches WHERE batch_id = ? AND day = ?"
            row = file.execute(asked, (batch_id, day)).fetchone()
            if row is not None and found > row[1]:
                file.execute("UPDATE batches SET counted = ? WHERE batch_id = ?", (found, batch_id))
                _add(file, row[0], day, "videos", found - row[1])

    def close(self) -> None:
        """Give up connections: each step has one of its own."""

    @contextmanager
    def _writing(self, day: int) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer overlaps. The first of a day clears what is old."""
        with self._opened() as file:
            file.execute("BEGIN IMMEDIATE")
            try:
                yield file
                if self._cleared_day != day:
                    for table in ("used", "batches"):
                        file.execute(f"DELETE FROM {table} WHERE day < ?", (day - 1,))
            except BaseException:
                file.execute("ROLLBACK")
                raise
            file.execute("COMMIT")
            self._cleared_day = day

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            is_new = not self._is_made or not self._path.exists()
            if is_new:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)) as file:
                if is_new:
                    file.executescript(_TABLES)
                    self._is_made = True
                yield file
        except sqlite3.Error as error:
            kind = TransientStoreError if isinstance(error, sqlite3.OperationalError) else StoreError
            raise kind(
                f"What keys have used cannot be counted: {error}",
                expected=f"{self._path} as the service wrote it",
                do="make room for it, or remove it",
            ) from error


def _read(file: sqlite3.Connection, key_id: str, day: int, name: str) -> float:
    asked = "SELECT amount FROM used WHERE key_id = ? AND day = ? AND name = ?"
    row = file.execute(asked, (key_id, day, name)).fetchone()
    return float(row[0]) if row else 0.0


def _add(file: sqlite3.Connection, key_id: str, day: int, name: str, amount: float) -> None:
    file.execute(
        "INSERT INTO used VALUES (?, ?, ?, ?) "
        "ON CONFLICT (key_id, day, name) DO UPDATE SET amount = MAX(0.0, amount + ?)",
        (key_id, day, name, max(0.0, amount), amount),
    )
