"""The index on disk: three LanceDB tables in a folder or on S3, written by whole videos.

A write adds its rows under a `generation` of its own, out of sight, and then flips the video's row to that
generation in one commit. So replacing a video never hides it and never shows a mixture, and a write that is
broken off leaves only rows that nobody sees, which the next write of that video or `optimize` takes away.
A process that was forked after LanceDB was used must not use it: start workers by spawn.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from tubelet.errors import StoreError
from tubelet.index import committing, keeping
from tubelet.index.migrations import check_version, migrate_tables
from tubelet.index.opening import connect, create_tables, open_tables, refuse_forked_process
from tubelet.index.schema import make_moment_row, make_tubelet_row, make_video_row
from tubelet.index.snapshot import RowCounts, Snapshot, pin_tables
from tubelet.index.tables import append_rows, explain_failure
from tubelet.records import IndexedObject, ModelNames, Moment, Video

PIN_ATTEMPTS = 100
"""Commits of other writers that may come between while versions are pinned that belong together."""


class IndexStore:
    """Reads and writes the index. Threads may share an instance; processes open their own."""

    def __init__(self, location: str, connection: Any) -> None:
        self.location = location
        self._connection = connection
        self.tables = open_tables(location, connection)
        self._last: Snapshot | None = None

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
        where they are given. `create=True` also brings an index of an older schema up to date; without it
        nothing is written. `storage_options` are LanceDB's, for S3. Raises StoreError when there is no index,
        when its schema cannot be used, or when it holds vectors of another size.
        """
        place = str(location)
        connection = connect(place, storage_options, create=create)
        if create:
            assert text_dimensions is not None, "creating an index needs text_dimensions"
            assert object_dimensions is not None, "creating an index needs object_dimensions"
            create_tables(place, connection, text_dimensions, object_dimensions)
            migrate_tables(place, connection)
        store = cls(place, connection)
        check_version(place, store.tables)
        found = store.snapshot()
        store._check_dimensions("text", found.text_dimensions, text_dimensions)
        store._check_dimensions("object", found.object_dimensions, object_dimensions)
        return store

    @property
    def moments(self) -> Any:
        """LanceDB's table of moments as it is now, rows out of sight included. Search in a `snapshot`."""
        return self.tables.moments

    @property
    def version(self) -> str:
        """Changes with every commit; see `at_version`."""
        return self.snapshot().version

    @property
    def text_dimensions(self) -> int:
        """Length of the text vectors."""
        return self.snapshot().text_dimensions

    @property
    def object_dimensions(self) -> int:
        """Length of the object vectors; 0 when the index keeps none."""
        return self.snapshot().object_dimensions

    def snapshot(self) -> Snapshot:
        """The index as it is now, for any number of reads that belong together."""
        refuse_forked_process()
        videos, tubelets, moments = self.tables
        with explain_failure(self.location, "read"):
            for _ in range(PIN_ATTEMPTS):
                versions = (videos.version, tubelets.version, moments.version)
                # Rows come before their video's row is flipped, and go after that: it stayed, so they match.
                if videos.version == versions[0]:
                    return self._pin(versions)
        raise StoreError(
            f"The index at {self.location} changes all the time",
            expected="a moment without commits",
            do="try again",
        )

    def at_version(self, version: str) -> Snapshot:
        """The index as it was at a version. Raises StoreError when that is no longer kept."""
        try:
            versions = tuple(map(int, version.split(".")))
        except ValueError:
            versions = ()
        if len(versions) != len(self.tables) or min(versions) < 1:
            raise StoreError(
                f"{version!r} is no version of an index", expected="what `version` gave", do="search again"
            )
        return self._pin(versions)

    def _pin(self, versions: tuple[int, ...]) -> Snapshot:
        """Tables of these versions: the last ones again, with what is known of them, when nothing changed."""
        last = self._last
        if last is None or last.version != ".".join(map(str, versions)):
            tables = pin_tables(self.location, self._connection, versions)
            last = Snapshot(self.location, tables, last)
            self._last = last
        return last

    def replace_video(
        self,
        video: Video,
        objects: Iterable[IndexedObject],
        moments: Iterable[Moment],
        models: ModelNames,
        *,
        fence: int = 0,
        generation: str | None = None,
    ) -> None:
        """Put a video with its objects and moments in, in place of what was there under its id or address.

        Objects and moments may be streams. `fence` is the fencing token of the lease that the work was done
        under: a commit with a smaller one than that in force is refused. `generation` names this write and
        no other; None makes a name. Whatever goes wrong, readers see what they saw before, or all of this.

        Raises StaleCommitError when a newer lease has committed, StoreError when the store cannot be written.
        """
        name = generation or uuid4().hex
        found = self.snapshot()
        keep_objects = found.object_dimensions > 0

        def make_row(moment: Moment) -> dict[str, Any]:
            _check_vectors(moment, found)
            row = make_moment_row(moment, video, models, name)
            if not keep_objects:
                del row["object_vector"]
            return row

        tables = self.tables
        with committing.commit_video(self.location, tables, video, fence=fence, generation=name) as commit:
            num_objects = append_rows(
                tables.tubelets,
                "object_id",
                (make_tubelet_row(item, models, name) for item in _check_video(objects, video)),
            )
            num_moments = append_rows(
                tables.moments, "moment_id", (make_row(moment) for moment in _check_video(moments, video))
            )
            commit.flip(
                make_video_row(
                    video,
                    models,
                    num_objects=num_objects,
                    num_moments=num_moments,
                    generation=name,
                    fence=fence,
                )
            )

    def remove_video(self, video_id: str) -> bool:
        """Take a video and all its rows out; False when it was not there. Nothing else is touched."""
        return bool(self.remove_videos([video_id]))

    def remove_videos(self, video_ids: Iterable[str]) -> list[str]:
        """Take videos and all their rows out, and nothing else; the ids of those that were there, in order.

        They are gone from sight in one commit. Their masks lie beside the index: `remove_masks`.
        """
        return committing.remove_videos(self.location, self.tables, video_ids)

    def get_fence(self, video_id: str) -> int | None:
        """The fencing token a video was committed under, or None. A lease made anew must count on from it."""
        row = self.snapshot().get_video_row(video_id)
        return None if row is None else int(row["fence"])

    def get_generation(self, video_id: str) -> str | None:
        """The write whose rows of a video are in force, or None when the video is not in the index."""
        row = self.snapshot().get_video_row(video_id)
        return None if row is None else str(row["generation"])

    def get_video(self, video_id: str) -> Video | None:
        """The video, or None when it is not (wholly) in the index."""
        return self.snapshot().get_video(video_id)

    def get_models(self, video_id: str) -> ModelNames | None:
        """Which models made a video's rows, or None when it is not in the index."""
        return self.snapshot().get_models(video_id)

    def list_videos(self) -> list[Video]:
        """Every video, by address."""
        return self.snapshot().list_videos()

    def find_complete(self, video_ids: Iterable[str]) -> set[str]:
        """Those of the videos whose rows are all there."""
        return self.snapshot().find_complete(video_ids)

    def get_object(self, object_id: str) -> IndexedObject | None:
        """One object with its thumbnail, or None."""
        return self.snapshot().get_object(object_id)

    def get_moments(self, object_id: str) -> list[Moment]:
        """An object's moments in time order; empty when it is not in the index."""
        return self.snapshot().get_moments(object_id)

    def iterate_objects(
        self, video_ids: Sequence[str] | None = None
    ) -> Iterator[tuple[IndexedObject, list[Moment]]]:
        """Every object with its moments, by video address and time, a few in memory at once.

        Thumbnails and vectors are left out. `video_ids` narrows it to some videos. Each video is read as it
        is when its turn comes; one that was removed by then is passed over.
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
        yield from self.snapshot().iterate_labelled_objects(video_id)

    def count_rows(self) -> RowCounts:
        """Rows in sight of each table."""
        return self.snapshot().count_rows()

    def optimize(self) -> keeping.Optimized:
        """Compact the tables and bring their indexes up to date, one process at a time: see `keeping`.

        Rows that were added since the last call are found without it, only more slowly.
        """
        return keeping.optimize_tables(self.location, self._connection, self.tables, self.snapshot)

    def remove_orphans(self) -> int:
        """Delete rows that no video's row names, which broken-off writes leave; how many there were."""
        return keeping.remove_orphans(self.location, self._connection, self.tables, self.snapshot)

    def _check_dimensions(self, kind: str, found: int, wanted: int | None) -> None:
        if wanted is not None and found != wanted:
            raise StoreError(
                f"The index at {self.location} holds {kind} vectors of {found} numbers",
                expected=f"{wanted}, which the chosen models give",
                do="choose the models it was made with, or index into another folder",
            )


def _check_video(items: Iterable[Any], video: Video) -> Iterator[Any]:
    for item in items:
        assert (item.video_id, item.uri) == (video.video_id, video.uri), f"{item} is not of {video}"
        yield item


def _check_vectors(moment: Moment, index: Snapshot) -> None:
    assert len(moment.text_vector) == index.text_dimensions, (
        f"moment {moment.moment_id} has a text vector of {len(moment.text_vector)} numbers, "
        f"the index holds {index.text_dimensions}"
    )
    assert len(moment.object_vector) in (0, index.object_dimensions), (
        f"moment {moment.moment_id} has an object vector of {len(moment.object_vector)} numbers, "
        f"the index holds {index.object_dimensions}"
    )
