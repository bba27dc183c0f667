"""Opening the three tables of an index, making them, and refusing what cannot be read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

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
    import lancedb  # two seconds to import: a process that opens nothing does not wait for them

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
        if schemas.keys() <= _find_tables(connection).keys():
            return
        with lock_writers(location):
            for name in schemas.keys() - _find_tables(connection).keys():
                _drop_unfinished(location, name)
                connection.create_table(name, schema=schemas[name])


def open_tables(location: str, connection: Any) -> Tables:
    """The tables as they are now, of any schema version. Raises StoreError when one is missing.

    Tables that another process is about to make are missing until they are whole.
    """
    with explain_failure(location, "opened"):
        found = _find_tables(connection)
        if len(found) < len(Tables._fields):
            raise missing_index(location)
        return Tables(**found)


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


def _find_tables(connection: Any) -> dict[str, Any]:
    """The tables that have a version. One that is being made has files before it has one."""
    found = {}
    for name in Tables._fields:
        try:
            found[name] = connection.open_table(name)
        except ValueError as error:
            if "was not found" not in str(error):
                raise
    return found


def _drop_unfinished(location: str, name: str) -> None:
    """Remove what a process left that could not finish a table; nothing that holds rows."""
    folder = find_local_folder(location)
    if folder is not None and not _has_files(folder / f"{name}.lance" / "data"):
        shutil.rmtree(folder / f"{name}.lance", ignore_errors=True)


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
