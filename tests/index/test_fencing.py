"""Two committers of one video: the newer lease wins, in a folder and on S3, and nothing is mixed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tests.index.conftest import OpenStore
from tests.index.factories import MODELS, group_objects, make_moment, make_video
from tests.index.writing import count_stored, list_visible, put
from tubelet.errors import StaleCommitError, StoreError
from tubelet.index import committing
from tubelet.index.store import IndexStore
from tubelet.index.verification import verify_index


def test_an_older_lease_is_refused_before_a_row_is_written(store: IndexStore) -> None:
    put(store, make_video(), 1, fence=7)
    version = store.version
    with pytest.raises(StaleCommitError, match=r"under lease 7, and this commit's is 6"):
        put(store, make_video(), 2, 3, fence=6)
    assert store.version == version
    for fence in (7, 8):  # the same lease may commit again
        put(store, make_video(), fence, fence=fence)
        assert list_visible(store) == [f"v1-m{fence}"]
        assert store.get_fence("v1") == fence


def test_a_changed_file_is_another_video_with_leases_of_its_own(store: IndexStore) -> None:
    put(store, make_video("old", uri="/a.mp4"), 1, fence=7)
    put(store, make_video("new", uri="/a.mp4"), 1, fence=1)
    assert list_visible(store) == ["new-m1"]


def test_after_removal_any_lease_may_commit(store: IndexStore) -> None:
    put(store, make_video(), 1, fence=7)
    store.remove_video("v1")
    put(store, make_video(), 2, fence=1)
    assert list_visible(store) == ["v1-m2"]


@pytest.mark.usefixtures("without_lock")
@pytest.mark.parametrize("is_there", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize(("other", "wins"), [(1, True), (9, False)])
def test_a_flip_that_is_overtaken_is_repeated_or_refused(
    store: IndexStore, monkeypatch: pytest.MonkeyPatch, is_there: bool, other: int, wins: bool
) -> None:
    """Another committer comes into force just before the flip, when all has been looked at."""
    video = make_video()
    if is_there:
        put(store, video, 1)
    read, started = committing._read_videos, []

    def overtake(tables: Any, where: str) -> Any:
        found = read(tables, where)
        if "uri" in where and not started:
            started.append(True)
            put(store, video, 2, fence=other)
        return found

    monkeypatch.setattr(committing, "_read_videos", overtake)
    if wins:
        put(store, video, 3, fence=5)
    else:
        with pytest.raises(StaleCommitError):
            put(store, video, 3, fence=5)
    assert started
    assert list_visible(store) == ["v1-m3" if wins else "v1-m2"]
    assert store.get_fence("v1") == (5 if wins else other)
    assert count_stored(store) == {"v1": 1}
    assert verify_index(store.snapshot()).is_sound


def test_of_committers_at_the_same_time_the_newest_lease_stays(open_store: OpenStore) -> None:
    committers = 3
    stores = [open_store() for _ in range(committers)]
    for round_ in range(2):
        video = make_video(f"v{round_}")
        ready = Barrier(committers)

        def commit(place: int, video: Any = video, ready: Barrier = ready) -> str:
            moments = [make_moment(10 * place + number, video) for number in range(place + 1)]
            ready.wait(timeout=60)
            try:
                stores[place].replace_video(video, group_objects(moments), moments, MODELS, fence=place)
            except StaleCommitError:
                return "refused"
            return "committed"

        with ThreadPoolExecutor(committers) as pool:
            told = list(pool.map(commit, range(committers)))
        assert told[-1] == "committed"
        reader = open_store()
        newest = committers - 1
        assert reader.get_fence(video.video_id) == newest
        assert [item.object_id for item, _ in reader.iterate_objects([video.video_id])] == [
            f"{video.video_id}-o{10 * newest + number}" for number in range(committers)
        ]
        assert verify_index(reader.snapshot()).is_sound


@pytest.mark.usefixtures("without_lock")
def test_rows_that_an_optimize_took_away_are_missed_before_the_flip(store: IndexStore) -> None:
    """A write that takes longer than orphans are left alone must not come into force without its rows."""
    put(store, make_video(), 1)
    moments = [make_moment(2), make_moment(3)]

    def lose_rows() -> Any:
        yield from moments
        store.tables.tubelets.delete("object_id = 'v1-o2'")

    with pytest.raises(StoreError, match="removed before they were committed"):
        store.replace_video(make_video(), group_objects(moments), lose_rows(), MODELS)
    assert list_visible(store) == ["v1-m1"]
