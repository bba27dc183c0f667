"""Reading the index as it was at one moment: the three tables, pinned to versions that belong together.

Rows of several writes of a video may lie in the tables. Those in force have the `generation` that the
video's row names; all others are orphans, of a write that is under way, was replaced, or was broken off, and
nothing here gives anything of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tubelet.index.held_columns import MAX_HELD_ROWS, HeldColumns
from tubelet.index.opening import Tables, refuse_forked_process
from tubelet.index.schema import read_models, read_moment, read_object, read_video
from tubelet.index.sql import join_all, join_any, make_name_filter, match_name
from tubelet.index.tables import count_rows, explain_failure, read_rows, scan_rows
from tubelet.records import IndexedObject, ModelNames, Moment, Video

READ_BATCH_ROWS = 256
SCAN_BATCH_ROWS = 65_536

Generations = Mapping[str, frozenset[str]]
"""Generations of rows, by video."""


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows of each table."""

    videos: int
    tubelets: int
    moments: int


class Snapshot:
    """A reader of pinned tables. Threads may share one; processes open their own."""

    def __init__(self, location: str, tables: Tables, last: Snapshot | None = None) -> None:
        """`last` is one of the same place, of which what is held in memory is used again."""
        self.location = location
        self.tables = tables
        self._last_columns = None if last is None else last.known_columns
        self._columns: HeldColumns | None = None
        self._lock = Lock()

    @property
    def moments(self) -> Any:
        """LanceDB's table of moments. Narrow queries by `visible`, or pass rows to `keep_visible`."""
        return self.tables.moments

    @cached_property
    def version(self) -> str:
        """Changes with every commit to any table; `IndexStore.at_version` takes it."""
        return ".".join(str(table.version) for table in self.tables)

    @cached_property
    def text_dimensions(self) -> int:
        """Length of the text vectors."""
        return int(self.moments.schema.field("text_vector").type.list_size)

    @cached_property
    def object_dimensions(self) -> int:
        """Length of the object vectors; 0 when the index keeps none."""
        schema = self.moments.schema
        if "object_vector" not in schema.names:
            return 0
        return int(schema.field("object_vector").type.list_size)

    @cached_property
    def visible(self) -> str | None:
        """A condition that only moments in force meet; None when all of them do.

        Whether there are others is told by counting, which costs nothing; only then are they looked for.
        """
        if count_rows(self.moments) == self.count_rows().moments:
            return None
        return exclude_generations(self.find_orphans(self.moments))

    @cached_property
    def moment_columns(self) -> frozenset[str]:
        """Names of the columns that moments have. Asking LanceDB takes a call."""
        return frozenset(self.moments.schema.names)

    @property
    def known_columns(self) -> HeldColumns | None:
        """Columns of moments that are held in memory already, of this version or the last."""
        return self._columns or self._last_columns

    def hold_columns(self) -> HeldColumns | None:
        """The columns of moments in sight that limits are told by; None where there are too many to hold."""
        if self.count_rows().moments > MAX_HELD_ROWS:
            return None
        with self._lock:
            if self._columns is None:
                self._columns = HeldColumns.load(self.moments, self.generations, self._last_columns)
                self._last_columns = None
            return self._columns

    def keep_visible(self, found: pa.Table) -> pa.Table:
        """Only the rows in force; `found` needs the columns `video_id` and `generation`."""
        videos = pa.array(self.generations.keys(), pa.string())
        names = pa.array(self.generations.values(), pa.string())
        in_force = names.take(pc.index_in(found["video_id"], value_set=videos))
        return found.filter(pc.fill_null(pc.equal(in_force, found["generation"]), False))

    def find_orphans(self, table: Any) -> Generations:
        """Generations of rows that no video's row names, by video. Reads two columns of the whole table."""
        orphans: defaultdict[str, set[str]] = defaultdict(set)
        names = ["video_id", "generation"]
        for batch in scan_rows(table, None, names, SCAN_BATCH_ROWS):
            pairs = pa.Table.from_batches([batch]).group_by(names).aggregate([])
            for row in pairs.to_pylist():
                if self.generations.get(row["video_id"]) != row["generation"]:
                    orphans[row["video_id"]].add(row["generation"])
        return {video_id: frozenset(generations) for video_id, generations in orphans.items()}

    @cached_property
    def generations(self) -> Mapping[str, str]:
        """The generation in force of every video."""
        columns = (self._in_force["video_id"].to_pylist(), self._in_force["generation"].to_pylist())
        return dict(zip(*columns, strict=True))

    @cached_property
    def addresses(self) -> Mapping[str, str]:
        """The address of every video."""
        columns = (self._in_force["video_id"].to_pylist(), self._in_force["uri"].to_pylist())
        return dict(zip(*columns, strict=True))

    @cached_property
    def _in_force(self) -> pa.Table:
        columns = ["video_id", "uri", "generation", "num_objects", "num_moments"]
        return read_rows(self.tables.videos, self.tables.videos.search().select(columns).limit(None))

    def count_rows(self) -> RowCounts:
        """Rows in force of each table."""
        counts = [pc.sum(self._in_force[name]).as_py() or 0 for name in ("num_objects", "num_moments")]
        return RowCounts(len(self._in_force), *counts)

    def get_video(self, video_id: str) -> Video | None:
        """The video, or None when it is not (wholly) in the index."""
        row = self.get_video_row(video_id)
        return None if row is None else read_video(row)

    def get_models(self, video_id: str) -> ModelNames | None:
        """Which models made a video's rows, or None when it is not in the index."""
        row = self.get_video_row(video_id)
        return None if row is None else read_models(row)

    def get_video_row(self, video_id: str) -> dict[str, Any] | None:
        """The row of a video with all its columns, or None."""
        rows = self._read(self.tables.videos, match_name("video_id", video_id))
        return rows[0] if rows else None

    def list_videos(self) -> list[Video]:
        """Every video, by address."""
        videos = [read_video(row) for row in self._read(self.tables.videos)]
        return sorted(videos, key=lambda video: (video.uri, video.video_id))

    def find_complete(self, video_ids: Iterable[str]) -> set[str]:
        """Those of the videos whose rows are all there."""
        return {video_id for video_id in video_ids if video_id in self.generations}

    def get_object(self, object_id: str) -> IndexedObject | None:
        """One object with its thumbnail, or None."""
        rows = self._keep(self._read(self.tables.tubelets, match_name("object_id", object_id)))
        return read_object(rows[0]) if rows else None

    def get_moments(self, object_id: str) -> list[Moment]:
        """An object's moments in time order; empty when it is not in the index."""
        rows = self._keep(self._read(self.moments, match_name("object_id", object_id)))
        return sorted(map(read_moment, rows), key=lambda moment: (moment.start_s, moment.moment_id))

    def iterate_labelled_objects(
        self, video_id: str
    ) -> Iterator[tuple[IndexedObject, list[Moment], list[str]]]:
        """The objects of one video in time order, with their moments and the moments' labels."""
        video = self.get_video_row(video_id)
        if video is None:
            return
        own = join_all([match_name("video_id", video_id), match_name("generation", video["generation"])])
        keys = self._read(self.tables.tubelets, own, columns=["object_id", "start_s"])
        keys.sort(key=lambda key: (key["start_s"], key["object_id"]))
        for first in range(0, len(keys), READ_BATCH_ROWS):
            ids = [key["object_id"] for key in keys[first : first + READ_BATCH_ROWS]]
            some = join_all([own, make_name_filter("object_id", ids)])
            of_object: dict[str, list[tuple[Moment, str]]] = {object_id: [] for object_id in ids}
            for row in self._read(self.moments, some, without=("thumbnail", "text_vector", "object_vector")):
                of_object[row["object_id"]].append((read_moment(row), row["label"]))
            objects = self._read(self.tables.tubelets, some, without=("thumbnail",))
            by_id = {row["object_id"]: read_object(row) for row in objects}
            for object_id in ids:
                told = sorted(of_object[object_id], key=lambda pair: (pair[0].start_s, pair[0].moment_id))
                yield by_id[object_id], [moment for moment, _ in told], [label for _, label in told]

    def _keep(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows in force, of a few: their videos are looked up one by one."""
        videos = {row["video_id"]: self.get_video_row(row["video_id"]) for row in rows}
        return [
            row
            for row in rows
            if (video := videos[row["video_id"]]) is not None and video["generation"] == row["generation"]
        ]

    def _read(
        self,
        table: Any,
        where: str | None = None,
        *,
        columns: list[str] | None = None,
        without: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """All rows of a plain scan."""
        refuse_forked_process()
        request = table.search() if where is None else table.search().where(where)
        if columns is not None or without:
            request = request.select(columns or [name for name in table.schema.names if name not in without])
        rows: list[dict[str, Any]] = read_rows(table, request.limit(None)).to_pylist()
        return rows


def select_generations(generations: Generations) -> str:
    """The rows of these generations, of which there is at least one."""
    return join_any(
        f"{match_name('video_id', video_id)} AND {make_name_filter('generation', sorted(names))}"
        for video_id, names in sorted(generations.items())
    )


def exclude_generations(generations: Generations) -> str | None:
    """All rows but those of these generations; None when there are none to leave out."""
    return f"NOT ({select_generations(generations)})" if generations else None


def pin_tables(location: str, connection: Any, versions: Sequence[int]) -> Tables:
    """The tables as they were at these versions. Raises StoreError when one is no longer kept."""
    with explain_failure(location, "read as it was"):
        return Tables(
            *(
                connection.open_table(name, version=version)
                for name, version in zip(Tables._fields, versions, strict=True)
            )
        )
