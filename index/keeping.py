"""Keeping an index quick: orphans removed, files compacted, old versions deleted, indexes built.

All of it happens under one lock of its own, so that indexing goes on meanwhile: only the removal of orphans
takes the writers' lock, and that is short. A commit that comes between makes LanceDB repeat its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tubelet.index.committing import ORPHAN_AGE, find_old_version
from tubelet.index.location import lock_keeping, lock_writers
from tubelet.index.opening import Tables
from tubelet.index.snapshot import Generations, Snapshot, select_generations
from tubelet.index.tables import count_rows, delete_rows, explain_failure

VECTOR_INDEX_MIN_ROWS = 50_000
"""Fewer moments with a vector than this are searched exactly; from here on `optimize` builds an index of it.

Partitions of vectors in 8 bits a number: far quicker to build than a graph (HNSW), as quick to search for
the thousand nearest, and filters cost it less (docs/benchmarks.md).
"""

PARTITION_ROWS = 2048
"""Vectors in a partition of an index. A search looks through the 20 nearest partitions."""

KEEP_VERSIONS = timedelta(hours=1)
"""How long `optimize` leaves replaced files alone, so that a reader who is under way can end."""

COMPACT_ATTEMPTS = 5
"""Commits of writers to the same rows that may come between while a table is compacted."""

VIDEOS_A_DELETE = 200

_SCALAR_INDEXES = {
    "videos": ("video_id", "uri"),
    "tubelets": ("object_id", "video_id", "uri", "generation"),
    "moments": (
        *("moment_id", "object_id", "video_id", "uri", "label", "generation"),
        *("colours", "turn"),  # what candidates are asked to meet
    ),
}
_VECTORS = ("text_vector", "object_vector")


@dataclass(frozen=True, slots=True)
class Optimized:
    """What an optimize did: rows out of sight that it removed, indexes that it built anew."""

    num_orphans: int
    built: tuple[str, ...]


def optimize_tables(
    location: str, connection: Any, tables: Tables, take_snapshot: Callable[[], Snapshot]
) -> Optimized:
    """Remove orphans, build what indexes are missing, compact, and delete versions nobody reads any more."""
    built: list[str] = []
    with lock_keeping(location):
        num_orphans = remove_orphans(location, connection, tables, take_snapshot)
        with explain_failure(location, "optimized"):
            for table in tables:
                if count_rows(table) == 0:
                    continue
                indexed = {column for index in table.list_indices() for column in index.columns}
                for column in _SCALAR_INDEXES[table.name]:
                    if column not in indexed:
                        table.create_index(column, config=_make_scalar_config(column))
                        built.append(f"{table.name}.{column}")
                if table.name == "moments":
                    built += _create_search_indexes(table, indexed)
                _compact(table)
    return Optimized(num_orphans, tuple(built))


def remove_orphans(
    location: str, connection: Any, tables: Tables, take_snapshot: Callable[[], Snapshot]
) -> int:
    """Delete the rows that no video's row names; how many there were.

    Without a lock (on S3) rows may be of a write under way: those younger than `ORPHAN_AGE` stay.
    """
    with lock_writers(location) as is_alone:
        snapshot = take_snapshot()
        number = 0
        for table, pinned in zip(tables[1:], snapshot.tables[1:], strict=True):
            orphans = snapshot.find_orphans(pinned)
            if orphans and not is_alone:
                orphans = _keep_old(connection, table, orphans)
            videos = sorted(orphans)
            for first in range(0, len(videos), VIDEOS_A_DELETE):
                some = {video_id: orphans[video_id] for video_id in videos[first : first + VIDEOS_A_DELETE]}
                number += delete_rows(table, select_generations(some))
    return number


def _keep_old(connection: Any, table: Any, orphans: Generations) -> Generations:
    """Those of the orphans that were there some time ago."""
    version = find_old_version(table, ORPHAN_AGE)
    if version is None:
        return {}
    with explain_failure(table.uri, "read as it was"):
        was = connection.open_table(table.name, version=version)
    old: dict[str, frozenset[str]] = {}
    for video_id, names in orphans.items():
        there = [name for name in names if count_rows(was, select_generations({video_id: frozenset([name])}))]
        if there:
            old[video_id] = frozenset(there)
    return old


def _make_scalar_config(column: str) -> Any:
    from lancedb.index import Bitmap, BTree, LabelList  # slow to import: see `opening.connect`

    kinds = {"colours": LabelList, "turn": Bitmap}  # of what is not found by one value among many
    return kinds.get(column, BTree)()


def _create_search_indexes(moments: Any, indexed: set[str]) -> list[str]:
    from lancedb.index import FTS, IvfSq

    built: list[str] = []
    if "words" not in indexed:  # tokens already: nothing to stem or to leave out
        config = FTS(
            with_position=True,
            base_tokenizer="whitespace",
            lower_case=False,
            stem=False,
            remove_stop_words=False,
            ascii_folding=False,
        )
        moments.create_index("words", config=config)
        built.append("moments.words")
    for column in _VECTORS:
        if column in indexed or column not in moments.schema.names:
            continue
        num_vectors = count_rows(moments, f"{column} IS NOT NULL")
        if num_vectors >= VECTOR_INDEX_MIN_ROWS:
            num_partitions = max(1, num_vectors // PARTITION_ROWS)
            moments.create_index(column, config=IvfSq(distance_type="cosine", num_partitions=num_partitions))
            built.append(f"moments.{column}")
    return built


def _compact(table: Any) -> None:
    """Also adds new rows to the indexes."""
    for attempt in range(1, COMPACT_ATTEMPTS + 1):
        try:
            table.optimize(cleanup_older_than=KEEP_VERSIONS)
            return
        except RuntimeError as error:
            if attempt == COMPACT_ATTEMPTS or "conflict" not in str(error).lower():
                raise
