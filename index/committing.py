"""How a video comes into force and goes: rows first, then one flip of its row, then the old rows' removal.

A folder has a lock, so one writer is at work at a time. On S3 there is none. There the flip itself settles
who wins: it names the generation that it replaces, and LanceDB repeats it on the newest version when another
commit came between, so a flip that was overtaken changes nothing and is tried again or given up. Old rows are
deleted only where nobody can still be waiting to bring them into force.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from tubelet.errors import StaleCommitError, StoreError
from tubelet.index.location import lock_writers
from tubelet.index.opening import Tables
from tubelet.index.sql import join_all, join_any, make_name_filter, match_name, quote
from tubelet.index.tables import count_rows, delete_rows, explain_failure, read_rows
from tubelet.records import Video

FLIP_ATTEMPTS = 20
"""Flips of other committers of the same video that may come between."""

ORPHAN_AGE = timedelta(minutes=30)
"""Without a lock, rows out of sight may be of a write under way until they are so old.

Less than how long `optimize` keeps versions, by which the age is told.
"""

IDS_A_DELETE = 500
NOTHING = "false"

log = logging.getLogger(__name__)


class Commit:
    """One write of a video, between its first row and its end."""

    def __init__(
        self, location: str, tables: Tables, video: Video, *, fence: int, generation: str, is_alone: bool
    ) -> None:
        self._location = location
        self._tables = tables
        self._video = video
        self._fence = fence
        self._generation = generation
        self._is_alone = is_alone
        self.flipping = False
        self.replaced: list[tuple[str, str]] = []

    def check_fence(self) -> dict[str, Any] | None:
        """The row in force of the video, or None. Raises StaleCommitError when its lease is newer."""
        where = match_name("video_id", self._video.video_id)
        rows = _read_videos(self._tables, where)
        if rows and rows[0]["fence"] > self._fence:
            raise StaleCommitError(
                f"Video {self._video.video_id} was committed to {self._location} under lease "
                f"{rows[0]['fence']}, and this commit's is {self._fence}",
                expected="the newest lease of the video",
                do="leave it: the newer commit stands, and nothing of this one is in the index",
            )
        return rows[0] if rows else None

    def flip(self, row: dict[str, Any]) -> None:
        """Bring the rows of this write into force, in place of what the video's id or address had."""
        videos = self._tables.videos
        if not self._is_alone:
            self._check_rows(row)
        batch = pa.Table.from_pylist([row], schema=videos.schema)
        same_address = join_all(
            [match_name("uri", self._video.uri), f"video_id <> {quote(self._video.video_id)}"]
        )
        assert same_address is not None, "it has two parts"
        for _ in range(FLIP_ATTEMPTS):
            before = self.check_fence()
            others = _read_videos(self._tables, same_address)
            merge = videos.merge_insert("video_id").when_not_matched_insert_all()
            if before is not None:
                own = f"target.generation = {quote(before['generation'])}"
                merge.when_matched_update_all(where=f"target.fence <= source.fence AND {own}")
            elif others:  # a changed file: one commit takes the old video out and the new one in
                merge.when_not_matched_by_source_delete(same_address)
            self.flipping = True
            with explain_failure(videos.uri, "written"):
                done = merge.execute(batch)
            if done.num_updated_rows or done.num_inserted_rows:
                if before is not None and others:
                    delete_rows(videos, same_address)
                gone = [before] if before is not None else []
                self.replaced = [(each["video_id"], each["generation"]) for each in (*gone, *others)]
                return
            self.flipping = False
        raise StaleCommitError(
            f"Video {self._video.video_id} is being committed to {self._location} by others all the time",
            expected="one committer of a video at a time",
            do="find out who else indexes it",
        )

    def _check_rows(self, row: dict[str, Any]) -> None:
        """Whoever writes for longer than `ORPHAN_AGE` may have lost rows to an optimize."""
        own = match_name("generation", self._generation)
        for table, expected in (
            (self._tables.tubelets, row["num_objects"]),
            (self._tables.moments, row["num_moments"]),
        ):
            if count_rows(table, own) != expected:
                raise StoreError(
                    f"Rows of video {self._video.video_id} were removed before they were committed",
                    expected=f"a write that takes less than {ORPHAN_AGE}",
                    do="index the video again",
                )


@contextmanager
def commit_video(
    location: str, tables: Tables, video: Video, *, fence: int, generation: str
) -> Iterator[Commit]:
    """Surround the writing of a video's rows and their flip; afterwards the rows out of sight are deleted.

    Raises StaleCommitError at once when a newer lease has committed.
    """
    own = match_name("video_id", video.video_id)
    written = join_all([own, match_name("generation", generation)])
    with lock_writers(location) as is_alone:
        commit = Commit(location, tables, video, fence=fence, generation=generation, is_alone=is_alone)
        commit.check_fence()
        try:
            yield commit
        except BaseException:
            if not commit.flipping:  # else nobody knows whether it is in force
                with suppress(StoreError):
                    _delete_rows(tables, written)
            raise
        try:
            if is_alone:
                either = join_any([own, match_name("uri", video.uri)])
                _delete_rows(tables, join_all([either, f"generation <> {quote(generation)}"]))
            else:
                for video_id, replaced in commit.replaced:
                    gone = [match_name("video_id", video_id), match_name("generation", replaced)]
                    _delete_rows(tables, join_all(gone))
        except StoreError as error:
            log.warning("Replaced rows of %s stay, unseen, until the next optimize: %s", video.uri, error)


def remove_videos(location: str, tables: Tables, video_ids: Iterable[str]) -> list[str]:
    """Delete videos and their rows; the ids of those that were there."""
    wanted = list(dict.fromkeys(video_ids))
    removed: set[str] = set()
    with lock_writers(location) as is_alone:
        for first in range(0, len(wanted), IDS_A_DELETE):
            some = make_name_filter("video_id", wanted[first : first + IDS_A_DELETE])
            found = _read_videos(tables, some)
            delete_rows(tables.videos, some)
            removed |= {row["video_id"] for row in found}
            rows: str | None = some
            if not is_alone:  # rows of a write under way are left to it
                generations = [row["generation"] for row in found]
                rows = join_all([some, make_name_filter("generation", generations)]) if found else NOTHING
            _delete_rows(tables, rows)
    return [video_id for video_id in wanted if video_id in removed]


def find_old_version(table: Any, age: timedelta) -> int | None:
    """The newest version of a table that is older than `age`, or None."""
    with explain_failure(table.uri, "read"):
        versions = table.list_versions()
    limit = datetime.now() - age
    old = [version["version"] for version in versions if version["timestamp"] <= limit]
    return max(old, default=None)


def _read_videos(tables: Tables, where: str) -> list[dict[str, Any]]:
    request = tables.videos.search().where(where).select(["video_id", "uri", "generation", "fence"])
    rows: list[dict[str, Any]] = read_rows(tables.videos, request.limit(None)).to_pylist()
    return rows


def _delete_rows(tables: Tables, where: str | None) -> None:
    assert where is not None, "never everything"
    for table in (tables.moments, tables.tubelets):
        delete_rows(table, where)
