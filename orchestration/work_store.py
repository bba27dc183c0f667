"""The folder of work under way: chunk results, and copies of remote files while they are read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from tubelet.errors import StoreError
from tubelet.records import Chunk, Video


class WorkStore:
    """Paths inside `HOME/work`. Names come from ids that we made, so that no path can leave the folder."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / "work"

    @property
    def downloads(self) -> Path:
        """Where remote files are copied to while a run needs them."""
        folder = self._folder / "downloads"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def chunk_path(self, video: Video, chunk: Chunk, options_digest: str) -> Path:
        """Where the result of a chunk lies, once it is done."""
        return self._video_folder(video.video_id) / options_digest / f"{chunk.chunk_id}.arrow"

    def remove_video(self, video_id: str) -> None:
        """Forget the chunk results of a video that was committed."""
        shutil.rmtree(self._video_folder(video_id), ignore_errors=True)

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
        shutil.rmtree(self._folder / "downloads", ignore_errors=True)
        for leftover in self._folder.glob("chunks/*/*/.writing-*"):
            os.unlink(leftover)
        return lock

    def _video_folder(self, video_id: str) -> Path:
        return self._folder / "chunks" / video_id
