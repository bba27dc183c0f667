"""How far a batch is: what became of its sources, how fast each stage goes, and how long it will take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Batch, ItemCounts, StageProgress, UnitKind

BatchState = Literal["listing", "running", "paused", "cancelled", "done", "failed"]

ENDED: tuple[BatchState, ...] = ("done", "failed", "cancelled")

STAGES: Mapping[UnitKind, str] = {"plan": "open", "chunk": "track", "video": "describe and commit"}


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of unit of a batch.

    `rate` is seconds of video (for other stages than `chunk`, units) a second of one worker's time; `left_s`
    is the time that what is left will take with as many workers as run now. Both are None before anything is
    done.
    """

    kind: UnitKind
    progress: StageProgress
    rate: float | None
    left_s: float | None


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """A batch with its counts and stages. `found` = skipped + done + failed + cancelled + waiting."""

    batch: Batch
    state: BatchState
    counts: ItemCounts
    stages: tuple[Stage, ...]

    @property
    def left_s(self) -> float | None:
        """Seconds until all that is known of is done: the slowest stage's, since stages run side by side."""
        known = [stage.left_s for stage in self.stages if stage.left_s is not None]
        return max(known) if known and self.state in ("listing", "running") else None


def measure_batch(batch: Batch, ledger: Ledger) -> BatchProgress:
    """The progress of a batch as its ledger has it."""
    counts = ledger.count_items(batch.batch_id)
    stages = ledger.measure_stages(batch.batch_id)
    return BatchProgress(
        batch,
        name_state(batch, counts),
        counts,
        tuple(measure_stage(kind, stages[kind]) for kind in STAGES if kind in stages),
    )


def name_state(batch: Batch, counts: ItemCounts) -> BatchState:
    """One word for a batch. It is `done` only when every source is, or was skipped; else it `failed`."""
    if batch.control == "cancelled":
        return "cancelled"
    if batch.has_listing_ended and counts.waiting == 0:
        return "failed" if counts.failed or batch.listing_error else "done"
    if batch.control == "paused":
        return "paused"
    return "running" if batch.has_listing_ended else "listing"


def measure_stage(kind: UnitKind, progress: StageProgress) -> Stage:
    """Rate and time left of a stage.

    >>> measure_stage("plan", StageProgress(waiting=2, running=1, done=4, seconds=2.0)).left_s
    1.5
    """
    by_span = kind == "chunk"
    done = progress.span_done_s if by_span else float(progress.done)
    total = progress.span_s if by_span else float(progress.done + progress.waiting + progress.running)
    if done <= 0 or progress.seconds <= 0:
        return Stage(kind, progress, None, None)
    rate = done / progress.seconds
    return Stage(kind, progress, rate, max(0.0, total - done) / rate / max(1, progress.running))
