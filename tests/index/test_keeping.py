"""Optimizing, orphans and removal: under locks that let others work, and nothing else is touched."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.index.conftest import OpenStore
from tests.index.factories import make_video
from tests.index.writing import break_off, count_stored, list_visible, put
from tubelet.errors import StoreError
from tubelet.index import committing, keeping, location
from tubelet.index.background import optimize_in_background
from tubelet.index.snapshot import RowCounts
from tubelet.index.statistics import measure_index
from tubelet.index.store import IndexStore


def test_writers_go_on_while_indexes_are_built(
    store: IndexStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The locks are told apart by writing from inside of the building; one lock would time out."""
    monkeypatch.setattr(location, "LOCK_TIMEOUT_S", 0.05)
    put(store, make_video("v1"), 1)
    build, writer = keeping._create_search_indexes, IndexStore.open(tmp_path)
    written: list[str] = []

    def write_and_build(moments: Any, indexed: set[str]) -> list[str]:
        put(writer, make_video("v2"), 1, 2)
        built = build(moments, indexed)
        put(writer, make_video("v1"), 3)
        written.append("both")
        with pytest.raises(StoreError, match="locked by another optimize"):
            writer.optimize()
        return built

    monkeypatch.setattr(keeping, "_create_search_indexes", write_and_build)
    assert "moments.words" in store.optimize().built
    assert written == ["both"]
    assert list_visible(store) == ["v1-m3", "v2-m1", "v2-m2"]
    assert count_stored(store) == {"v1": 1, "v2": 2}


def test_a_conflict_with_a_writer_is_tried_again() -> None:
    class Table:
        calls = 0
        error = RuntimeError("Retryable commit conflict for version 7")

        def optimize(self, **_: Any) -> None:
            self.calls += 1
            if self.calls < 3:
                raise self.error

    keeping._compact(table := Table())
    assert table.calls == 3
    broken = Table()
    broken.error = RuntimeError("disk full")
    with pytest.raises(RuntimeError, match="disk full"):
        keeping._compact(broken)
    assert broken.calls == 1


def test_optimizing_in_a_process_of_its_own(store: IndexStore, tmp_path: Path) -> None:
    put(store, make_video(), 1)
    break_off(store, make_video("v2"), 1)
    under_way = optimize_in_background(str(tmp_path))
    try:
        done = under_way.wait()
        assert done is not None
        assert done.num_orphans == 2
        assert "moments.words" in done.built
        assert not under_way.is_running
    finally:
        under_way.stop()
    failing = optimize_in_background(str(tmp_path / "nowhere"))
    try:
        with pytest.raises(StoreError, match="no index"):
            failing.wait()
    finally:
        failing.stop()


@pytest.mark.usefixtures("without_lock")
def test_without_a_lock_only_old_orphans_go(store: IndexStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, make_video("v1"), 1)
    break_off(store, make_video("v1"), 2, 3)
    assert store.optimize().num_orphans == 0
    assert count_stored(store) == {"v1": 3}
    monkeypatch.setattr(keeping, "ORPHAN_AGE", timedelta(0))
    assert store.optimize().num_orphans == 4
    assert count_stored(store) == {"v1": 1}


@pytest.mark.usefixtures("without_lock")
def test_removal_leaves_the_rows_of_a_write_under_way(store: IndexStore) -> None:
    put(store, make_video("v1"), 1)
    break_off(store, make_video("v1"), 2)
    assert store.remove_videos(["v1"]) == ["v1"]
    assert count_stored(store) == {"v1": 1}


def test_removing_many_videos_removes_nothing_else(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "IDS_A_DELETE", 2)
    store = open_store()
    for number in range(5):
        put(store, make_video(f"v{number}"), number)
    assert store.remove_videos(["v3", "nobody", "v0", "v4", "v3"]) == ["v3", "v0", "v4"]
    assert store.remove_videos([]) == store.remove_videos(["v0"]) == []
    assert list_visible(store) == ["v1-m1", "v2-m2"]
    assert count_stored(store) == {"v1": 1, "v2": 1}


def test_statistics_tell_rows_orphans_and_what_is_not_indexed(store: IndexStore) -> None:
    put(store, make_video("v1"), 1, 2)
    store.optimize()
    put(store, make_video("v2"), 1)
    break_off(store, make_video("v3"), 1, 2, 3)
    found = measure_index(store)
    assert found.counts == RowCounts(2, 3, 3)
    assert (found.text_dimensions, found.object_dimensions) == (8, 0)
    tables = {table.name: table for table in found.tables}
    assert {name: (table.rows, table.orphans) for name, table in tables.items()} == {
        "videos": (2, 0),
        "tubelets": (6, 3),
        "moments": (6, 3),
    }
    assert tables["moments"].bytes > 0
    assert tables["moments"].versions > 1
    assert {index.column: index.num_unindexed for index in tables["moments"].indexes}["words"] == 4
    store.optimize()
    assert {index.num_unindexed for table in measure_index(store).tables for index in table.indexes} == {0}


def test_an_optimize_waits_for_another(
    store: IndexStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "LOCK_TIMEOUT_S", 0.05)
    with FileLock(tmp_path / "keeping.lock"):
        put(store, make_video(), 1)  # writers do not wait
        with pytest.raises(StoreError, match="locked by another optimize"):
            store.optimize()
    store.optimize()
