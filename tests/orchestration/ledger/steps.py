"""Short ways to bring a ledger into a state."""

from __future__ import annotations

from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Batch, Lease, NewItem, NewUnit, UnitFailure, UnitResult

TRANSIENT = UnitFailure("transient", "the store answered 503", seconds=2.0, retry_after_s=30.0)
FATAL = UnitFailure("bad input", "not a video", seconds=1.0)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self, now_s: float = 1_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


def batch(batch_id: str = "a", **changes: object) -> Batch:
    """A batch of one address."""
    values = {
        "name": f"batch {batch_id}",
        "created_s": 1.0,
        "addresses": ("s3://archive/2026/**",),
        "options": '{"stride": 2}',
        "digest": "d1",
        **changes,
    }
    return Batch(batch_id=batch_id, **values)  # type: ignore[arg-type]


def item(name: str, *, uri: str = "") -> NewItem:
    """A source that waits; its content is named `name`."""
    return NewItem(uri or f"s3://archive/{name}.mp4", f"etag-{name}", 1000, f"v-{name}")


def begin(ledger: Ledger, *names: str, batch_id: str = "a", **changes: object) -> Batch:
    """Create a batch with an item for each name and end its listing."""
    made = ledger.create_batch(batch(batch_id, **changes))
    ledger.add_items(batch_id, [item(name) for name in names])
    ledger.end_listing(batch_id)
    return made


def plan_id(name: str, digest: str = "d1") -> str:
    """The unit that the job of a content begins with."""
    return f"plan:v-{name}.{digest}"


def chunk_id(name: str, number: int, digest: str = "d1") -> str:
    """A chunk's unit of the job of a content."""
    return f"chunk:v-{name}.{digest}:{number:05}"


def video_id(name: str, digest: str = "d1") -> str:
    """The last unit of the job of a content."""
    return f"video:v-{name}.{digest}"


def acquire(ledger: Ledger, unit_id: str, owner: str = "w1", *, lease_s: float = 60.0) -> Lease:
    """The lease of a unit that may run."""
    lease = ledger.acquire(unit_id, owner, lease_s=lease_s)
    assert lease is not None, f"{unit_id} may not run: {ledger.get_unit(unit_id)}"
    return lease


def units_after_plan(name: str, num_chunks: int, *, span_s: float = 20.0) -> list[NewUnit]:
    """Chunks of `span_s` seconds, and the unit that waits for all of them."""
    chunks = [
        NewUnit(
            chunk_id(name, number),
            "chunk",
            f'{{"chunk": {number}}}',
            span_s,
            unblocks=video_id(name),
        )
        for number in range(num_chunks)
    ]
    return [*chunks, NewUnit(video_id(name), "video", '{"of": "video"}', span_s * num_chunks, num_chunks)]


def plan(ledger: Ledger, name: str, num_chunks: int = 2) -> None:
    """Run the plan of a job: the video lasts 20 s a chunk."""
    lease = acquire(ledger, plan_id(name))
    ledger.complete(lease, UnitResult(0.5, duration_s=20.0 * num_chunks), units_after_plan(name, num_chunks))


def run_chunks(ledger: Ledger, name: str, num_chunks: int = 2) -> None:
    """Run the chunks of a job."""
    for number in range(num_chunks):
        ledger.complete(acquire(ledger, chunk_id(name, number)), UnitResult(3.0, num_frames=100))


def finish(ledger: Ledger, name: str, num_chunks: int = 2) -> None:
    """Run a job from its plan to its end."""
    plan(ledger, name, num_chunks)
    run_chunks(ledger, name, num_chunks)
    ledger.complete(
        acquire(ledger, video_id(name)),
        UnitResult(4.0, num_objects=7, num_moments=3, warnings=("no key frames",), models="sam2@1"),
    )


def ready(ledger: Ledger, limit: int = 1000, *, redispatch_s: float = 60.0, batch_id: str = "") -> list[str]:
    """Ids of units that are ready, and taken by this."""
    return [unit.unit_id for unit in ledger.take_ready(limit, redispatch_s=redispatch_s, batch_id=batch_id)]


def states(ledger: Ledger, batch_id: str = "a") -> dict[str, str]:
    """State of every item, by the last part of its URI."""
    return {i.uri.rpartition("/")[2].removesuffix(".mp4"): i.state for i in ledger.list_items(batch_id)}
