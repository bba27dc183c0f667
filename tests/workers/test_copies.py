"""Copies of S3 videos: fetched once, shared, pinned while in use, and never more than there is room for."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread, local
from typing import Any

import pytest

from tests.s3_server import FaultyS3
from tubelet.errors import (
    SourceChangedError,
    SourceMissingError,
    TransientSourceError,
    TransientStoreError,
)
from tubelet.records import Source
from tubelet.workers import copies as copies_module
from tubelet.workers.copies import SourceCopies
from tubelet.workers.s3 import S3Options, find_object
from tubelet.workers.source import identify_file

MEGABYTE = 1 << 20

BORROWER = """
import sys
from pathlib import Path
from tubelet.records import Source
from tubelet.workers.copies import SourceCopies
from tubelet.workers.s3 import S3Options
folder, endpoint, uri, identity, size = sys.argv[1:]
copies = SourceCopies(Path(folder), S3Options(endpoint, "us-east-1", num_attempts=1), max_bytes=0)
with copies.borrow(Source(uri, identity, int(size))) as path:
    print(path, flush=True)
    sys.stdin.read()
"""


class Borrower:
    """A process that borrows a source until it is told to stop."""

    def __init__(self, folder: Path, options: S3Options, source: Source) -> None:
        words = [str(folder), str(options.endpoint_url), source.uri, source.identity, str(source.size_bytes)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", BORROWER, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for_path(self) -> Path:
        assert self.process.stdout is not None
        return Path(self.process.stdout.readline().strip())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def borrowers() -> Iterator[list[Borrower]]:
    started: list[Borrower] = []
    yield started
    for borrower in started:
        borrower.kill()


@pytest.fixture
def upload(s3_client: Any, bucket: str, s3_options: S3Options) -> Any:
    """Put an object into the bucket and find it as a source."""

    def put(key: str, content: bytes) -> Source:
        s3_client.put_object(Bucket=bucket, Key=key, Body=content)
        return find_object(bucket, key, s3_options)

    return put


def list_copies(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.glob("*.video"))


def run_in_threads(work: Callable[[], None], count: int) -> None:
    """Do the same in some threads at once, to the end."""
    threads = [Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_local_files_are_used_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("video")
    source = identify_file(path)
    copies = SourceCopies(tmp_path / "copies", S3Options(), max_bytes=0)
    with copies.borrow(source) as borrowed:
        assert borrowed == path
    assert path.exists()
    path.write_text("a longer video")
    with pytest.raises(SourceChangedError, match="changed after it was found"), copies.borrow(source):
        pass
    path.unlink()
    with pytest.raises(SourceMissingError), copies.borrow(source):
        pass
    assert not (tmp_path / "copies").exists()


@pytest.mark.parametrize("key", ["day 1/../ñ 車.mp4", "../../x", "empty.mp4"])
def test_an_object_is_fetched_once_and_named_without_its_key(
    upload: Any, faulty_s3: FaultyS3, tmp_path: Path, key: str
) -> None:
    content = b"" if key.startswith("empty") else b"content"
    source = upload(key, content)
    copies = SourceCopies(tmp_path / "c", S3Options(faulty_s3.url, "us-east-1"), max_bytes=100)
    with copies.borrow(source) as first, copies.borrow(source) as second:
        assert first == second
        assert first.parent == tmp_path / "c"
    with copies.borrow(source) as third:
        assert third.read_bytes() == content
    assert faulty_s3.requests == ["HEAD", "GET"]


def test_a_large_object_comes_in_ranged_parts(upload: Any, faulty_s3: FaultyS3, tmp_path: Path) -> None:
    content = os.urandom(MEGABYTE)
    source = upload("large.mp4", content)
    options = S3Options(faulty_s3.url, "us-east-1", part_bytes=64 << 10)
    with SourceCopies(tmp_path / "c", options, max_bytes=2 * MEGABYTE).borrow(source) as path:
        assert path.read_bytes() == content
    assert faulty_s3.requests == ["HEAD"] + ["GET"] * 16


def test_memory_does_not_grow_with_the_object(upload: Any, s3_options: S3Options, tmp_path: Path) -> None:
    """What waits is bounded: parts are read in blocks that go to disk one after another."""
    source = upload("large.mp4", bytes(12 * MEGABYTE))
    copies = SourceCopies(tmp_path / "c", replace(s3_options, part_bytes=MEGABYTE), max_bytes=0)
    tracemalloc.start()
    try:
        with copies.borrow(source):
            assert tracemalloc.get_traced_memory()[1] < 8 * MEGABYTE
    finally:
        tracemalloc.stop()


def test_processes_share_one_fetch_and_a_killed_one_lets_go(
    upload: Any, faulty_s3: FaultyS3, bucket: str, tmp_path: Path, borrowers: list[Borrower]
) -> None:
    source, options = upload("a.mp4", b"content"), S3Options(faulty_s3.url, "us-east-1", num_attempts=1)
    folder = tmp_path / "c"
    borrowers += [Borrower(folder, options, source) for _ in range(3)]
    paths = {borrower.wait_for_path() for borrower in borrowers}
    assert len(paths) == 1
    assert faulty_s3.requests.count("GET") == 1
    keepnone = SourceCopies(folder, options, max_bytes=0)
    other = upload("b.mp4", b"other")
    for borrower in borrowers:
        with keepnone.borrow(other):
            assert list_copies(folder) == [b"content", b"other"]
        assert list_copies(folder) == [b"content"]
        borrower.kill()
    with keepnone.borrow(other):
        assert list_copies(folder) == [b"other"]
    assert [path.name for path in folder.iterdir()] == ["room.lock"]


def test_threads_share_one_fetch(upload: Any, faulty_s3: FaultyS3, tmp_path: Path) -> None:
    source = upload("a.mp4", b"content")
    copies = SourceCopies(tmp_path / "c", S3Options(faulty_s3.url, "us-east-1"), max_bytes=100)
    read: list[bytes] = []

    def borrow() -> None:
        with copies.borrow(source) as path:
            read.append(path.read_bytes())

    run_in_threads(borrow, 8)
    assert read == [b"content"] * 8
    assert faulty_s3.requests.count("GET") == 1


def test_who_asks_at_the_same_moment_uses_the_same_copy_at_the_same_time(
    upload: Any, faulty_s3: FaultyS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that found no copy never waits for the end of another's use of it."""
    source = upload("a.mp4", b"content")
    copies = SourceCopies(tmp_path / "c", S3Options(faulty_s3.url, "us-east-1"), max_bytes=0)
    both_look, both_use, seen, used = Barrier(2, timeout=30), Barrier(2, timeout=30), local(), []
    is_whole = copies_module._is_whole

    def look(copy: Path, size_bytes: int) -> bool:
        whole = is_whole(copy, size_bytes)
        if not hasattr(seen, "once"):
            seen.once = True
            both_look.wait()
        return whole

    def borrow() -> None:
        with copies.borrow(source) as path:
            both_use.wait()
            used.append(path.read_bytes())

    monkeypatch.setattr(copies_module, "_is_whole", look)
    run_in_threads(borrow, 2)
    assert used == [b"content"] * 2
    assert faulty_s3.requests.count("GET") == 1
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["room.lock"]


def test_the_least_recently_used_goes_first(upload: Any, s3_options: S3Options, tmp_path: Path) -> None:
    sources = {name: upload(name, name.encode() * 40) for name in "abcd"}
    copies = SourceCopies(tmp_path / "c", s3_options, max_bytes=120)
    for name in "abcadb":
        with copies.borrow(sources[name]) as path:
            os.utime(path, ns=(0, 0))
        for number, kept in enumerate(
            sorted(path.parent.glob("*.video"), key=lambda kept: kept.stat().st_mtime_ns)
        ):
            os.utime(kept, ns=(number + 1, number + 1))
    assert {content[:1] for content in list_copies(tmp_path / "c")} == {b"a", b"d", b"b"}


def test_a_partial_download_is_never_seen_and_its_room_is_given_back(
    upload: Any, faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    source = upload("a.mp4", b"content" * 1000)
    options = S3Options(faulty_s3.url, "us-east-1", num_attempts=1)
    copies = SourceCopies(tmp_path / "c", options, max_bytes=10_000)
    faulty_s3.fail("GET", "short", times=5)
    with pytest.raises(TransientSourceError, match=r"a\.mp4 could not be read"), copies.borrow(source):
        pass
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["room.lock"]
    with copies.borrow(source) as path:
        assert path.read_bytes() == b"content" * 1000


def test_what_a_killed_fetcher_left_is_cleared(upload: Any, s3_options: S3Options, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "dead.part").write_bytes(b"half")
    for suffix in (".fetch", ".lock"):
        (folder / f"dead{suffix}").touch()
    with SourceCopies(folder, s3_options, max_bytes=100).borrow(upload("a.mp4", b"x")) as path:
        assert sorted(each.suffix for each in folder.iterdir()) == [".lock", ".lock", ".video"]
        assert path.read_bytes() == b"x"


@pytest.mark.parametrize("fault", ["short", "slow"])
def test_an_object_whose_body_stopped_once_comes_whole(
    upload: Any, faulty_s3: FaultyS3, tmp_path: Path, fault: Any
) -> None:
    source = upload("a.mp4", b"content" * 1000)
    options = S3Options(faulty_s3.url, "us-east-1", read_timeout_s=0.5)
    faulty_s3.fail("GET", fault)
    with SourceCopies(tmp_path, options, max_bytes=0).borrow(source) as path:
        assert path.read_bytes() == b"content" * 1000
    assert faulty_s3.requests.count("GET") == 2


@pytest.mark.parametrize(
    ("method", "fault"), [("HEAD", "503"), ("GET", "500"), ("GET", "silent"), ("GET", "reset")]
)
def test_trouble_that_passes_is_told_from_trouble_that_stays(
    upload: Any, faulty_s3: FaultyS3, tmp_path: Path, method: str, fault: Any
) -> None:
    source = upload("a.mp4", b"content")
    options = S3Options(faulty_s3.url, "us-east-1", num_attempts=1, read_timeout_s=0.5)
    faulty_s3.fail(method, fault, times=5)
    with (
        pytest.raises(TransientSourceError, match="try again later"),
        SourceCopies(tmp_path / "c", options, max_bytes=0).borrow(source),
    ):
        pass


@pytest.mark.parametrize("part_bytes", [4, MEGABYTE])
def test_an_object_that_changed_or_vanished_after_listing(
    upload: Any, s3_client: Any, bucket: str, s3_options: S3Options, tmp_path: Path, part_bytes: int
) -> None:
    source = upload("a.mp4", b"first one")
    copies = SourceCopies(tmp_path / "c", replace(s3_options, part_bytes=part_bytes), max_bytes=100)
    upload("a.mp4", b"other one")
    with pytest.raises(SourceChangedError, match="changed after it was listed"), copies.borrow(source):
        pass
    s3_client.delete_object(Bucket=bucket, Key="a.mp4")
    with pytest.raises(SourceMissingError, match="does not exist"), copies.borrow(source):
        pass
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["room.lock"]


def test_a_full_disk_is_transient_and_makes_room(
    upload: Any, s3_options: S3Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = SourceCopies(tmp_path, s3_options, max_bytes=100)
    with copies.borrow(upload("a.mp4", b"old")):
        pass
    assert list_copies(tmp_path) == [b"old"]

    def fail(*_: object) -> None:
        raise TransientStoreError("No space left on device")

    monkeypatch.setattr(copies_module, "fetch_into", fail)
    with pytest.raises(TransientStoreError, match="No space"), copies.borrow(upload("b.mp4", b"new")):
        pass
    assert list_copies(tmp_path) == []
