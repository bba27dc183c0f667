"""A full disk, a folder that may not be written, one that is gone: a clear error, and the index intact."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.index.factories import TEXT_DIMENSIONS, make_video
from tests.index.writing import count_stored, list_visible, put
from tubelet.errors import StoreError
from tubelet.index.store import IndexStore
from tubelet.index.verification import verify_index

ROOT = Path(__file__).parents[2]

PRELUDE = """
import json, os, resource, sys
from tests.index.factories import make_video
from tests.index.writing import put
from tubelet.errors import StoreError
from tubelet.index.query import parse_query
from tubelet.index.search import search_moments
from tubelet.index.store import IndexStore

folder, told = sys.argv[1], {}

def attempt(name, act):
    try:
        told[name] = act()
    except StoreError as error:
        told[name] = str(error)

store = IndexStore.open(folder, create=True, text_dimensions=8, object_dimensions=0)
"""

FULL_DISK = (
    PRELUDE
    + """
put(store, make_video("v1"), 1, 2)
rows = [len(table) for table in store.tables]
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # files end there, as on a full disk
attempt("replaced", lambda: put(store, make_video("v1"), 3, thumbnail=os.urandom(200_000)))
attempt("new", lambda: put(store, make_video("v2"), 3, thumbnail=os.urandom(200_000)))
told["seen"] = [video.video_id for video in store.list_videos()]
told["found"] = [hit.moment_id for hit in search_moments(store, parse_query("grey"), None)]
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
put(store, make_video("v2"), 4)
print(json.dumps(told))
"""
)

READ_ONLY = (
    PRELUDE
    + """
import numpy.random  # all that is imported late, while every file may still be read
search_moments(IndexStore.open(folder), parse_query("grey"), None)
if os.geteuid() == 0:  # root may write anywhere
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
attempt("write", lambda: put(store, make_video("v1"), 3))
attempt("remove", lambda: store.remove_video("v1"))
attempt("optimize", store.optimize)
sizes = {"text_dimensions": 8, "object_dimensions": 0}
attempt("create", lambda: IndexStore.open(folder + "/sub", create=True, **sizes))
reader = IndexStore.open(folder)
told["found"] = [hit.moment_id for hit in search_moments(reader, parse_query("grey"), None)]
print(json.dumps(told))
"""
)


def run_child(program: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_disk_that_is_full_during_a_write_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    told = run_child(FULL_DISK, tmp_path)
    for name in ("replaced", "new"):
        assert "cannot be written" in told[name], told
        assert "what was committed before is intact" in told[name]
    assert told["seen"] == ["v1"]
    assert sorted(told["found"]) == ["v1-m1", "v1-m2"]
    store = IndexStore.open(tmp_path)
    assert list_visible(store) == ["v1-m1", "v1-m2", "v2-m4"]
    assert verify_index(store.snapshot()).is_sound


@pytest.mark.parametrize("left", [("moments",), ("videos", "tubelets", "moments")])
def test_a_disk_that_was_full_while_an_index_was_made_leaves_none(
    left: tuple[str, ...], tmp_path: Path
) -> None:
    """LanceDB leaves folders without a file then, and lists them as tables."""
    for name in left:
        for part in ("_versions", "_transactions"):
            (tmp_path / f"{name}.lance" / part).mkdir(parents=True)
    with pytest.raises(StoreError, match="no index"):
        IndexStore.open(tmp_path)
    store = IndexStore.open(tmp_path, create=True, text_dimensions=4, object_dimensions=0)
    assert store.list_videos() == []
    assert IndexStore.open(tmp_path).list_videos() == []


@pytest.mark.parametrize("name", ["videos", "tubelets", "moments"])
def test_a_table_that_another_process_is_making_is_missing_until_it_is_whole(
    tmp_path: Path, name: str
) -> None:
    """A transaction comes first and the version that makes it a table last; a killed process leaves that."""
    sizes = {"text_dimensions": TEXT_DIMENSIONS, "object_dimensions": 0}
    IndexStore.open(tmp_path / "index", create=True, **sizes)
    shutil.rmtree(tmp_path / "index" / f"{name}.lance" / "_versions")
    assert any((tmp_path / "index" / f"{name}.lance").rglob("*.txn"))
    with pytest.raises(StoreError, match="There is no index"):
        IndexStore.open(tmp_path / "index")
    store = IndexStore.open(tmp_path / "index", create=True, **sizes)
    put(store, make_video("v1"), 1)
    assert list_visible(IndexStore.open(tmp_path / "index"))


def test_a_table_whose_versions_are_lost_keeps_its_rows(tmp_path: Path) -> None:
    sizes = {"text_dimensions": TEXT_DIMENSIONS, "object_dimensions": 0}
    put(IndexStore.open(tmp_path / "index", create=True, **sizes), make_video("v1"), 1)
    table = tmp_path / "index" / "moments.lance"
    shutil.rmtree(table / "_versions")
    before = sorted(table.glob("data/*"))
    with contextlib.suppress(StoreError):
        IndexStore.open(tmp_path / "index", create=True, **sizes)
    assert before
    assert set(before) <= set(table.glob("data/*"))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may look into, which pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="tubelet-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for path in (folder, *folder.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(folder)


def test_a_folder_that_may_not_be_written_is_read(open_folder: Path) -> None:
    index = open_folder / "index"
    store = IndexStore.open(index, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    put(store, make_video("v1"), 1, 2)
    for path in (index, *index.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    told = run_child(READ_ONLY, index)
    for name in ("write", "remove", "optimize"):
        assert "cannot be locked" in told[name], told
        assert "correct its permissions" in told[name]
    assert "cannot be opened" in told["create"]
    assert sorted(told["found"]) == ["v1-m1", "v1-m2"]
    assert count_stored(IndexStore.open(index)) == {"v1": 2}


def test_a_folder_that_is_gone_is_missed_and_not_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    store = IndexStore.open(folder, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    put(store, make_video("v1"), 1)
    shutil.rmtree(folder)
    for act in (
        store.list_videos,
        lambda: put(store, make_video("v1"), 2),
        lambda: store.remove_video("v1"),
        store.optimize,
        lambda: IndexStore.open(folder),
    ):
        with pytest.raises(StoreError, match="index"):
            act()
    assert not folder.exists()


def test_a_vector_that_is_no_number_is_refused_and_the_next_write_works(tmp_path: Path) -> None:
    store = IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    put(store, make_video("v1"), 1)
    with pytest.raises(StoreError, match="cannot be written"):
        put(store, make_video("v1"), 2, text_vector=(float("nan"),) * TEXT_DIMENSIONS)
    assert list_visible(store) == ["v1-m1"]
    put(store, make_video("v1"), 3)
    assert count_stored(store) == {"v1": 1}


def test_a_damaged_table_is_an_error_that_names_it(tmp_path: Path) -> None:
    store = IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    put(store, make_video("v1"), 1)
    for file in tmp_path.glob("moments.lance/data/*"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"moments.* cannot be read"):
        verify_index(IndexStore.open(tmp_path).snapshot())
