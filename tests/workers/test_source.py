"""Addresses become sources, or failures that say why; never silently nothing."""

from __future__ import annotations

import os
import socket
import tracemalloc
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tubelet.errors import SourceError, SourceMissingError
from tubelet.records import Source
from tubelet.workers import source as source_module
from tubelet.workers.s3 import S3Options
from tubelet.workers.source import SourceFailure, expand_sources, identify_file, localise, match_key

NO_S3 = S3Options()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Videos at two depths, a file that is none, and names that are hard."""
    for name in ("a.mp4", "b.MKV", "notes.dat", "sub/c.webm", "sub/deep/d.mp4", "sub/día [1] #2.mp4"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "in"


def find(*addresses: object) -> list[str]:
    """URIs of the sources at the addresses; a failure is raised."""
    uris = []
    for item in expand_sources(map(str, addresses), s3=NO_S3):
        if isinstance(item, SourceFailure):
            raise item.error
        uris.append(item.uri)
    return uris


def test_a_folder_is_searched_to_the_bottom(folder: Path) -> None:
    names = ["a.mp4", "b.MKV", "sub/c.webm", "sub/deep/d.mp4", "sub/día [1] #2.mp4"]

    assert find(folder) == sorted(str(folder / name) for name in names)


def test_a_file_named_itself_may_have_any_name(folder: Path) -> None:
    assert find(folder / "notes.dat") == [str(folder / "notes.dat")]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.mp4", ["a.mp4"]),
        ("*", ["a.mp4", "b.MKV"]),
        ("**/*.mp4", ["a.mp4", "sub/deep/d.mp4", "sub/día [1] #2.mp4"]),
        ("sub/**", ["sub/c.webm", "sub/deep/d.mp4", "sub/día [1] #2.mp4"]),
        ("sub/?.webm", ["sub/c.webm"]),
        ("[ab].*", ["a.mp4", "b.MKV"]),
    ],
)
def test_globs(folder: Path, pattern: str, names: list[str]) -> None:
    assert find(folder / pattern) == [str(folder / name) for name in names]


def test_a_name_that_exists_is_not_read_as_a_glob(folder: Path) -> None:
    path = folder / "sub/día [1] #2.mp4"

    assert find(path) == [str(path)]
    assert find(path.as_uri()) == [str(path)]
    assert find(f"file://localhost{folder}/a.mp4") == [str(folder / "a.mp4")]


def test_each_source_comes_once_and_in_order(folder: Path) -> None:
    found = find(folder / "sub", folder / "b.MKV", folder, folder / "sub/../a.mp4")

    assert found == [*find(folder / "sub"), str(folder / "b.MKV"), str(folder / "a.mp4")]


def test_a_file_is_named_by_its_content(folder: Path) -> None:
    (folder / "copy.mp4").write_text("a.mp4")
    source, copy = identify_file(folder / "a.mp4"), identify_file(folder / "copy.mp4")

    assert source.identity == "blake2b:" + blake2b(b"a.mp4", digest_size=20).hexdigest()
    assert source.identity == copy.identity
    assert source.size_bytes == 5


@pytest.mark.parametrize(
    "address", ["gone.mp4", "gone/", "empty", "*.avi", "a\0b.mp4", "**b/*.mp4", "x" * 5000, ""]
)
def test_an_address_without_video_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)

    [failure] = expand_sources([address], s3=NO_S3)

    assert isinstance(failure, SourceFailure)
    assert failure.uri == address
    assert isinstance(failure.error, SourceMissingError)


@pytest.mark.parametrize("address", ["https://example.org/a.mp4", "file://host/a.mp4", "concat:a.mp4|b.mp4"])
def test_other_kinds_of_address_are_refused(address: str) -> None:
    with pytest.raises(SourceError):
        find(address)


def test_one_bad_file_does_not_hide_the_others(folder: Path) -> None:
    (folder / "broken.mp4").symlink_to(folder / "gone")

    items = list(expand_sources([str(folder)], s3=NO_S3))

    assert [item.uri for item in items if isinstance(item, SourceFailure)] == [str(folder / "broken.mp4")]
    assert len(items) == 6


def test_pipes_sockets_devices_and_circles_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "circle.mp4").symlink_to(tmp_path / "circle.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.mp4"))
        items = list(expand_sources([str(tmp_path)], s3=NO_S3))

    assert len(items) == 4
    assert all(isinstance(item, SourceFailure) for item in items)


def test_a_link_to_a_file_is_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(folder / "a.mp4")

    assert find(tmp_path / "link.mp4") == [str(folder / "a.mp4")]


def test_localise_uses_a_file_where_it_is(folder: Path, tmp_path: Path) -> None:
    source = identify_file(folder / "a.mp4")

    with localise(source, tmp_path, s3=NO_S3) as path:
        assert path == folder / "a.mp4"
    assert path.exists()


def test_localise_notices_a_file_that_changed_or_went(folder: Path, tmp_path: Path) -> None:
    source = identify_file(folder / "a.mp4")
    (folder / "a.mp4").write_text("longer than before")
    with pytest.raises(SourceError, match="changed after it was found"), localise(source, tmp_path, s3=NO_S3):
        pass
    (folder / "a.mp4").unlink()
    with pytest.raises(SourceMissingError), localise(source, tmp_path, s3=NO_S3):
        pass


def test_s3_keys_prefixes_and_globs(
    s3_client: Any, bucket: str, s3_options: S3Options, tmp_path: Path
) -> None:
    for key in ("a.mp4", "v/b.mp4", "v/w/c.mkv", "v/w/notes.dat", "v/d [1].mp4"):
        s3_client.put_object(Bucket=bucket, Key=key, Body=key.encode())

    def find_keys(address: str) -> list[str]:
        items = list(expand_sources([f"s3://{bucket}/{address}"], s3=s3_options))
        assert all(isinstance(item, Source) for item in items), items
        return [item.uri.removeprefix(f"s3://{bucket}/") for item in items]

    assert find_keys("") == ["a.mp4", "v/b.mp4", "v/d [1].mp4", "v/w/c.mkv"]
    assert find_keys("v/") == ["v/b.mp4", "v/d [1].mp4", "v/w/c.mkv"]
    assert find_keys("v/d*") == ["v/d [1].mp4"]
    assert find_keys("v/*.mp4") == ["v/b.mp4", "v/d [1].mp4"]
    assert find_keys("**/*.mp4") == ["a.mp4", "v/b.mp4", "v/d [1].mp4"]
    assert find_keys("v/d [1].mp4") == ["v/d [1].mp4"]
    assert find_keys("v/w/notes.dat") == ["v/w/notes.dat"]
    [source] = expand_sources([f"s3://{bucket}/a.mp4"], s3=s3_options)
    assert isinstance(source, Source)
    with localise(source, tmp_path, s3=s3_options) as path:
        assert path.read_bytes() == b"a.mp4"
    assert not path.exists()


def test_s3_addresses_without_video_are_failures(bucket: str, s3_options: S3Options) -> None:
    addresses = [
        f"s3://{bucket}/",
        f"s3://{bucket}/gone.mp4",
        f"s3://{bucket}/*.mp4",
        "s3://no-such-bucket/v/",
    ]

    items = list(expand_sources(addresses, s3=s3_options))

    assert sorted(item.uri for item in items) == sorted(addresses)
    assert all(isinstance(item, SourceFailure) for item in items)


PARTS = st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=4)


@given(PARTS, PARTS)
def test_two_stars_stand_for_any_parts(before: list[str], after: list[str]) -> None:
    key = "/".join([*before, *after])

    assert match_key(key, key)
    assert match_key(key, "/".join([*before, "**", *after]))
    assert match_key(key, "/".join(["**", after[-1]]))
    assert match_key(key, "/".join(["*"] * len([*before, *after])))
    assert not match_key(key, "/".join(["*"] * (len([*before, *after]) + 1)))


def test_listing_is_a_stream_with_flat_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first source comes before the last page is asked for; of each only a mark is kept."""
    num_listed = 0

    def list_many(bucket: str, prefix: str, options: S3Options) -> Iterator[Source]:
        nonlocal num_listed
        for num_listed in range(10_000):
            yield Source(f"s3://{bucket}/{prefix}{num_listed:09d}.mp4", f"etag:9:{num_listed}", 9)

    monkeypatch.setattr(source_module, "list_objects", list_many)
    found = expand_sources(["s3://archive/2026/", "s3://archive/2026/"], s3=NO_S3)
    next(found)
    assert num_listed == 0
    tracemalloc.start()
    try:
        num_found = 1 + sum(1 for _ in found)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert num_found == 10_000
    assert peak_bytes / num_found < 200
