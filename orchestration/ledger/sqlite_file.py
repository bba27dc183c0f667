"""The file of the SQLite ledger: its tables, its version, its connections and transactions."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tubelet.errors import StoreError, TubeletError

VERSION = 1
BUSY_S = 60.0

_TABLES = """
CREATE TABLE ledger_batches (
    batch_id TEXT PRIMARY KEY, name TEXT NOT NULL, created_s REAL NOT NULL, addresses TEXT NOT NULL,
    options TEXT NOT NULL, digest TEXT NOT NULL, priority INTEGER NOT NULL, idempotency_key TEXT NOT NULL,
    control TEXT NOT NULL, listed INTEGER NOT NULL, listing_error TEXT NOT NULL
);
CREATE UNIQUE INDEX ledger_batches_key ON ledger_batches(idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX ledger_batches_created ON ledger_batches(created_s, batch_id);
CREATE TABLE ledger_items (
    batch_id TEXT NOT NULL, uri TEXT NOT NULL, identity TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    video_id TEXT NOT NULL, job_id TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, error_class TEXT,
    duration_s REAL NOT NULL, num_objects INTEGER NOT NULL, num_moments INTEGER NOT NULL,
    warnings TEXT NOT NULL, PRIMARY KEY (batch_id, uri)
);
CREATE INDEX ledger_items_state ON ledger_items(batch_id, state, uri);
CREATE INDEX ledger_items_of_batch ON ledger_items(batch_id, job_id, state);
CREATE INDEX ledger_items_of_job ON ledger_items(job_id, state, batch_id) WHERE job_id <> '';
CREATE TABLE ledger_options (options_id INTEGER PRIMARY KEY, options TEXT NOT NULL UNIQUE);
CREATE TABLE ledger_jobs (
    job_id TEXT PRIMARY KEY, video_id TEXT NOT NULL, uri TEXT NOT NULL, identity TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, options_id INTEGER NOT NULL, digest TEXT NOT NULL, state TEXT NOT NULL,
    duration_s REAL NOT NULL, num_objects INTEGER NOT NULL, num_moments INTEGER NOT NULL,
    warnings TEXT NOT NULL, error TEXT NOT NULL, error_class TEXT
);
CREATE TABLE ledger_units (
    number INTEGER PRIMARY KEY AUTOINCREMENT, unit_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    job_id TEXT NOT NULL, priority INTEGER, state TEXT NOT NULL, payload TEXT NOT NULL,
    num_blockers INTEGER NOT NULL, unblocks TEXT NOT NULL, span_s REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, not_before_s REAL NOT NULL DEFAULT 0, taken_s REAL,
    owner TEXT NOT NULL DEFAULT '', token INTEGER NOT NULL DEFAULT 0,
    settled_token INTEGER NOT NULL DEFAULT 0, expires_s REAL NOT NULL DEFAULT 0,
    progress_s REAL NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0,
    shrink INTEGER NOT NULL DEFAULT 0, error_class TEXT, error TEXT NOT NULL DEFAULT '',
    models TEXT NOT NULL DEFAULT ''
);
CREATE INDEX ledger_units_of_job ON ledger_units(job_id);
CREATE INDEX ledger_units_ready ON ledger_units(priority DESC, number)
    WHERE state = 'waiting' AND num_blockers = 0 AND priority IS NOT NULL;
CREATE INDEX ledger_units_running ON ledger_units(expires_s) WHERE state = 'running';
CREATE INDEX ledger_units_dead ON ledger_units(unit_id) WHERE state = 'failed';
CREATE TABLE ledger_token (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), last INTEGER NOT NULL);
INSERT INTO ledger_token VALUES (1, 0);
CREATE TABLE ledger_events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time_s REAL NOT NULL, level TEXT NOT NULL, text TEXT NOT NULL,
    batch_id TEXT NOT NULL, job_id TEXT NOT NULL, unit_id TEXT NOT NULL, fields TEXT NOT NULL
);
CREATE TABLE ledger_event_batches (
    batch_id TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (batch_id, number)
) WITHOUT ROWID;
CREATE INDEX ledger_event_batches_number ON ledger_event_batches(number);
"""

_TOTALS = """
CREATE TABLE IF NOT EXISTS ledger_totals (
    kind TEXT NOT NULL, name TEXT NOT NULL, millionths INTEGER NOT NULL, PRIMARY KEY (kind, name)
) WITHOUT ROWID
"""

# connections that a fork copied from its parent: closing them would touch the parent's file locks
_of_parents: list[sqlite3.Connection] = []


class SqliteFile:
    """One file in WAL mode that any number of threads and processes hold open.

    A connection serves one transaction at a time and then the next thread; a forked process opens its own.
    """

    def __init__(
        self, path: str | Path, *, now: Callable[[], float] = time.time, busy_s: float = BUSY_S
    ) -> None:
        self._path = Path(path)
        self._now = now
        self._busy_s = busy_s
        self._lock = threading.Lock()
        self._free: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The folder of the ledger {self._path} cannot be made: {error}", do="choose another home"
            ) from error
        self._prepare()

    def close(self) -> None:
        """Give up connections. Whoever uses the ledger again opens new ones."""
        with self._lock:
            free, self._free = self._free, []
            if self._pid != os.getpid():
                _of_parents.extend(free)
                return
        for connection in free:
            connection.close()

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the file and changes nothing."""
        with self._transaction("BEGIN") as db:
            yield db

    @contextmanager
    def _write(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer overlaps; `durable` ones survive a power cut at once."""
        with self._transaction("BEGIN IMMEDIATE", durable=durable) as db:
            yield db

    @contextmanager
    def _transaction(self, begin: str, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._take()
            try:
                connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error:
                connection.close()
                raise
            except BaseException:
                connection.execute("ROLLBACK")
                self._put(connection)
                raise
        except sqlite3.Error as error:
            raise self._explain(error) from error
        self._put(connection)

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._pid != os.getpid():
                _of_parents.extend(self._free)
                self._free, self._pid = [], os.getpid()
            if self._free:
                return self._free.pop()
        return self._open()

    def _put(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            self._free.append(connection)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._busy_s, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        return connection

    def _prepare(self) -> None:
        """Turn WAL on and make the tables, whoever else does the same at this moment."""
        try:
            connection = self._open()
            try:
                if not self._has_version(connection):
                    self._turn_wal_on(connection)
                    connection.execute("BEGIN IMMEDIATE")
                    if not self._has_version(connection):
                        for statement in _TABLES.split(";\n"):
                            connection.execute(statement)
                        connection.execute(f"PRAGMA user_version={VERSION}")
                    connection.execute("COMMIT")
                connection.execute(_TOTALS)  # files of this version that were made earlier have none
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _has_version(self, connection: sqlite3.Connection) -> bool:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise StoreError(
                f"The ledger {self._path} is of version {version}",
                expected=f"version {VERSION}",
                do="use the release of Tubelet that wrote it, or move the file away to begin a new ledger",
            )
        return bool(version)

    def _turn_wal_on(self, connection: sqlite3.Connection) -> None:
        """Switch the journal; SQLite does not wait for other connections here, so we do."""
        give_up = time.monotonic() + self._busy_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                if time.monotonic() > give_up:
                    raise
            time.sleep(0.01)

    def _explain(self, error: sqlite3.Error) -> TubeletError:
        what = f"The ledger {self._path} cannot be used: {error}"
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreError(what, do=f"find the process that held it for more than {self._busy_s:g} s")
        if code == sqlite3.SQLITE_FULL:
            return StoreError(what, do="make room on the disk and run the command again; nothing is lost")
        if code == sqlite3.SQLITE_NOTADB:
            return StoreError(what, expected="an SQLite file", do="move the file away to begin a new ledger")
        return StoreError(what, do="check that the folder may be written and lies on a local disk")
