"""Writing an export to disk: a file is whole or is what it was before."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from tubelet.errors import InputError
from tubelet.index.exporting.registry import find_format, stream_export
from tubelet.index.exporting.timelines import Timelines


def write_export(timelines: Timelines, format_name: str, out: Path) -> list[Path]:
    """Write an export to a file or, where the format makes several, into a folder; the files in order.

    A format with a file a video takes a file name too when there is one video and the name has the format's
    suffix. Raises UnknownNameError for a format and InputError for a place that cannot be written.
    """
    chosen = find_format(format_name)
    is_file = chosen.layout == "file" or (
        chosen.layout == "file a video" and out.suffix == chosen.suffix and not out.is_dir()
    )
    try:
        if is_file:
            _write_whole(out, stream_export(timelines, format_name))
            return [out]
        written = []
        for file in chosen.write(timelines):
            path = out / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(path, file.pieces)
            written.append(path)
        return written
    except OSError as error:
        raise InputError(
            f"The export cannot be written to {out}: {error.strerror or error}",
            expected="a place with room that may be written to",
            do="choose another --out; what was there before is untouched",
        ) from error


def _write_whole(path: Path, pieces: Iterable[str | bytes]) -> None:
    """Write beside the target and put it in place by a rename, so that a reader never sees half a file."""
    draft = path.with_name(f".{path.name}.writing-{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as file:
            for piece in pieces:
                file.write(piece.encode() if isinstance(piece, str) else piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
