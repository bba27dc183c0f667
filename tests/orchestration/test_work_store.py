"""Chunk results are kept once, whole, in a folder or on S3, and what killed processes left is cleared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.s3_server import bucket as bucket
from tests.s3_server import s3_client as s3_client
from tests.s3_server import s3_options as s3_options
from tests.s3_server import s3_server as s3_server
from tubelet.errors import ObjectMissingError, StoreError, TransientStoreError
from tubelet.orchestration.work_store import WorkStore
from tubelet.records import Chunk, Video
from tubelet.settings import Settings
from tubelet.workers.s3 import S3Options
from tubelet.workers.scratch import Scratch

CHUNK = Chunk("v1-00000-0-60000-4000", "v1", 0, 0.0, 60.0, 0.0, 64.0)
VIDEO = Video("v1", "/v.mp4", "blake2b:1", 60.0, 25.0, 25.0, 1500, 640, 360, 0, "h264", False)


@pytest.fixture(params=["home", "folder", "s3"])
def work(request: pytest.FixtureRequest, tmp_path: Path) -> WorkStore:
    if request.param == "home":
        return WorkStore(tmp_path / "home")
    if request.param == "folder":
        return WorkStore(Settings(home=tmp_path / "home", work_uri=str(tmp_path / "shared")))
    name = request.getfixturevalue("bucket")
    s3: S3Options = request.getfixturevalue("s3_options")
    return WorkStore(
        Settings(
            home=tmp_path / "home",
            work_uri=f"s3://{name}/work",
            s3_endpoint_url=s3.endpoint_url or "",
            s3_region=s3.region or "",
        )
    )


def write(content: str) -> Callable[[Path], None]:
    """Writes as `write_chunk_result` does: a file beside it, then the name."""

    def write_file(path: Path) -> None:
        beside = path.parent / ".writing-x"
        beside.write_text(content)
        beside.rename(path)

    return write_file


def read(work: WorkStore, key: str) -> str:
    with work.borrow_chunk(key) as path:
        return path.read_text()


def test_a_result_is_kept_once_and_read_by_others(work: WorkStore) -> None:
    key = work.chunk_key("v1", "d1", CHUNK.chunk_id)
    assert not work.has_chunk(key)
    with pytest.raises(ObjectMissingError), work.borrow_chunk(key):
        pass
    work.keep_chunk(key, write("first"))
    work.keep_chunk(key, write("second"))
    assert work.has_chunk(key)
    assert read(work, key) == "first"
    work.keep_chunk(key, write("by a newer version"), replace=True)
    assert read(work, key) == "by a newer version"


def test_results_are_listed_and_forgotten_by_options(work: WorkStore) -> None:
    keys = [work.chunk_key("v1", "d1", f"v1-{number:05d}") for number in range(3)]
    others = [work.chunk_key("v1", "d2", "v1-00000"), work.chunk_key("v12", "d1", "v12-00000")]
    for key in [*reversed(keys), *others]:
        work.keep_chunk(key, write(key))
    assert work.list_chunks("v1", "d1") == keys
    work.remove_video("v1", "d1")
    assert work.list_chunks("v1", "d1") == []
    assert [work.has_chunk(key) for key in others] == [True, True]
    work.remove_video("v1")
    assert [work.has_chunk(key) for key in others] == [False, True]


def test_a_writer_that_fails_leaves_nothing(work: WorkStore) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise ZeroDivisionError

    key = work.chunk_key("v1", "d1", "c")
    with pytest.raises(ZeroDivisionError):
        work.keep_chunk(key, fail)
    assert not work.has_chunk(key)
    work.keep_chunk(key, write("whole"))
    assert read(work, key) == "whole"


def test_a_full_disk_while_writing_is_transient(work: WorkStore) -> None:
    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(TransientStoreError):
        work.keep_chunk("k", fail)


def test_ids_that_would_leave_the_store_are_refused(work: WorkStore) -> None:
    for video_id, digest, chunk_id in (("../v", "d", "c"), ("v", "..", "c"), ("v", "d", "../../c")):
        with pytest.raises(StoreError, match="is no key"):
            work.has_chunk(work.chunk_key(video_id, digest, chunk_id))
    with pytest.raises(StoreError, match="no prefix"):
        work.remove_video("..")


def test_paths_and_keys_name_the_same_results(tmp_path: Path) -> None:
    work = WorkStore(tmp_path / "home")
    path = work.chunk_path(VIDEO, CHUNK, "d1")
    assert path == tmp_path / "home/work/chunks/v1/d1" / f"{CHUNK.chunk_id}.arrow"
    path.parent.mkdir(parents=True)
    path.write_text("x")
    assert work.has_chunk(work.chunk_key("v1", "d1", CHUNK.chunk_id))


def test_claiming_clears_what_a_killed_run_left_and_keeps_results(tmp_path: Path) -> None:
    work = WorkStore(tmp_path / "home")
    key = work.chunk_key("v1", "d1", "c")
    work.keep_chunk(key, write("whole"))
    with Scratch(tmp_path / "home/work/.scratch").make_folder() as dead:
        pass
    dead.mkdir()  # as if its process had been killed in there
    Path(f"{dead}.lock").touch()
    half = dead / ".writing-abc"
    half.write_text("half")
    (work.downloads / "tubelet-x.video").write_text("half")
    with work.claim():
        assert not half.exists()
        assert not (tmp_path / "home/work/downloads").exists()
        with pytest.raises(StoreError, match="Another run"):
            WorkStore(tmp_path / "home").claim()
    assert read(work, key) == "whole"
