"""From the addresses that a person gives to video files: files, folders, globs and S3."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

from tubelet.errors import SourceChangedError, SourceError, SourceMissingError
from tubelet.records import Source
from tubelet.workers.s3 import S3Options, fetch_object, find_object, list_objects, parse_address

VIDEO_SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".f4v", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
    *(".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
"""Which files of a folder or prefix are taken; a file that is named itself may have any name."""

_GLOB_CHARACTERS = frozenset("*?[")
_HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceFailure:
    """An address, or a file found at one, that gives no video, and why."""

    uri: str
    error: SourceError


def expand_sources(addresses: Iterable[str], *, s3: S3Options) -> Iterator[Source | SourceFailure]:
    """Yield every video at the addresses, sorted by URI and each once, and what failed among them.

    An address is a file, a folder (searched to the bottom for video names), a glob with `*`, `?`, `[…]` or
    `**`, a `file://` URI, `s3://bucket/key`, `s3://bucket/prefix/` or an S3 glob. A name that exists is
    never read as a glob. An address without any video is a failure. Files are hashed as they are yielded.
    """
    found: dict[str, Path | Source | SourceFailure] = {}
    for address in addresses:
        for item in _expand(address, s3):
            found.setdefault(str(item) if isinstance(item, Path) else item.uri, item)
    for uri in sorted(found):
        item = found[uri]
        if not isinstance(item, Path):
            yield item
            continue
        try:
            yield identify_file(item)
        except SourceError as error:
            yield SourceFailure(uri, error)


def _expand(address: str, options: S3Options) -> Iterator[Path | Source | SourceFailure]:
    num_found = 0
    try:
        for item in _expand_s3(address, options) if address.startswith("s3://") else _expand_files(address):
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
        yield SourceFailure(address, failure)


def _expand_files(address: str) -> Iterator[Path | SourceFailure]:
    path = Path(_strip_scheme(address)).expanduser()
    if not path.is_dir() and (os.path.lexists(path) or not _GLOB_CHARACTERS & set(str(path))):
        yield _require_regular(path)
        return
    for file in _walk(path) if path.is_dir() else _glob(path):
        try:
            yield _require_regular(file)
        except SourceError as error:
            yield SourceFailure(str(file), error)


def _strip_scheme(address: str) -> str:
    """The path of a `file://` URI; other schemes are refused, everything else is a path already."""
    if not address:
        raise SourceMissingError("an address is empty", do='use "." for this folder')
    if address.startswith("file:"):
        host, slash, path = address.removeprefix("file:").removeprefix("//").partition("/")
        if host not in ("", "localhost"):
            raise SourceError(f"{address!r} names the host {host!r}", expected="file:///PATH")
        return unquote(slash + path)
    if "://" in address and not os.path.lexists(address):
        raise SourceError(
            f"{address!r} is of a kind that is not read",
            expected="a path, file:// or s3://",
            do="download the video first",
        )
    return address


def _walk(folder: Path) -> Iterator[Path]:
    """Video-named files below a folder. Links to folders are not followed, so there are no circles."""

    def refuse(error: OSError) -> None:
        raise SourceMissingError(
            f"cannot list {error.filename}: {error.strerror}", do="check its permissions"
        )

    for parent, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(parent, name) for name in names if _is_video_name(name))


def _glob(pattern: Path) -> Iterator[Path]:
    """Video-named files that match; a last `**` stands for everything below."""
    root = Path(pattern.anchor)
    parts = pattern.parts[len(root.parts) :]
    matches = root.glob(str(Path(*parts, "*") if parts[-1] == "**" else Path(*parts)))
    yield from (path for path in matches if _is_video_name(path.name) and not path.is_dir())


def _is_video_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def _require_regular(path: Path) -> Path:
    """The file that a path leads to, links followed; pipes, devices, sockets and folders are refused."""
    try:
        resolved = path.resolve(strict=True)
        mode = resolved.stat().st_mode
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle.
        raise SourceMissingError(f"{path} does not exist or may not be read", do="check the path") from error
    if not stat.S_ISREG(mode):
        raise SourceError(
            f"{path} is not a regular file", expected="a file on disk", do="save the video first"
        )
    return resolved


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


def _expand_s3(address: str, options: S3Options) -> Iterator[Source]:
    bucket, key = parse_address(address)
    is_glob = bool(_GLOB_CHARACTERS & set(key))
    if key and not key.endswith("/"):
        try:
            yield find_object(bucket, key, options)
            return
        except SourceMissingError:
            if not is_glob:
                raise
    fixed_parts = list(takewhile(lambda part: not _GLOB_CHARACTERS & set(part), key.split("/")[:-1]))
    prefix = "".join(f"{part}/" for part in fixed_parts)
    for item in list_objects(bucket, prefix, options):
        _, found_key = parse_address(item.uri)
        if _is_video_name(found_key) and (not is_glob or match_key(found_key, key)):
            yield item


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
    path = _require_regular(Path(source.uri))
    size_bytes = path.stat().st_size
    if size_bytes != source.size_bytes:
        raise SourceChangedError(
            f"{path} changed after it was found: it has {size_bytes} bytes",
            expected=f"{source.size_bytes} bytes",
            do="index it again when nothing writes to it",
        )
    return path
