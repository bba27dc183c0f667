"""One unit of work: what it says in the ledger, and what it is to whoever runs it.

The ledger keeps plain JSON. A unit that is read from it carries the batch's options, in the place where it is
run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tubelet.errors import StoreError
from tubelet.orchestration.ledger.records import Lease, NewUnit, UnitKind
from tubelet.orchestration.options import thaw_options
from tubelet.records import Chunk, Source, Video
from tubelet.settings import Settings
from tubelet.workers.chunk import plan_chunks


@dataclass(frozen=True, slots=True)
class Unit:
    """What to do: open a source and plan it, track one chunk of a video, or finish a video.

    `video` is None, and `chunks` empty, until the source was opened. A chunk unit has one chunk, a video unit
    all. `fence` is the fencing token that its commit is made under.
    """

    kind: UnitKind
    job_id: str
    source: Source
    video: Video | None
    chunks: tuple[Chunk, ...]
    settings: Settings
    fence: int = 0

    @property
    def opened(self) -> Video:
        """The video. Only plan units have none."""
        assert self.video is not None, f"a {self.kind} unit of {self.source.uri} has no video yet"
        return self.video


def name_job(video_id: str, digest: str) -> str:
    """The id of the work on one content with one set of options.

    >>> name_job("v1", "a0")
    'v1.a0'
    """
    return f"{video_id}.{digest}"


def name_unit(kind: UnitKind, job_id: str, number: int | None = None) -> str:
    """The id of a unit.

    >>> name_unit("chunk", "v1.a0", 3)
    'chunk:v1.a0:00003'
    """
    return f"{kind}:{job_id}" if number is None else f"{kind}:{job_id}:{number:05d}"


def name_generation(digest: str, fence: int) -> str:
    """The name of what one commit puts into the index: the options it was made with, and its fencing token.

    >>> name_generation("a0", 255)
    'a0.ff'
    """
    return f"{digest}.{fence:x}"


def read_digest(generation: str) -> str:
    """The options that a generation was made with; empty for one of unknown origin."""
    return generation.rpartition(".")[0]


def cut_units(job_id: str, video: Video, settings: Settings) -> list[NewUnit]:
    """The units that come after planning: one a chunk, and the one that waits for all of them."""
    chunks = plan_chunks(video, chunk_s=settings.chunk_s, margin_s=settings.margin_s)
    last = name_unit("video", job_id)
    units = [
        NewUnit(
            name_unit("chunk", job_id, chunk.index),
            "chunk",
            json.dumps({"video": asdict(video), "chunk": asdict(chunk)}),
            span_s=chunk.end_s - chunk.start_s,
            unblocks=last,
        )
        for chunk in chunks
    ]
    return [*units, NewUnit(last, "video", json.dumps({"video": asdict(video)}), num_blockers=len(units))]


def read_unit(lease: Lease, place: Settings) -> Unit:
    """The unit of a lease, to be run in the place that the settings describe. Raises StoreError."""
    job = lease.job
    settings = thaw_options(job.options, place)
    settings = settings.model_copy(update={"shrink": settings.shrink + lease.shrink})
    source = Source(job.uri, job.identity, job.size_bytes)
    try:
        payload = json.loads(lease.payload)
        video = _read_video(payload["video"]) if lease.kind != "plan" else None
        chunks: tuple[Chunk, ...] = ()
        if lease.kind == "chunk":
            chunks = (Chunk(**payload["chunk"]),)
        elif video is not None:
            chunks = plan_chunks(video, chunk_s=settings.chunk_s, margin_s=settings.margin_s)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"Unit {lease.unit_id} cannot be read: {error}",
            expected="what this version of Tubelet writes",
            do="run the same version on every machine, then submit the batch again",
        ) from error
    return Unit(lease.kind, job.job_id, source, video, chunks, settings, lease.token)


def _read_video(fields: Mapping[str, Any]) -> Video:
    return Video(**{**fields, "warnings": tuple(fields["warnings"])})
