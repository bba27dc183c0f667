"""Masks of videos where every machine with the index can read them: beside the index.

The index of a home has its masks in `HOME/masks`; one elsewhere, in a folder or on S3, at `INDEX/masks/`. The
functions are those of tubelet.index.masks, with settings for the home. On S3 a file is kept whole or not at
all, and what is read stays among this machine's copies for the next reader, as long as it is the same object.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tubelet.errors import (
    ObjectMissingError,
    SourceChangedError,
    SourceError,
    StoreError,
    TransientError,
    TransientStoreError,
)
from tubelet.index import masks as files
from tubelet.index.location import find_local_folder
from tubelet.orchestration.resources import make_s3_options
from tubelet.orchestration.work_store import open_copies
from tubelet.records import Observation, Rle
from tubelet.settings import Settings
from tubelet.workers.object_store import S3Store
from tubelet.workers.s3 import find_object
from tubelet.workers.s3_errors import explain_disk_errors
from tubelet.workers.scratch import Scratch

_MAX_CHANGES = 3


def write_masks(
    settings: Settings, video_id: str, parts: Iterable[tuple[str, Sequence[Observation]]]
) -> None:
    """Write the masks of a video in place of those it had, as tubelet.index.masks.write_masks does.

    Raises StoreError, a TransientStoreError where S3 does not answer.
    """
    store = _open_store(settings)
    if store is None:
        files.write_masks(_find_folder(settings), video_id, parts)
        return
    with explain_disk_errors(store.scratch.folder), store.scratch.make_folder() as folder:
        files.write_masks(folder, video_id, parts)
        store.put(_name(video_id), files.find_masks(folder, video_id))


def read_masks(
    settings: Settings, video_id: str, object_ids: Collection[str] | None = None
) -> Iterator[tuple[str, float, Rle]]:
    """The masks of a video as (object id, seconds, mask), as tubelet.index.masks.read_masks gives them.

    A video without masks gives nothing. Raises StoreError.
    """
    if _open_store(settings) is None:
        yield from files.read_masks(_find_folder(settings), video_id, object_ids)
        return
    with ExitStack() as stack:
        try:
            path = stack.enter_context(borrow_masks(settings, video_id))
        except ObjectMissingError:
            return
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tubelet-")))
        named = files.find_masks(home, video_id)
        named.parent.mkdir()
        named.symlink_to(path)
        yield from files.read_masks(home, video_id, object_ids)


def keep_masks(settings: Settings, video_id: str, path: Path) -> None:
    """Take a finished file of masks in; it is gone afterwards. Raises StoreError."""
    store = _open_store(settings)
    if store is None:
        target = files.find_masks(_find_folder(settings), video_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        return
    store.put(_name(video_id), path)


@contextmanager
def borrow_masks(settings: Settings, video_id: str) -> Iterator[Path]:
    """A local file with the masks of a video, not to be changed.

    Raises ObjectMissingError where it has none, StoreError where they cannot be read.
    """
    store = _open_store(settings)
    if store is None:
        path = files.find_masks(_find_folder(settings), video_id)
        if not path.exists():
            raise ObjectMissingError(f"{path} does not exist", do="index the video again for masks")
        yield path
        return
    if not store.exists(_name(video_id)):
        raise ObjectMissingError(
            f"{store.uri}/{_name(video_id)} does not exist", do="index the video again for masks"
        )
    with ExitStack() as stack:
        yield _fetch(settings, store, video_id, stack)


def _fetch(settings: Settings, store: S3Store, video_id: str, stack: ExitStack) -> Path:
    """A copy of what lies there now; whoever writes it anew meanwhile is read instead."""
    copies = open_copies(settings)
    for attempt in range(_MAX_CHANGES):
        try:
            source = find_object(*store.locate(_name(video_id)), make_s3_options(settings))
            return stack.enter_context(copies.borrow(source))
        except SourceError as error:
            if isinstance(error, SourceChangedError) and attempt + 1 < _MAX_CHANGES:
                continue
            kind = TransientStoreError if isinstance(error, TransientError) else StoreError
            raise kind(error.found, expected=error.expected, do=error.do) from error
    raise AssertionError


def remove_masks(settings: Settings, video_id: str) -> None:
    """Delete the masks of a video, if it has any."""
    store = _open_store(settings)
    if store is None:
        files.remove_masks(_find_folder(settings), video_id)
    else:
        store.delete(_name(video_id))


def list_videos_with_masks(settings: Settings) -> list[str]:
    """Ids of the videos that have a file of masks."""
    store = _open_store(settings)
    if store is None:
        return files.list_videos_with_masks(_find_folder(settings))
    return [Path(key).stem for key in store.list("masks/") if key.endswith(".arrow")]


def remove_unfinished_masks(settings: Settings) -> None:
    """Delete what killed processes left half written on this machine."""
    store = _open_store(settings)
    if store is None:
        files.remove_unfinished_masks(_find_folder(settings))
    else:
        store.scratch.clear()


def locate_masks(settings: Settings, video_id: str) -> str:
    """Where the masks of a video lie, for messages."""
    store = _open_store(settings)
    return (
        f"{store.uri}/{_name(video_id)}" if store else str(files.find_masks(_find_folder(settings), video_id))
    )


def _find_folder(settings: Settings) -> Path:
    """The folder that `masks/` lies in, of an index that is not on S3."""
    return (find_local_folder(settings.index_uri) if settings.index_uri else None) or settings.home


def _open_store(settings: Settings) -> S3Store | None:
    """The store beside an index on S3; None for an index in a folder."""
    if not settings.index_location.startswith("s3://"):
        return None
    return S3Store(
        settings.index_location, make_s3_options(settings), Scratch(settings.home / "work" / "scratch")
    )


def _name(video_id: str) -> str:
    return f"masks/{files.find_masks(Path(), video_id).name}"
