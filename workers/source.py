"""From the addresses that a person gives to video files: files, folders, globs, manifests and S3."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path

from tubelet.errors import SourceChangedError, SourceError, SourceMissingError
from tubelet.records import Source
from tubelet.workers.local_files import (
    GLOB_CHARACTERS,
    VIDEO_SUFFIXES,
    glob_videos,
    is_video_name,
    require_regular,
    strip_scheme,
    walk_videos,
)
from tubelet.workers.manifests import MANIFEST_PREFIX, ManifestLine, is_manifest_name, read_manifest
from tubelet.workers.s3 import S3Options, fetch_object, find_object, list_objects, parse_address

_HASH_BLOCK_BYTES = 1 << 20
_NUM_LOOKUPS = 16
_MAX_LINES_AHEAD = 64


@dataclass(frozen=True, slots=True)
class SourceFailure:
    """An address, or a file found at one, that gives no video, and why.

    A line of a manifest that names no address has `MANIFEST:NUMBER` for its URI. `is_empty` is true for an
    address that was listed to its end and holds no video.
    """

    uri: str
    error: SourceError
    is_empty: bool = False


_Found = Path | Source | SourceFailure


def expand_sources(addresses: Iterable[str], *, s3: S3Options) -> Iterator[Source | SourceFailure]:
    """Yield every video at the addresses, each once, and what failed among them, as a stream.

    They come address by address, and those of a folder, glob or prefix by URI. An address is a file, a folder
    (searched to the bottom for video names), a glob with `*`, `?`, `[…]` or `**`, a `file://` URI,
    `s3://bucket/key`, `s3://bucket/prefix/`, an S3 glob, or a manifest (tubelet.workers.manifests). A name
    that exists is never read as a glob. An address without any video is a failure. Files are hashed as they
    are yielded. A failure that is a TransientError may be none when the address is expanded again.

    So that each comes once, a hash of 16 bytes is kept of every URI: about 100 bytes of memory.
    """
    seen: set[bytes] = set()
    for address in addresses:
        for item in _expand(address, s3):
            uri = str(item) if isinstance(item, Path) else item.uri
            mark = blake2b(uri.encode(errors="surrogatepass"), digest_size=16).digest()
            if mark in seen:
                continue
            seen.add(mark)
            if not isinstance(item, Path):
                yield item
                continue
            try:
                yield identify_file(item)
            except SourceError as error:
                yield SourceFailure(uri, error)


def _expand(
    address: str, options: S3Options, *, found: Future[Source] | None = None, nested: bool = False
) -> Iterator[_Found]:
    """What an address names. `found` is the object with that key, where it was looked up before.

    `nested` are the addresses in a manifest.
    """
    num_found = 0
    try:
        for item in _choose(address, options, found, nested=nested):
            num_found += 1
            yield item
    except SourceError as error:
        yield SourceFailure(address, error)
        return
    except (OSError, ValueError) as error:
        failure = SourceMissingError(f"{address!r} cannot be read: {error}", do="check the path")
        yield SourceFailure(address, failure)
        return
    if not num_found:
        failure = SourceMissingError(
            f"{address!r} holds no video",
            expected="a video file, or names that end in one of " + " ".join(VIDEO_SUFFIXES),
            do="check the address; name a file itself to take it whatever its name",
        )
        yield SourceFailure(address, failure, is_empty=True)


def _choose(
    address: str, options: S3Options, found: Future[Source] | None, *, nested: bool
) -> Iterator[_Found]:
    if address.startswith(MANIFEST_PREFIX):
        return _expand_manifest(address, options, nested=nested)
    if address.startswith("s3://"):
        return _expand_s3(address, options, found, nested=nested)
    return _expand_files(address, options, nested=nested)


def _expand_files(address: str, options: S3Options, *, nested: bool) -> Iterator[_Found]:
    path = Path(strip_scheme(address)).expanduser()
    if not path.is_dir() and (os.path.lexists(path) or not GLOB_CHARACTERS & set(str(path))):
        file = require_regular(path)
        if is_manifest_name(path.name):
            yield from _expand_manifest(address, options, nested=nested)
        else:
            yield file
        return
    for file in walk_videos(path) if path.is_dir() else glob_videos(path):
        try:
            yield require_regular(file)
        except SourceError as error:
            yield SourceFailure(str(file), error)


def _expand_s3(
    address: str, options: S3Options, found: Future[Source] | None, *, nested: bool
) -> Iterator[_Found]:
    bucket, key = parse_address(address)
    is_glob = bool(GLOB_CHARACTERS & set(key))
    if key and not key.endswith("/"):
        try:
            source = found.result() if found else find_object(bucket, key, options)
        except SourceMissingError:
            if not is_glob:
                raise
        else:
            if is_manifest_name(key):
                yield from _expand_manifest(address, options, nested=nested)
            else:
                yield source
            return
    prefix_length = min((key.index(mark) for mark in GLOB_CHARACTERS if mark in key), default=len(key))
    for item in list_objects(bucket, key[:prefix_length], options):
        _, found_key = parse_address(item.uri)
        if is_video_name(found_key) and (not is_glob or match_key(found_key, key)):
            yield item


def _expand_manifest(address: str, options: S3Options, *, nested: bool) -> Iterator[_Found]:
    """What the lines of a manifest name, in order. Objects are looked up some lines ahead, many at once."""
    if nested:
        raise SourceError(
            f"{address} is a manifest in a manifest",
            expected="videos, prefixes and globs",
            do="give it by itself",
        )
    location = address.removeprefix(MANIFEST_PREFIX)
    ahead: deque[tuple[ManifestLine, Future[Source] | None]] = deque()
    pool = ThreadPoolExecutor(_NUM_LOOKUPS, thread_name_prefix="tubelet-lookup")
    try:
        for line in read_manifest(location, options):
            ahead.append((line, _look_up(line.address, options, pool)))
            if len(ahead) > _MAX_LINES_AHEAD:
                yield from _expand_line(location, *ahead.popleft(), options)
        while ahead:
            yield from _expand_line(location, *ahead.popleft(), options)
    finally:
        pool.shutdown(cancel_futures=True)


def _look_up(address: str, options: S3Options, pool: ThreadPoolExecutor) -> Future[Source] | None:
    if not address.startswith("s3://") or address.endswith("/"):
        return None
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return pool.submit(find_object, bucket, key, options) if bucket and key else None


def _expand_line(
    location: str, line: ManifestLine, found: Future[Source] | None, options: S3Options
) -> Iterator[_Found]:
    if line.error is not None:
        yield SourceFailure(f"{location}:{line.number}", line.error)
        return
    for item in _expand(line.address, options, found=found, nested=True):
        if isinstance(item, SourceFailure):
            item.error.found = f"line {line.number} of {location}: {item.error.found}"
        yield item


def identify_file(path: Path) -> Source:
    """The source of a regular local file, named by the hash of its content, read in blocks."""
    digest = blake2b(digest_size=20)
    size_bytes = 0
    try:
        with path.open("rb") as file:
            while block := file.read(_HASH_BLOCK_BYTES):
                digest.update(block)
                size_bytes += len(block)
    except OSError as error:
        raise SourceMissingError(
            f"cannot read {path}: {error.strerror}", do="check its permissions"
        ) from error
    return Source(str(path), f"blake2b:{digest.hexdigest()}", size_bytes)


def match_key(key: str, pattern: str) -> bool:
    """Whether an S3 key fits a glob: `*` stays between slashes, `**` stands for any parts.

    >>> match_key("2024/05/a.mp4", "2024/**/*.mp4"), match_key("2024/05/a.mp4", "2024/*.mp4")
    (True, False)
    """
    return _match_parts(key.split("/"), pattern.split("/"))


def _match_parts(parts: list[str], patterns: list[str]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        if len(patterns) == 1:
            return True
        return any(_match_parts(parts[skip:], patterns[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _match_parts(parts[1:], patterns[1:])


@contextmanager
def localise(source: Source, folder: Path, *, s3: S3Options) -> Iterator[Path]:
    """Give a regular local file with the source's content, the only thing that a decoder ever sees.

    Files are used where they are; S3 objects are fetched into `folder` and removed on leaving. Raises
    `SourceMissingError` when it is gone, `SourceChangedError` when it is another one than was listed.
    """
    if source.uri.startswith("s3://"):
        with fetch_object(source, folder, s3) as path:
            yield path
        return
    yield require_unchanged(source)


def require_unchanged(source: Source) -> Path:
    """The file of a local source. Raises `SourceMissingError` or `SourceChangedError`."""
    path = require_regular(Path(source.uri))
    size_bytes = path.stat().st_size
    if size_bytes != source.size_bytes:
        raise SourceChangedError(
            f"{path} changed after it was found: it has {size_bytes} bytes",
            expected=f"{source.size_bytes} bytes",
            do="index it again when nothing writes to it",
        )
    return path
