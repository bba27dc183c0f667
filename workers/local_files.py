"""Files on this machine that a person may name: which of them are videos, and that they are plain files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tubelet.errors import SourceError, SourceMissingError

VIDEO_SUFFIXES = (
    *(".3gp", ".asf", ".avi", ".f4v", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
    *(".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
"""Which files of a folder or prefix are taken; a file that is named itself may have any name."""

GLOB_CHARACTERS = frozenset("*?[")


def strip_scheme(address: str) -> str:
    """The path of a `file://` URI; other schemes are refused, everything else is a path already.

    Raises SourceError.
    """
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


def walk_videos(folder: Path) -> Iterator[Path]:
    """Video-named files below a folder, by path. Links to folders are not followed: there are no circles."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
                for entry in entries
                if is_video_name(entry.name) or entry.is_dir(follow_symlinks=False)
            )
    except OSError as error:
        raise SourceMissingError(
            f"cannot list {folder}: {error.strerror}", do="check its permissions"
        ) from error
    for name in names:
        if name.endswith("/"):
            yield from walk_videos(folder / name)
        else:
            yield folder / name


def glob_videos(pattern: Path) -> Iterator[Path]:
    """Video-named files that match, by path; a last `**` stands for everything below."""
    root = Path(pattern.anchor)
    parts = pattern.parts[len(root.parts) :]
    matches = root.glob(str(Path(*parts, "*") if parts[-1] == "**" else Path(*parts)))
    names = sorted(str(path) for path in matches if is_video_name(path.name) and not path.is_dir())
    return map(Path, names)


def is_video_name(name: str) -> bool:
    """Whether a file of a folder or prefix is taken for a video."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def require_regular(path: Path) -> Path:
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
