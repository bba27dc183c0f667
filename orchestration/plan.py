"""Planning: which sources need work, and in what chunks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tubelet.index.store import IndexStore
from tubelet.orchestration.ledger import Ledger
from tubelet.records import Chunk, Source, Video
from tubelet.settings import Settings
from tubelet.workers.chunk import plan_chunks
from tubelet.workers.probe import make_video_id, probe_video


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """A video that needs work, its local file and its chunks."""

    video: Video
    path: Path
    chunks: tuple[Chunk, ...]


def find_reason_to_skip(
    source: Source, *, settings: Settings, ledger: Ledger, index: IndexStore
) -> str | None:
    """Why a source needs no work, or None where it does.

    Identical bytes are one video. A second address for them is skipped and says so, unless the address in
    the index is a local file that is no longer there: then the file has moved.
    """
    video_id = make_video_id(source.identity)
    entry, indexed = ledger.get_video(video_id), index.get_video(video_id)
    if entry is None or indexed is None or entry.state != "done" or entry.options != settings.options_digest:
        return None
    if indexed.uri == source.uri:
        return "unchanged since it was indexed with these options"
    if _is_missing_file(indexed.uri):
        return None
    return f"the same content is indexed as {indexed.uri}"


def plan_video(source: Source, path: Path, settings: Settings) -> PlannedVideo:
    """Open a source and cut it into chunks. Raises SourceError where it cannot be used."""
    video = probe_video(path, source, timeout_s=settings.decode_timeout_s)
    chunks = plan_chunks(video, chunk_s=settings.chunk_s, margin_s=settings.margin_s)
    return PlannedVideo(video, path, chunks)


def _is_missing_file(uri: str) -> bool:
    return "://" not in uri and not Path(uri).exists()
