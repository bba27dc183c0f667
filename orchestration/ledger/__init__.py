"""What has been done: one row a video and one a unit, in a SQLite file.

The ledger remembers; it does not decide. A chunk is done when its result lies in the work store, a video
when the index holds it, and both are checked there. So a ledger that is behind costs work, never rows.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

State = Literal["planned", "done", "failed"]

_TABLES = """
CREATE TABLE IF NOT EXISTS videos (
    video_id TEXT PRIMARY KEY, uri TEXT NOT NULL, options TEXT NOT NULL, state TEXT NOT NULL,
    num_chunks INTEGER NOT NULL, num_objects INTEGER NOT NULL, error TEXT NOT NULL, updated REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS units (
    unit_id TEXT PRIMARY KEY, video_id TEXT NOT NULL, attempts INTEGER NOT NULL, state TEXT NOT NULL,
    seconds REAL NOT NULL, error TEXT NOT NULL, updated REAL NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """What the ledger says of one video. `options` is `Settings.options_digest` of the run that made it."""

    video_id: str
    uri: str
    options: str
    state: State
    num_chunks: int = 0
    num_objects: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class UnitEntry:
    """What the ledger says of one unit of work."""

    unit_id: str
    video_id: str
    attempts: int
    state: State
    seconds: float = 0.0
    error: str = ""


class Ledger(Protocol):
    """Which videos and units are done, failed or planned."""

    def get_video(self, video_id: str) -> VideoEntry | None:
        """The entry of a video, or None."""

    def put_video(self, entry: VideoEntry) -> None:
        """Insert or replace the entry of a video."""

    def list_videos(self) -> list[VideoEntry]:
        """All entries, by URI."""

    def put_unit(self, entry: UnitEntry) -> None:
        """Insert or replace the entry of a unit."""

    def list_units(self, video_id: str) -> list[UnitEntry]:
        """All units of a video."""


class SqliteLedger:
    """The ledger in one file; any number of processes may hold it open."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._connect() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_TABLES)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=60)) as connection, connection:
            yield connection

    def get_video(self, video_id: str) -> VideoEntry | None:
        """The entry of a video, or None."""
        with self._connect() as connection:
            row = connection.execute(
                "SELECT video_id, uri, options, state, num_chunks, num_objects, error FROM videos"
                " WHERE video_id = ?",
                (video_id,),
            ).fetchone()
        return VideoEntry(*row) if row else None

    def put_video(self, entry: VideoEntry) -> None:
        """Insert or replace the entry of a video."""
        with self._connect() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO videos VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    entry.video_id,
                    entry.uri,
                    entry.options,
                    entry.state,
                    entry.num_chunks,
                    entry.num_objects,
                    entry.error,
                    time.time(),
                ),
            )

    def list_videos(self) -> list[VideoEntry]:
        """All entries, by URI."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT video_id, uri, options, state, num_chunks, num_objects, error"
                " FROM videos ORDER BY uri"
            ).fetchall()
        return [VideoEntry(*row) for row in rows]

    def put_unit(self, entry: UnitEntry) -> None:
        """Insert or replace the entry of a unit."""
        with self._connect() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO units VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    entry.unit_id,
                    entry.video_id,
                    entry.attempts,
                    entry.state,
                    entry.seconds,
                    entry.error,
                    time.time(),
                ),
            )

    def list_units(self, video_id: str) -> list[UnitEntry]:
        """All units of a video."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT unit_id, video_id, attempts, state, seconds, error FROM units"
                " WHERE video_id = ? ORDER BY unit_id",
                (video_id,),
            ).fetchall()
        return [UnitEntry(*row) for row in rows]
