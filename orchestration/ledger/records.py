"""What the ledger says: batches, their items, jobs, units of work, leases and events.

A batch holds *items*, one a source. An item that needs work belongs to a *job*: one video's content with one
set of options, whichever batches ask for it. A job is worked off in *units*: `plan` opens the video and cuts
chunks, `chunk` tracks one of them, `video` joins, describes and commits. Whoever runs a unit holds its
*lease*.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

UnitKind = Literal["plan", "chunk", "video"]
RUN_ORDER: tuple[UnitKind, ...] = ("video", "chunk", "plan")
"""Of one priority, what ends videos that are begun goes before what begins more of them."""

UnitState = Literal["waiting", "running", "done", "failed", "cancelled"]
ItemState = Literal["waiting", "running", "skipped", "done", "failed", "cancelled"]
JobState = Literal["running", "done", "failed", "cancelled"]
Control = Literal["running", "paused", "cancelled"]
ErrorClass = Literal["bad input", "transient", "out of memory", "bug"]
"""Why a unit failed: the input is at fault and is never tried again; the surroundings are, and it is tried
again after a while; memory ran out (`shrink` counts how often, and portions are halved so often); or we are.
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """What somebody submitted. `options` are the frozen settings as JSON, `digest` their `options_digest`.

    `idempotency_key` makes a repeated submission the same batch. `listed` is true once every address was
    expanded; `listing_error` says what stopped it.
    """

    batch_id: str
    name: str
    created_s: float
    addresses: tuple[str, ...]
    options: str
    digest: str
    priority: int = 0
    idempotency_key: str = ""
    control: Control = "running"
    listed: bool = False
    listing_error: str = ""

    @property
    def has_listing_ended(self) -> bool:
        """Whether no more sources will be found, be it because something stopped that."""
        return self.listed or bool(self.listing_error)


@dataclass(frozen=True, slots=True)
class NewItem:
    """A source that was found for a batch: to be worked on, skipped, or not usable from the start.

    `identity`, `size_bytes` and `video_id` are empty where the source could not even be identified.
    """

    uri: str
    identity: str = ""
    size_bytes: int = 0
    video_id: str = ""
    state: Literal["waiting", "skipped", "failed"] = "waiting"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One source of one batch, and how it stands. `reason` says why it was skipped or failed."""

    batch_id: str
    uri: str
    identity: str
    size_bytes: int
    video_id: str
    state: ItemState
    reason: str = ""
    error_class: ErrorClass | None = None
    duration_s: float = 0.0
    num_objects: int = 0
    num_moments: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """Items of a batch by state. `waiting` counts those under way too; `running` says how many of them."""

    found: int = 0
    skipped: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting: int = 0
    running: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One video's content with one set of options."""

    job_id: str
    video_id: str
    uri: str
    identity: str
    size_bytes: int
    options: str
    digest: str
    state: JobState
    duration_s: float = 0.0
    num_objects: int = 0
    num_moments: int = 0
    warnings: tuple[str, ...] = ()
    error: str = ""
    error_class: ErrorClass | None = None


@dataclass(frozen=True, slots=True)
class NewUnit:
    """A unit to be added to a job. It waits for `num_blockers` units, those whose `unblocks` names it."""

    unit_id: str
    kind: UnitKind
    payload: str
    span_s: float = 0.0
    num_blockers: int = 0
    unblocks: str = ""


@dataclass(frozen=True, slots=True)
class ReadyUnit:
    """A unit that may run now.

    `priority` is the highest of the running batches that ask for it, or that of the one it was taken for.
    """

    unit_id: str
    kind: UnitKind
    job_id: str
    span_s: float
    priority: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a unit until `expires_s`, and all that running it needs.

    `token` is the fencing token (Kleppmann, "How to do distributed locking", 2016): greater than every token
    that this ledger gave before, and in any other ledger in clock order, so that a store can refuse whoever
    lost the lease. `shrink` counts how often memory ran out: portions are halved so often. `batch_ids` are
    the batches that ask for the job, the oldest first.
    """

    unit_id: str
    kind: UnitKind
    job: Job
    payload: str
    owner: str
    token: int
    attempt: int
    expires_s: float
    span_s: float = 0.0
    shrink: int = 0
    batch_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What a finished unit tells.

    Objects, moments, warnings and models come from `video` units, the video's duration from `plan` units.
    `stage_seconds` says which of `seconds` went where; `gpu_seconds` are those on a GPU, times its share.
    """

    seconds: float
    duration_s: float = 0.0
    num_objects: int = 0
    num_moments: int = 0
    num_frames: int = 0
    warnings: tuple[str, ...] = ()
    models: str = ""
    resumed: bool = False
    gpu_seconds: float = 0.0
    stage_seconds: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class UnitFailure:
    """How a unit failed, and after how many seconds it may run again; None: never."""

    error_class: ErrorClass
    error: str
    seconds: float = 0.0
    retry_after_s: float | None = None
    gpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class UnitEntry:
    """A unit as the ledger keeps it: enough to run it again by hand.

    `attempts` are those that failed, and the one that runs or ended it; `seconds` those of all of them.
    `owner` is whoever runs it or ended it.
    """

    unit_id: str
    kind: UnitKind
    job_id: str
    state: UnitState
    payload: str
    attempts: int
    num_blockers: int = 0
    not_before_s: float = 0.0
    owner: str = ""
    token: int = 0
    expires_s: float = 0.0
    span_s: float = 0.0
    progress_s: float = 0.0
    seconds: float = 0.0
    shrink: int = 0
    error_class: ErrorClass | None = None
    error: str = ""
    models: str = ""


@dataclass(frozen=True, slots=True)
class StageProgress:
    """Units of one kind by state, the seconds of video that they cover, and the seconds of work they took.

    Spans leave out failed and cancelled units: `span_s - span_done_s` is what is left to do. Work counts all
    attempts.
    """

    waiting: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    span_s: float = 0.0
    span_done_s: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """A line of a batch's log. `number` rises within a ledger and is 0 until the ledger has the event."""

    time_s: float
    level: Literal["info", "warning", "error"]
    text: str
    batch_id: str = ""
    job_id: str = ""
    unit_id: str = ""
    fields: tuple[tuple[str, str], ...] = field(default=())
    number: int = 0
