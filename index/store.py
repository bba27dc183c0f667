"""The index on disk: three LanceDB tables in a folder or on S3, written by whole videos.

A video becomes visible in one step. Its row in `videos` is written last, and no reader here gives anything
of a video without that row. Replacing a video takes the row away first, so that no reader meets a mixture
of old and new. A process that was forked after LanceDB was used must not use it: start workers by spawn.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import lancedb
from lancedb.expr import Expr, col, lit
from lancedb.index import FTS, BTree, HnswSq

from tubelet.errors import StoreError
from tubelet.index.location import find_local_folder, lock_writers
from tubelet.index.schema import (
    SCHEMA_VERSION,
    VERSION_KEY,
    make_moment_row,
    make_moments_schema,
    make_tubelet_row,
    make_tubelets_schema,
    make_video_row,
    make_videos_schema,
    read_models,
    read_moment,
    read_object,
    read_video,
)
from tubelet.index.tables import count_rows, delete_rows, explain_failure, merge_rows, read_rows
from tubelet.records import IndexedObject, ModelNames, Moment, Video

VECTOR_INDEX_MIN_ROWS = 50_000
"""Fewer moments than this are searched exactly; from here on `optimize` builds a vector index."""

KEEP_VERSIONS = timedelta(hours=1)
"""How long `optimize` leaves replaced files alone, so that a reader who is under way can end."""

READ_BATCH_ROWS = 256

_SCALAR_INDEXES = {
    "videos": ("video_id", "uri"),
    "tubelets": ("object_id", "video_id", "uri"),
    "moments": ("moment_id", "object_id", "video_id", "uri", "label"),
}

_first_process: int | None = None


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows in each table, those of unfinished videos included."""

    videos: int
    tubelets: int
    moments: int


class IndexStore:
    """Reads and writes the index. Threads may share an instance; processes open their own."""

    def __init__(self, location: str, connection: Any) -> None:
        self.location = location
        self._connection = connection
        self._videos = self._open_table("videos")
        self._tubelets = self._open_table("tubelets")
        self._moments = self._open_table("moments")

    @classmethod
    def open(
        cls,
        location: str | os.PathLike[str],
        *,
        create: bool = False,
        text_dimensions: int | None = None,
        object_dimensions: int | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> IndexStore:
        """Open the index in a folder or at an `s3://` address.

        Sizes of vectors are fixed when the index is made (`create=True` needs both); later they are checked
        where they are given. `storage_options` are LanceDB's, for S3. Raises StoreError when there is no
        index, when it has another schema version, or when it holds vectors of another size.
        """
        _refuse_forked_process()
        place = str(location)
        folder = find_local_folder(place)
        if folder is not None and not create and not folder.is_dir():
            raise _missing(place)
        with explain_failure(place, "opened"):
            connection = lancedb.connect(
                folder if folder is not None else place,
                read_consistency_interval=timedelta(0),
                storage_options=dict(storage_options) if storage_options else None,
            )
            if create:
                assert text_dimensions is not None, "creating an index needs text_dimensions"
                assert object_dimensions is not None, "creating an index needs object_dimensions"
                _create_tables(place, connection, text_dimensions, object_dimensions)
        store = cls(place, connection)
        store._check_dimensions("text", store.text_dimensions, text_dimensions)
        store._check_dimensions("object", store.object_dimensions, object_dimensions)
        return store

    @property
    def moments(self) -> Any:
        """The LanceDB table of moments, for queries. Check hits with `find_complete`."""
        return self._moments

    @property
    def text_dimensions(self) -> int:
        """Length of the text vectors."""
        return int(self._moments.schema.field("text_vector").type.list_size)

    @property
    def object_dimensions(self) -> int:
        """Length of the object vectors; 0 when the index keeps none."""
        schema = self._moments.schema
        if "object_vector" not in schema.names:
            return 0
        return int(schema.field("object_vector").type.list_size)

    def replace_video(
        self,
        video: Video,
        objects: Iterable[IndexedObject],
        moments: Iterable[Moment],
        models: ModelNames,
    ) -> None:
        """Put a video with its objects and moments in, in place of what was there under its id or address.

        Objects and moments may be streams. A crash on the way leaves the video out of sight, and running it
        again mends that. Raises StoreError when the store cannot be written; the video is then out of sight.
        """
        own = (col("video_id") == lit(video.video_id)) | (col("uri") == lit(video.uri))
        keep_objects = self.object_dimensions > 0

        def make_row(moment: Moment) -> dict[str, Any]:
            self._check_vectors(moment)
            row = make_moment_row(moment, video, models)
            if not keep_objects:
                del row["object_vector"]
            return row

        with lock_writers(self.location):
            delete_rows(self._videos, own)
            num_objects = merge_rows(
                self._tubelets,
                "object_id",
                (make_tubelet_row(item, models) for item in _check_video(objects, video)),
                replacing=own,
            )
            num_moments = merge_rows(
                self._moments,
                "moment_id",
                (make_row(moment) for moment in _check_video(moments, video)),
                replacing=own,
            )
            row = make_video_row(video, models, num_objects=num_objects, num_moments=num_moments)
            merge_rows(self._videos, "video_id", [row], replacing=own)

    def remove_video(self, video_id: str) -> bool:
        """Take a video and all its rows out; False when it was not there. Nothing else is touched."""
        own = col("video_id") == lit(video_id)
        with lock_writers(self.location):
            return any([delete_rows(table, own) for table in (self._videos, self._moments, self._tubelets)])

    def get_video(self, video_id: str) -> Video | None:
        """The video, or None when it is not (wholly) in the index."""
        rows = self._read(self._videos, col("video_id") == lit(video_id))
        return read_video(rows[0]) if rows else None

    def get_models(self, video_id: str) -> ModelNames | None:
        """Which models made a video's rows, or None when it is not in the index."""
        rows = self._read(self._videos, col("video_id") == lit(video_id))
        return read_models(rows[0]) if rows else None

    def list_videos(self) -> list[Video]:
        """Every video, by address."""
        videos = [read_video(row) for row in self._read(self._videos)]
        return sorted(videos, key=lambda video: (video.uri, video.video_id))

    def find_complete(self, video_ids: Iterable[str]) -> set[str]:
        """Those of the videos whose rows are all there."""
        wanted = sorted(set(video_ids))
        if not wanted:
            return set()
        rows = self._read(self._videos, col("video_id").isin(wanted), columns=["video_id"])
        return {row["video_id"] for row in rows}

    def get_object(self, object_id: str) -> IndexedObject | None:
        """One object with its thumbnail, or None."""
        rows = self._read(self._tubelets, col("object_id") == lit(object_id))
        return read_object(rows[0]) if rows and self.find_complete([rows[0]["video_id"]]) else None

    def get_moments(self, object_id: str) -> list[Moment]:
        """An object's moments in time order; empty when it is not in the index."""
        rows = self._read(self._moments, col("object_id") == lit(object_id))
        complete = self.find_complete(row["video_id"] for row in rows)
        moments = [read_moment(row) for row in rows if row["video_id"] in complete]
        return sorted(moments, key=lambda moment: (moment.start_s, moment.moment_id))

    def iterate_objects(
        self, video_ids: Sequence[str] | None = None
    ) -> Iterator[tuple[IndexedObject, list[Moment]]]:
        """Every object with its moments, by video address and time, a few in memory at once.

        Thumbnails and vectors are left out. `video_ids` narrows it to some videos.
        """
        chosen = None if video_ids is None else set(video_ids)
        for video in self.list_videos():
            if chosen is None or video.video_id in chosen:
                for item, moments, _ in self.iterate_labelled_objects(video.video_id):
                    yield item, moments

    def iterate_labelled_objects(
        self, video_id: str
    ) -> Iterator[tuple[IndexedObject, list[Moment], list[str]]]:
        """The objects of one video in time order, with their moments and the moments' labels."""
        own = col("video_id") == lit(video_id)
        keys = self._read(self._tubelets, own, columns=["object_id", "start_s"])
        keys.sort(key=lambda key: (key["start_s"], key["object_id"]))
        for first in range(0, len(keys), READ_BATCH_ROWS):
            ids = [key["object_id"] for key in keys[first : first + READ_BATCH_ROWS]]
            some = own & col("object_id").isin(ids)
            objects = self._read(self._tubelets, some, without=("thumbnail",))
            of_object: dict[str, list[tuple[Moment, str]]] = {object_id: [] for object_id in ids}
            for row in self._read(self._moments, some, without=("thumbnail", "text_vector", "object_vector")):
                of_object[row["object_id"]].append((read_moment(row), row["label"]))
            by_id = {row["object_id"]: read_object(row) for row in objects}
            for object_id in ids:
                if object_id in by_id:  # else the video was replaced meanwhile
                    told = sorted(of_object[object_id], key=lambda pair: (pair[0].start_s, pair[0].moment_id))
                    yield by_id[object_id], [moment for moment, _ in told], [label for _, label in told]

    def count_rows(self) -> RowCounts:
        """Rows in each table."""
        return RowCounts(*(count_rows(table) for table in (self._videos, self._tubelets, self._moments)))

    def optimize(self) -> None:
        """Compact the tables and bring their indexes up to date, one process at a time.

        Rows that were added since the last call are found without it, only more slowly.
        """
        with lock_writers(self.location), explain_failure(self.location, "optimized"):
            for table in (self._videos, self._tubelets, self._moments):
                if count_rows(table) == 0:
                    continue
                indexed = {column for index in table.list_indices() for column in index.columns}
                for column in _SCALAR_INDEXES[table.name]:
                    if column not in indexed:
                        table.create_index(column, config=BTree())
                if table is self._moments:
                    self._create_search_indexes(indexed)
                table.optimize(cleanup_older_than=KEEP_VERSIONS)

    def _create_search_indexes(self, indexed: set[str]) -> None:
        if "words" not in indexed:  # tokens already: nothing to stem or to leave out
            config = FTS(
                with_position=True,
                base_tokenizer="whitespace",
                lower_case=False,
                stem=False,
                remove_stop_words=False,
                ascii_folding=False,
            )
            self._moments.create_index("words", config=config)
        if "text_vector" not in indexed and count_rows(self._moments) >= VECTOR_INDEX_MIN_ROWS:
            self._moments.create_index("text_vector", config=HnswSq(distance_type="cosine"))

    def _read(
        self,
        table: Any,
        where: Expr | None = None,
        *,
        columns: list[str] | None = None,
        without: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """All rows of a plain scan."""
        _refuse_forked_process()
        request = table.search() if where is None else table.search().where(where)
        if columns is not None or without:
            request = request.select(columns or [name for name in table.schema.names if name not in without])
        rows: list[dict[str, Any]] = read_rows(table, request.limit(None)).to_pylist()
        return rows

    def _open_table(self, name: str) -> Any:
        with explain_failure(self.location, "opened"):
            if name not in _list_tables(self._connection):
                raise _missing(self.location)
            table = self._connection.open_table(name)
            metadata = table.schema.metadata or {}
        version = metadata.get(VERSION_KEY, b"none").decode()
        if version != str(SCHEMA_VERSION):
            raise StoreError(
                f"Table {name!r} of the index at {self.location} has schema version {version}",
                expected=f"version {SCHEMA_VERSION}",
                do="index the videos again into another folder, or use the Tubelet that made this one",
            )
        return table

    def _check_dimensions(self, kind: str, found: int, wanted: int | None) -> None:
        if wanted is not None and found != wanted:
            raise StoreError(
                f"The index at {self.location} holds {kind} vectors of {found} numbers",
                expected=f"{wanted}, which the chosen models give",
                do="choose the models it was made with, or index into another folder",
            )

    def _check_vectors(self, moment: Moment) -> None:
        assert len(moment.text_vector) == self.text_dimensions, (
            f"moment {moment.moment_id} has a text vector of {len(moment.text_vector)} numbers, "
            f"the index holds {self.text_dimensions}"
        )
        assert len(moment.object_vector) in (0, self.object_dimensions), (
            f"moment {moment.moment_id} has an object vector of {len(moment.object_vector)} numbers, "
            f"the index holds {self.object_dimensions}"
        )


def _check_video(items: Iterable[Any], video: Video) -> Iterator[Any]:
    for item in items:
        assert (item.video_id, item.uri) == (video.video_id, video.uri), f"{item} is not of {video}"
        yield item


def _create_tables(place: str, connection: Any, text_dimensions: int, object_dimensions: int) -> None:
    schemas = {
        "videos": make_videos_schema(),
        "tubelets": make_tubelets_schema(),
        "moments": make_moments_schema(text_dimensions, object_dimensions),
    }
    if schemas.keys() <= set(_list_tables(connection)):
        return
    with lock_writers(place):
        existing = _list_tables(connection)
        for name in schemas.keys() - set(existing):
            connection.create_table(name, schema=schemas[name])


def _list_tables(connection: Any) -> list[str]:
    return list(connection.list_tables().tables)


def _missing(location: str) -> StoreError:
    return StoreError(
        f"There is no index at {location}", expected="an index", do="index a video first: tubelet index PATH"
    )


def _refuse_forked_process() -> None:
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
