"""What a format is to the registry: a name, what it is good for, and the files that it makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from tubelet.index.exporting.timelines import Timelines
from tubelet.records import Video

Pieces = Iterator[str] | Iterator[bytes]
"""A file's content, piece by piece, so that an archive of any size needs the same memory."""

_MAX_NAME_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of an export. Its name is relative, in plain characters; its pieces are read to the end."""

    name: str
    pieces: Pieces


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One format. `layout`: one file for everything, one file for each video, or a folder of files.

    `write` yields the files in order; each is read to its end before the next one is asked for.
    """

    name: str
    about: str
    suffix: str
    layout: Literal["file", "file a video", "folder"]
    write: Callable[[Timelines], Iterator[ExportFile]]


def one_file(name: str, about: str, suffix: str, write: Callable[[Timelines], Pieces]) -> ExportFormat:
    """A format that has everything in one file."""

    def write_files(timelines: Timelines) -> Iterator[ExportFile]:
        yield ExportFile(f"timelines{suffix}", write(timelines))

    return ExportFormat(name, about, suffix, "file", write_files)


def file_a_video(
    name: str, about: str, suffix: str, write: Callable[[Timelines, Video], Pieces]
) -> ExportFormat:
    """A format whose files hold one video each."""

    def write_files(timelines: Timelines) -> Iterator[ExportFile]:
        for video in timelines.videos:
            yield ExportFile(f"{name_video(video)}{suffix}", write(timelines, video))

    return ExportFormat(name, about, suffix, "file a video", write_files)


def name_video(video: Video) -> str:
    """A file name for a video: that of its source in plain characters, and its id, which makes it unique."""
    stem = PurePosixPath(video.uri.replace("\\", "/")).stem
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:_MAX_NAME_CHARACTERS].strip("_")
    identity = re.sub(r"[^A-Za-z0-9_-]+", "_", video.video_id)
    return f"{plain}-{identity}" if plain else identity
