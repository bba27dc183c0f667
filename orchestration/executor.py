"""The executor seam: an executor only says where units run, never what they are or when they are done.

How a unit ended is in the ledger. An executor tells only that there is something new to be found there, and
which workers died, so that their units need not wait until their leases run out.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from tubelet.orchestration.ledger.records import ReadyUnit


@dataclass(frozen=True, slots=True)
class Returned:
    """A unit that is no longer with the executor. `died` says how its worker, `owner`, went down, if so."""

    unit: ReadyUnit
    owner: str = ""
    died: str = ""


class Executor(Protocol):
    """Runs units, each by `run_leased`.

    A unit that is sent comes back by `wait` where `returns_units`. An executor with a queue that outlives it
    gives none back: its workers report to the ledger alone.
    """

    @property
    def capacity(self) -> int:
        """How many units may usefully be under way."""

    @property
    def returns_units(self) -> bool:
        """Whether units come back by `wait`."""

    def count_under_way(self) -> int:
        """How many units were sent and have not come back; where none comes back, wait for a worker."""

    def send(self, unit: ReadyUnit) -> None:
        """Take a unit; returns at once. Raises StoreError when it cannot be taken now."""

    def wait(self, timeout_s: float) -> list[Returned]:
        """Units that came back, or none after `timeout_s`."""

    def __enter__(self) -> Self:
        """Start what units need to run."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop everything that was started, at once when leaving by an error."""
