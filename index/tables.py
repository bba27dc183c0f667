"""Reading and writing one LanceDB table: a write is one commit, and a failure says where it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pyarrow as pa
from lancedb.expr import Expr

from tubelet.errors import StoreError

WRITE_BATCH_ROWS = 256


def merge_rows(table: Any, key: str, rows: Iterable[Mapping[str, Any]], *, replacing: Expr) -> int:
    """Insert or update rows by `key`, delete the others that `replacing` selects; how many rows came in.

    One commit: a reader sees all of it or nothing. Rows may be a stream; they are sent on in small batches.
    What the stream raises comes out as it was, and then nothing was written.
    """
    batches = _Batches(table.schema, key, rows)
    reader = pa.RecordBatchReader.from_batches(table.schema, iter(batches))
    merge = table.merge_insert(key).when_matched_update_all().when_not_matched_insert_all()
    try:
        with explain_failure(table.uri, "written"):
            merge.when_not_matched_by_source_delete(replacing).execute(reader)
    except StoreError:
        if batches.error is not None:  # LanceDB passes on only its text
            raise batches.error from None
        raise
    return len(batches.keys)


def read_rows(table: Any, request: Any) -> pa.Table:
    """The rows that a LanceDB request asks for."""
    with explain_failure(table.uri, "read"):
        return request.to_arrow()


def count_rows(table: Any, where: Expr | None = None) -> int:
    """How many rows `where` selects, or all."""
    with explain_failure(table.uri, "read"):
        return int(table.count_rows(None if where is None else where.to_sql()))


def delete_rows(table: Any, which: Expr) -> bool:
    """Delete rows in one commit; False, and no commit, when there are none."""
    if count_rows(table, which) == 0:
        return False
    with explain_failure(table.uri, "written"):
        table.delete(which)
    return True


@contextmanager
def explain_failure(location: str, done: str) -> Iterator[None]:
    """Turn what LanceDB and the file system raise into a StoreError that names what was touched."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
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
