"""Bringing an index of an older schema version up to date, step by step.

A step takes every table from one version to the next. Each may be run again where it was broken off: it looks
at what is there, adds what is missing, and writes the table's version down last. Steps never take rows away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tubelet.errors import StoreError
from tubelet.index.location import lock_writers
from tubelet.index.opening import Tables, connect, open_tables
from tubelet.index.schema import LIKELY_COLUMNS, SCHEMA_VERSION, UNIQUE_KEY, VERSION_KEY
from tubelet.index.tables import explain_failure


@dataclass(frozen=True, slots=True)
class Step:
    """From one schema version to the next. `apply` is given each table with its name."""

    since: int
    about: str
    apply: Callable[[str, Any], None]


def _add_generations(name: str, table: Any) -> None:
    """Each video's rows become one generation, which is named after the video."""
    wanted = {"generation": "video_id"}
    if name == "videos":
        wanted["fence"] = "cast(0 as bigint)"
    missing = {column: value for column, value in wanted.items() if column not in table.schema.names}
    if missing:
        table.add_columns(missing)
    if name == "videos" and not _has_unique_key(table):
        table.set_unenforced_primary_key("video_id")


def _add_likelihoods(name: str, table: Any) -> None:
    """Nobody knows what else the objects that are there may be; indexing them again tells."""
    if name == "moments":
        missing = [pa.field(*column) for column in LIKELY_COLUMNS if column[0] not in table.schema.names]
        if missing:
            table.add_columns(missing)


STEPS = (
    Step(2, "generations and fences: videos are replaced without being hidden", _add_generations),
    Step(3, "what else an object may be", _add_likelihoods),
)


def read_version(table: Any) -> str:
    """The schema version of a table. What a migration wrote goes before what the table was made with."""
    schema = table.schema
    made_with = schema.metadata or {}
    version: bytes = (made_with | (schema.field(0).metadata or {})).get(VERSION_KEY, b"none")
    return version.decode()


def check_version(location: str, tables: Tables) -> None:
    """Raise StoreError, which says what to do, unless all tables have our schema version."""
    for name, table in zip(Tables._fields, tables, strict=True):
        version = read_version(table)
        if version != str(SCHEMA_VERSION):
            raise _refuse(location, name, version)


def migrate_index(location: str, storage_options: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Open an index of any version that we know, and bring it up to date: see `migrate_tables`."""
    return migrate_tables(location, connect(location, storage_options, create=False))


def migrate_tables(location: str, connection: Any) -> tuple[str, ...]:
    """Bring the index up to date; what was done, nothing where it is.

    One process at a time; readers and what they see are not affected. Raises StoreError for a version that no
    step starts from: then nothing was changed.
    """
    if _is_current(location, connection):
        return ()
    done: list[str] = []
    with lock_writers(location):
        tables = open_tables(location, connection)
        known = {str(step.since) for step in STEPS} | {str(SCHEMA_VERSION)}
        for name, table in zip(Tables._fields, tables, strict=True):
            if read_version(table) not in known:
                raise _refuse(location, name, read_version(table))
        for step in STEPS:
            for name, table in zip(Tables._fields, tables, strict=True):
                if read_version(table) == str(step.since):
                    with explain_failure(table.uri, "brought up to date"):
                        step.apply(name, table)
                        _write_version(table, step.since + 1)
                    done.append(f"{name}: version {step.since} to {step.since + 1}, {step.about}")
    return tuple(done)


def _is_current(location: str, connection: Any) -> bool:
    tables = open_tables(location, connection)
    return all(read_version(table) == str(SCHEMA_VERSION) for table in tables)


def _write_version(table: Any, version: int) -> None:
    """On the first column, because LanceDB cannot change the metadata of a whole table."""
    first = table.schema.field(0)
    table.update_field_metadata({"path": first.name, "metadata": {VERSION_KEY.decode(): str(version)}})


def _has_unique_key(table: Any) -> bool:
    (prefix,) = UNIQUE_KEY
    return any(key.startswith(prefix) for key in table.schema.field("video_id").metadata or {})


def _refuse(location: str, name: str, version: str) -> StoreError:
    can_migrate = version in {str(step.since) for step in STEPS}
    newer = version.isdigit() and int(version) > SCHEMA_VERSION
    if can_migrate:
        do = "bring it up to date with: tubelet index migrate"
    elif newer:
        do = "use the newer Tubelet that made it"
    else:
        do = "index the videos again into another folder, or use the Tubelet that made this one"
    return StoreError(
        f"Table {name!r} of the index at {location} has schema version {version}",
        expected=f"version {SCHEMA_VERSION}",
        do=do,
    )
