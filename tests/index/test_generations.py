"""Replacing a video: readers see the old one or the new one, whole, at every moment and after every crash."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.index.factories import MODELS, TEXT_DIMENSIONS, group_objects, make_moment, make_vector, make_video
from tests.index.writing import break_off, count_stored, list_visible, put
from tubelet.errors import QueryError, StoreError
from tubelet.index import committing
from tubelet.index.committing import Commit
from tubelet.index.query import parse_query
from tubelet.index.search import search_page
from tubelet.index.snapshot import RowCounts
from tubelet.index.store import IndexStore


def list_found(store: IndexStore, exact_max_rows: int = 50_000) -> tuple[list[str], int]:
    """Ids of the moments that a search finds, and how many it says there are."""
    page = search_page(store, parse_query("grey"), make_vector(1), limit=100, exact_max_rows=exact_max_rows)
    return sorted(hit.moment_id for hit in page.hits), page.num_moments


def test_at_every_step_of_a_replacement_a_reader_sees_one_whole_video(
    store: IndexStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video()
    put(store, video, 1, 2, 3)
    put(store, make_video("v2"), 1)
    reader = IndexStore.open(tmp_path)
    seen: list[tuple[str, list[str], tuple[list[str], int], RowCounts]] = []

    def look(step: str) -> None:
        seen.append((step, list_visible(reader), list_found(reader), reader.count_rows()))

    def stream(items: Any, step: str) -> Any:
        for item in items:
            look(step)
            yield item

    flip, delete = Commit.flip, committing._delete_rows

    def look_and_flip(commit: Commit, row: dict[str, Any]) -> None:
        look("old")
        flip(commit, row)
        look("new")

    def delete_and_look(*arguments: Any) -> None:
        delete(*arguments)
        look("new")

    monkeypatch.setattr(Commit, "flip", look_and_flip)
    monkeypatch.setattr(committing, "_delete_rows", delete_and_look)
    moments = [make_moment(number, video) for number in (3, 4)]
    store.replace_video(video, stream(group_objects(moments), "old"), stream(moments, "old"), MODELS)

    old, new = ["v1-m1", "v1-m2", "v1-m3", "v2-m1"], ["v1-m3", "v1-m4", "v2-m1"]
    assert [step for step, *_ in seen] == ["old"] * 5 + ["new"] * 2
    for step, visible, found, counts in seen:
        expected = old if step == "old" else new
        assert visible == expected
        assert found == (expected, len(expected))
        assert counts == RowCounts(2, len(expected), len(expected))


def test_ids_stay_and_the_generation_changes(store: IndexStore) -> None:
    put(store, make_video(), 1)
    first = store.get_generation("v1")
    put(store, make_video(), 1)
    assert first != store.get_generation("v1") is not None
    moments = [make_moment(1)]
    store.replace_video(make_video(), group_objects(moments), moments, MODELS, generation="mine")
    assert store.get_generation("v1") == "mine"
    assert store.get_moments("v1-o1") == moments
    assert store.get_generation("v2") is store.get_fence("v2") is None


@pytest.mark.parametrize("exact_max_rows", [50_000, 0], ids=["exact", "by candidates"])
def test_orphans_crowd_nothing_out_and_the_next_write_or_optimize_removes_them(
    store: IndexStore, exact_max_rows: int
) -> None:
    put(store, make_video("v1"), 1, 2)
    put(store, make_video("v2"), 1)
    for name in ("v1", "v2", "v3"):
        break_off(store, make_video(name), *range(1, 1200), text_vector=make_vector(1))
    assert list_found(store, exact_max_rows) == (["v1-m1", "v1-m2", "v2-m1"], 3)
    assert list_visible(store) == ["v1-m1", "v1-m2", "v2-m1"]
    assert store.get_object("v3-o1") is None
    assert store.get_moments("v1-o900") == []

    put(store, make_video("v1"), 7)
    assert count_stored(store) == {"v1": 1, "v2": 1200, "v3": 1199}
    assert store.optimize().num_orphans == 2 * 2 * 1199
    assert count_stored(store) == {"v1": 1, "v2": 1}
    assert list_found(store, exact_max_rows) == (["v1-m7", "v2-m1"], 2)


def test_old_rows_that_cannot_be_deleted_are_told_and_not_seen(
    store: IndexStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, make_video(), 1, 2)

    def fail(*_: Any) -> None:
        raise StoreError("no room")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(committing, "_delete_rows", fail)
        put(store, make_video(), 3)
    assert "until the next optimize: no room" in caplog.text
    assert list_visible(store) == ["v1-m3"]
    assert count_stored(store) == {"v1": 3}
    assert store.remove_orphans() == 4
    assert count_stored(store) == {"v1": 1}


def test_a_moved_file_takes_the_address_of_another(store: IndexStore) -> None:
    put(store, make_video("v1", uri="/a.mp4"), 1)
    put(store, make_video("v2", uri="/b.mp4"), 1)
    put(store, make_video("v1", uri="/b.mp4"), 1)
    assert [(video.video_id, video.uri) for video in store.list_videos()] == [("v1", "/b.mp4")]
    assert count_stored(store) == {"v1": 1}


def test_a_snapshot_stays_as_it_was(store: IndexStore) -> None:
    before = put(store, make_video("v1"), 1)
    snapshot, version = store.snapshot(), store.version
    assert store.snapshot() is snapshot  # nothing changed: nothing is opened anew
    put(store, make_video("v1"), 2)
    store.remove_video("v1")
    assert store.version != version
    assert store.list_videos() == []
    for then in (snapshot, store.at_version(version)):
        assert then.get_moments("v1-o1") == before
        assert then.count_rows() == RowCounts(1, 1, 1)
        rows = then.moments.to_arrow()
        assert then.keep_visible(rows).num_rows == 1
    everything = snapshot.moments.to_arrow()
    assert store.snapshot().keep_visible(everything).num_rows == 0


@pytest.mark.parametrize("version", ["", "1", "a.b.c", "1.2.3.4", "0.1.1", "9999.1.1", "1.1.-4"])
def test_what_is_no_version_is_refused(store: IndexStore, version: str) -> None:
    with pytest.raises(StoreError, match="version"):
        store.at_version(version)


@pytest.mark.filterwarnings("ignore:.*removes every version except the latest")
def test_pages_go_on_with_the_index_as_it_was(tmp_path: Path) -> None:
    store = IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    put(store, make_video(), *range(10))
    whole, _ = list_found(store)
    first = search_page(store, parse_query("grey"), make_vector(1), limit=5)
    put(store, make_video(), 20)
    second = search_page(store, parse_query("grey"), make_vector(1), limit=5, cursor=first.next_cursor)
    assert sorted(hit.moment_id for hit in (*first.hits, *second.hits)) == whole

    for table in store.tables:  # as an hour and an optimize later
        table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    with pytest.raises(QueryError, match="no longer kept"):
        search_page(
            IndexStore.open(tmp_path),
            parse_query("grey"),
            make_vector(1),
            limit=5,
            cursor=first.next_cursor,
        )
