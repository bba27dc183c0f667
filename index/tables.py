"""Reading and writing one LanceDB table: a write is one commit, and a failure says where it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from tubelet.errors import StoreError

WRITE_BATCH_ROWS = 256

ROW_ID = "_rowid"
"""LanceDB's column of a row's place. In one table no two rows ever have the same."""


def append_rows(table: Any, key: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Add rows, none of which may have another's `key`; how many there were.

    One commit: a reader sees all of it or nothing. Rows may be a stream; they are sent on in small batches.
    What the stream raises comes out as it was, and then nothing was written.
    """
    batches = _Batches(table.schema, key, rows)
    stream = iter(batches)
    first = next(stream, None)
    if first is None:
        return 0
    reader = pa.RecordBatchReader.from_batches(table.schema, chain([first], stream))
    try:
        with explain_failure(table, "written"):
            table.add(reader)
    except StoreError:
        if batches.error is not None:  # LanceDB passes on only its text
            raise batches.error from None
        raise
    return len(batches.keys)


def read_rows(table: Any, request: Any) -> pa.Table:
    """The rows that a LanceDB request asks for."""
    with explain_failure(table, "read"):
        return request.to_arrow()


def scan_rows(table: Any, where: str | None, columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """All rows that a condition selects, some columns of them, a batch at a time."""
    request = table.search() if where is None else table.search().where(where)
    with explain_failure(table, "read"):
        yield from request.select(columns).limit(None).to_batches(batch_rows)


def count_rows(table: Any, where: str | None = None) -> int:
    """How many rows a condition selects, or all."""
    with explain_failure(table, "read"):
        return int(table.count_rows(where))


def delete_rows(table: Any, which: str) -> int:
    """Delete rows in one commit; how many there were. No commit where there are none."""
    number = count_rows(table, which)
    if number:
        with explain_failure(table, "written"):
            table.delete(which)
    return number


@contextmanager
def explain_failure(place: Any, done: str) -> Iterator[None]:
    """Turn what LanceDB and the file system raise into a StoreError that names what was touched.

    The place is an address, or a table, which is asked for its own only then: that takes a call.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        location = place if isinstance(place, str) else place.uri
        raise StoreError(
            f"The index at {location} cannot be {done}: {error}",
            expected="a folder or address with room, and the permission",
            do="mend that and run again; what was committed before is intact",
        ) from error


class _Batches:
    """Rows as Arrow batches. Keeps the error that ended the stream, and refuses a key that comes twice."""

    def __init__(self, schema: pa.Schema, key: str, rows: Iterable[Mapping[str, Any]]) -> None:
        self._schema = schema
        self._key = key
        self._rows = iter(rows)
        self.keys: set[str] = set()
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            while some := list(islice(self._rows, WRITE_BATCH_ROWS)):
                for row in some:
                    assert row[self._key] not in self.keys, f"{self._key} {row[self._key]} comes twice"
                    self.keys.add(row[self._key])
                yield pa.RecordBatch.from_pylist(some, schema=self._schema)
        except BaseException as error:
            self.error = error
            raise
