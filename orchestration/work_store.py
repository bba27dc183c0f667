"""The store of work under way: chunk results, and copies of remote files while they are read.

Chunk results lie in `work_uri`, a folder or S3, which machines may share. A key is made from the video's
content, the options and the chunk's window, so that whoever writes it writes the same, and a second writer
does no harm.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

from tubelet.errors import StoreError
from tubelet.orchestration.resources import make_s3_options
from tubelet.records import Chunk, Video
from tubelet.settings import Settings
from tubelet.workers.copies import SourceCopies
from tubelet.workers.object_store import FolderStore, open_object_store
from tubelet.workers.s3_errors import explain_disk_errors
from tubelet.workers.scratch import Scratch

_ROOT = "chunks/"


class WorkStore:
    """Chunk results by key, and the folders of this machine that work needs."""

    def __init__(self, settings: Settings | Path) -> None:
        """The store of these settings, or the one in a home folder, `HOME/work`."""
        if isinstance(settings, Path):
            settings = Settings.model_validate({"home": settings})
        self._home = settings.home
        self._local = settings.home / "work"
        self._store = open_object_store(
            settings.work_uri or str(self._local),
            make_s3_options(settings),
            scratch=self._local / "scratch",
        )

    @property
    def downloads(self) -> Path:
        """Where remote files are copied to while the one run that claimed the home needs them."""
        folder = self._local / "downloads"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def chunk_key(self, video_id: str, options_digest: str, chunk_id: str) -> str:
        """Names a chunk result. A chunk's id holds its window."""
        return f"{_video_prefix(video_id, options_digest)}{chunk_id}.arrow"

    def has_chunk(self, key: str) -> bool:
        """Whether there is a result. Raises StoreError where the store cannot tell."""
        return self._store.exists(key)

    def keep_chunk(self, key: str, write: Callable[[Path], None], *, replace: bool = False) -> None:
        """Let `write` write a result to the path that it is given, and keep it under the key.

        It appears whole or not at all. A result that is there already stays: it is the same, unless another
        version made it or it cannot be read; `replace` puts the new one in its place then.
        """
        with explain_disk_errors(self._store.scratch.folder), self._store.scratch.make_folder() as folder:
            path = folder / "result.arrow"
            write(path)
            self._store.put(key, path, replace=replace)

    def borrow_chunk(self, key: str) -> AbstractContextManager[Path]:
        """A local file with a result. Raises ObjectMissingError where there is none."""
        return self._store.borrow(key)

    def list_chunks(self, video_id: str, options_digest: str) -> list[str]:
        """Keys of the results of a video with these options, in the order of the chunks."""
        return list(self._store.list(_video_prefix(video_id, options_digest)))

    def list_videos(self) -> list[tuple[str, str]]:
        """Video id and options digest of all results that there are."""
        return list(dict.fromkeys(_read_owner(key) for key in self._store.list(_ROOT)))

    def chunk_path(self, video: Video, chunk: Chunk, options_digest: str) -> Path:
        """Where the result of a chunk lies in a folder, once it is done."""
        assert isinstance(self._store, FolderStore), "only folders have paths; borrow the chunk"
        return self._store.find(self.chunk_key(video.video_id, options_digest, chunk.chunk_id))

    def remove_video(self, video_id: str, options_digest: str | None = None) -> None:
        """Forget the chunk results of a video, those of all options or of some."""
        self._store.delete_all(_video_prefix(video_id, options_digest))

    def drop_emptied(self) -> None:
        """Remove folders that a process left empty which was killed while it forgot a video."""
        self._store.drop_emptied(_ROOT)

    def claim(self) -> FileLock:
        """Take the home for one run and clear what a killed run left half written.

        Raises StoreError while another run holds it. Finished chunk results stay: a rerun resumes from them.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._home / "index.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"Another run is indexing into {self._home}",
                expected="one indexing run for a home folder at a time",
                do="wait for it, or use another --home",
            ) from None
        shutil.rmtree(self._local / "downloads", ignore_errors=True)
        self.remove_leftovers()
        return lock

    def remove_leftovers(self) -> None:
        """Clear what killed processes left half written; whoever still works is not disturbed."""
        self._store.scratch.clear()
        Scratch(self._local / "scratch").clear()


def open_copies(settings: Settings) -> SourceCopies:
    """This machine's copies of S3 videos, in `HOME/copies`, shared by all processes with this home."""
    return SourceCopies(
        settings.home / "copies", make_s3_options(settings), max_bytes=int(settings.copies_gb * 1e9)
    )


def _video_prefix(video_id: str, options_digest: str | None) -> str:
    return f"{_ROOT}{video_id}/{options_digest}/" if options_digest else f"{_ROOT}{video_id}/"


def _read_owner(key: str) -> tuple[str, str]:
    video_id, digest, _ = key.removeprefix(_ROOT).split("/", 2)
    return video_id, digest
