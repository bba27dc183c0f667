"""Columns held in memory: the same whether read anew or made from those of another version."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.index.factories import (
    MODELS,
    TEXT_DIMENSIONS,
    group_objects,
    make_attributes,
    make_moment,
    make_video,
)
from tubelet.index.held_columns import HELD, HeldColumns
from tubelet.index.store import IndexStore
from tubelet.records import Likelihoods


def put(store: IndexStore, name: str, *, moments: int = 12, colours: tuple[str, ...] = ("red",)) -> None:
    video = make_video(name)
    likely = Likelihoods(colours, (0.5,) * len(colours), ("left",), (0.8,))
    made = [
        make_moment(n, video, attributes=make_attributes(*colours), likely=likely if n % 2 else Likelihoods())
        for n in range(moments)
    ]
    store.replace_video(video, group_objects(made), made, MODELS)


def list_rows(columns: HeldColumns) -> list[dict[str, object]]:
    rows = columns.table.select(sorted(HELD)).to_pylist()
    return [{"row_id": row_id, **row} for row_id, row in zip(columns.row_ids.tolist(), rows, strict=True)]


def read_anew(store: IndexStore) -> list[dict[str, object]]:
    snapshot = store.snapshot()
    return list_rows(HeldColumns.load(snapshot.moments, snapshot.generations, None))


def hold(store: IndexStore) -> list[dict[str, object]]:
    columns = store.snapshot().hold_columns()
    assert columns is not None
    return list_rows(columns)


CHANGES: dict[str, Callable[[IndexStore], object]] = {
    "nothing": lambda store: None,
    "a video comes": lambda store: put(store, "v9", moments=2, colours=("blue", "teal")),
    "many come": lambda store: put(store, "v9", moments=100),
    "one is replaced": lambda store: put(store, "v1", moments=3, colours=("teal", "grey")),
    "one goes": lambda store: store.remove_video("v1"),
    "all go": lambda store: store.remove_videos(["v0", "v1", "v2"]),
    "rows are moved": lambda store: store.optimize(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_next_version_is_what_is_read_anew(store: IndexStore, change: str) -> None:
    for name in ("v0", "v1", "v2"):
        put(store, name)
    before = hold(store)
    assert len(before) == 36
    old = store.version
    CHANGES[change](store)
    assert hold(store) == read_anew(store)
    assert len(hold(store)) == store.count_rows().moments
    if change != "rows are moved":  # and back, as the page of an older cursor does
        columns = store.at_version(old).hold_columns()
        assert columns is not None
        assert list_rows(columns) == before


def test_rows_are_found_by_their_video_and_by_their_object(store: IndexStore) -> None:
    for name, moments in (("v0", 5), ("v1", 7), ("v2", 2)):
        put(store, name, moments=moments)
    store.remove_video("v2")
    columns = store.snapshot().hold_columns()
    assert columns is not None
    rows = columns.table.select(["video_id", "object_id"]).to_pylist()
    for name in ("v0", "v1", "v2", "nowhere"):
        places = columns.list_of_video(name).tolist()
        assert places == [place for place, row in enumerate(rows) if row["video_id"] == name]
    some = np.array([0, 6, 7])
    names = {rows[place]["object_id"] for place in some.tolist()}
    assert columns.find_same("object_id", some).tolist() == [row["object_id"] in names for row in rows]
    empty = columns.take(np.empty(0, dtype=np.int64))
    assert empty.list_of_video("v0").tolist() == []
    assert empty.find_same("object_id", np.empty(0, dtype=np.int64)).tolist() == []


def test_an_index_in_the_place_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    """Its rows have the same ids."""

    def open_store() -> IndexStore:
        return IndexStore.open(
            tmp_path / "index", create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0
        )

    put(open_store(), "v1", colours=("red",))
    first = open_store().snapshot().hold_columns()
    shutil.rmtree(tmp_path / "index")
    second = open_store()
    put(second, "v1", colours=("blue",))
    snapshot = second.snapshot()
    assert list_rows(HeldColumns.load(snapshot.moments, snapshot.generations, first)) == read_anew(second)


def test_rows_of_a_broken_off_write_are_not_held(store: IndexStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "v1")
    monkeypatch.setattr("tubelet.index.committing.Commit.flip", lambda *_: 1 / 0)
    monkeypatch.setattr("tubelet.index.committing._delete_rows", lambda *_: None)
    with pytest.raises(ZeroDivisionError):
        put(store, "v1", colours=("blue",))
    assert store.moments.count_rows() == 24
    assert [row["colours"] for row in hold(store)] == [["red"]] * 12


def test_too_many_moments_are_not_held(store: IndexStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "v1")
    monkeypatch.setattr("tubelet.index.snapshot.MAX_HELD_ROWS", 11)
    assert store.snapshot().hold_columns() is None
