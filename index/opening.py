"""Opening the three tables of an index, making them, and refusing what cannot be read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import lancedb

from tubelet.errors import StoreError
from tubelet.index.location import find_local_folder, lock_writers, missing_index
from tubelet.index.schema import make_moments_schema, make_tubelets_schema, make_videos_schema
from tubelet.index.tables import explain_failure

_first_process: int | None = None


class Tables(NamedTuple):
    """LanceDB's tables of an index."""

    videos: Any
    tubelets: Any
    moments: Any


def connect(location: str, storage_options: Mapping[str, str] | None, *, create: bool) -> Any:
    """A connection of LanceDB that sees every commit at once. Raises StoreError where there is nothing."""
    refuse_forked_process()
    folder = find_local_folder(location)
    with explain_failure(location, "opened"):
        if folder is not None and create:
            folder.mkdir(parents=True, exist_ok=True)
        if folder is not None and not folder.is_dir():
            raise missing_index(location)
        return lancedb.connect(
            folder if folder is not None else location,
            read_consistency_interval=timedelta(0),
            storage_options=dict(storage_options) if storage_options else None,
        )


def create_tables(location: str, connection: Any, text_dimensions: int, object_dimensions: int) -> None:
    """Make the tables that are not there yet."""
    schemas = {
        "videos": make_videos_schema(),
        "tubelets": make_tubelets_schema(),
        "moments": make_moments_schema(text_dimensions, object_dimensions),
    }
    with explain_failure(location, "opened"):
        if schemas.keys() <= _list_tables(location, connection):
            return
        with lock_writers(location):
            for name in schemas.keys() - _list_tables(location, connection):
                if (folder := find_local_folder(location)) is not None:
                    shutil.rmtree(_find_table(folder, name), ignore_errors=True)
                connection.create_table(name, schema=schemas[name])


def open_tables(location: str, connection: Any) -> Tables:
    """The tables as they are now, of any schema version. Raises StoreError when one is missing."""
    with explain_failure(location, "opened"):
        if not set(Tables._fields) <= _list_tables(location, connection):
            raise missing_index(location)
        return Tables(*(connection.open_table(name) for name in Tables._fields))


def refuse_forked_process() -> None:
    """LanceDB's threads do not survive a fork, and waiting for them would hang."""
    global _first_process
    if _first_process is None:
        _first_process = os.getpid()
    if _first_process != os.getpid():
        raise StoreError(
            "This process was forked from one that had used the index",
            expected="a process of its own",
            do="start worker processes with the spawn method",
        )


def _list_tables(location: str, connection: Any) -> set[str]:
    """Tables that are there. A disk that was full while one was made leaves folders without a file."""
    names = set(connection.list_tables().tables)
    folder = find_local_folder(location)
    return names if folder is None else {name for name in names if _has_files(_find_table(folder, name))}


def _find_table(folder: Path, name: str) -> Path:
    return folder / f"{name}.lance"


def _has_files(folder: Path) -> bool:
    """Whether there is a file in it, at any depth. The first one ends the looking."""
    try:
        with os.scandir(folder) as entries:
            return any(
                _has_files(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else entry.is_file()
                for entry in entries
            )
    except FileNotFoundError:
        return False
