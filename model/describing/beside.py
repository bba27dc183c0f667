"""Files that a training wrote beside a checkpoint, which does without them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from tubelet.errors import ModelError


@contextmanager
def reading(file: Path, holds: str) -> Iterator[None]:
    """Raise ModelError where a file turns out, while it is read, not to be what its name says it `holds`."""
    try:
        yield
    except (
        *(KeyError, IndexError, TypeError, ValueError, RuntimeError, EOFError, OSError),
        *(SafetensorError, zipfile.BadZipFile),
    ) as error:
        raise ModelError(
            f"{file} cannot be read: {error}",
            expected=f"{holds}, as this version's training wrote it",
            do="copy the checkpoint again, or remove that file to do without",
        ) from error
