"""What an index holds and takes: rows, files, versions and indexes of each table."""

from __future__ import annotations

from dataclasses import dataclass

from tubelet.index.migrations import read_version
from tubelet.index.snapshot import RowCounts
from tubelet.index.store import IndexStore
from tubelet.index.tables import count_rows, explain_failure


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """An index over a column. Rows that it does not hold yet are found too, by reading them."""

    column: str
    kind: str
    num_unindexed: int


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table: `rows` in all, of which `orphans` are out of sight. `bytes` are those of the newest version.

    Many `fragments` or `versions` make reading slower; `optimize` makes them fewer.
    """

    name: str
    rows: int
    orphans: int
    fragments: int
    bytes: int
    versions: int
    schema_version: str
    indexes: tuple[IndexInfo, ...]


@dataclass(frozen=True, slots=True)
class IndexStatistics:
    """The whole index. `counts` are the rows in sight."""

    location: str
    version: str
    counts: RowCounts
    text_dimensions: int
    object_dimensions: int
    tables: tuple[TableInfo, ...]


def measure_index(store: IndexStore) -> IndexStatistics:
    """Count and size up an index. Raises StoreError when it cannot be read."""
    snapshot = store.snapshot()
    counts = snapshot.count_rows()
    in_sight = {"videos": counts.videos, "tubelets": counts.tubelets, "moments": counts.moments}
    tables = []
    for name, pinned, table in zip(in_sight, snapshot.tables, store.tables, strict=True):
        rows = count_rows(pinned)
        with explain_failure(store.location, "read"):
            found = pinned.stats()
            indexes = tuple(
                IndexInfo(
                    ", ".join(index.columns),
                    str(index.index_type),
                    int(pinned.index_stats(index.name).num_unindexed_rows),
                )
                for index in pinned.list_indices()
            )
            versions = len(table.list_versions())
        tables.append(
            TableInfo(
                name,
                rows,
                rows - in_sight[name],
                int(found["fragment_stats"]["num_fragments"]),
                int(found["total_bytes"]),
                versions,
                read_version(pinned),
                indexes,
            )
        )
    return IndexStatistics(
        store.location,
        snapshot.version,
        counts,
        snapshot.text_dimensions,
        snapshot.object_dimensions,
        tuple(tables),
    )
