"""The executor seam: an executor only says where units run, never what they are or when they are done."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from tubelet.orchestration.unit import Unit, UnitReport


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a unit ended: with a report, or with the error of its last attempt."""

    unit: Unit
    attempts: int
    report: UnitReport | None = None
    error: Exception | None = None


class Executor(Protocol):
    """Runs units. Every unit that is submitted comes back exactly once from `wait`."""

    @property
    def capacity(self) -> int:
        """How many units may usefully be submitted and not yet returned."""

    def submit(self, unit: Unit) -> None:
        """Take a unit; returns at once."""

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes that are ready, or none after `timeout_s`."""

    def seconds_under_way(self) -> float:
        """Seconds of video that running units have got through so far."""

    def __enter__(self) -> Self:
        """Start what units need to run."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop everything that was started, at once when leaving by an error."""
