"""The coordinator against an executor that keeps its units as long as the test wants."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from tubelet.orchestration.coordinator import Coordinator
from tubelet.orchestration.executor import Returned
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.records import Batch, NewItem, ReadyUnit
from tubelet.settings import load_settings


class SlowExecutor:
    """Gives a unit back at the third time of asking."""

    returns_units = True
    capacity = 1

    def __init__(self) -> None:
        self.held: list[ReadyUnit] = []
        self._num_waits = 0

    def count_under_way(self) -> int:
        return len(self.held)

    def send(self, unit: ReadyUnit) -> None:
        self.held.append(unit)

    def wait(self, timeout_s: float) -> list[Returned]:
        self._num_waits += 1
        if self._num_waits < 3:
            return []
        returned, self.held = [Returned(unit) for unit in self.held], []
        return returned

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.held.clear()


def test_the_caller_is_heard_while_units_are_under_way(tmp_path: Path) -> None:
    """A run that is asked only when nothing runs could show no progress."""
    settings = load_settings({"home": tmp_path})
    executor = SlowExecutor()
    asked_with: list[int] = []

    def is_over() -> bool:
        asked_with.append(len(executor.held))
        return len(asked_with) >= 3

    with closing(open_ledger(settings.ledger_location)) as ledger:
        ledger.create_batch(Batch("b", "", 0.0, ("a.mp4",), "{}", "d"))
        ledger.add_items("b", [NewItem("a.mp4", "etag:1", 1, "v")])
        Coordinator(ledger, executor, settings).run(is_over=is_over)
    assert asked_with == [1, 1, 0]
