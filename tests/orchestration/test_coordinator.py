"""The coordinator against an executor that keeps its units as long as the test wants."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tubelet.orchestration.coordinator import Coordinator
from tubelet.orchestration.dead_workers import bury_worker
from tubelet.orchestration.executor import Returned
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.records import Batch, NewItem, ReadyUnit
from tubelet.orchestration.options import freeze_options
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


class OneByOne(SlowExecutor):
    """Holds two units, and gives back the first of them at each time of asking."""

    capacity = 2

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def send(self, unit: ReadyUnit) -> None:
        super().send(unit)
        self.sent.append(unit.unit_id)

    def wait(self, timeout_s: float) -> list[Returned]:
        return [Returned(self.held.pop(0))]


def test_units_that_are_not_sent_stay_ready_for_others(tmp_path: Path) -> None:
    """What one process takes from a shared ledger is hidden from all others for a while."""
    place = load_settings({"home": tmp_path})
    shared = place.model_copy(update={"ledger": "redis://127.0.0.1/0"})
    executor, stop = OneByOne(), threading.Event()

    def is_over() -> bool:
        if len(executor.sent) >= 5:
            stop.set()
        return False

    with closing(open_ledger(place.ledger_location)) as ledger:
        ledger.create_batch(Batch("b", "", 0.0, ("*.mp4",), "{}", "d"))
        ledger.add_items("b", [NewItem(f"{n}.mp4", f"etag:{n}", 1, f"v{n}") for n in range(10)])
        Coordinator(ledger, executor, shared).run(is_over=is_over, stop=stop)
        left = [unit.unit_id for unit in ledger.take_ready(100, redispatch_s=30.0)]
    assert len(left) + len(executor.sent) == 10


@pytest.mark.parametrize(("allowed", "state"), [(1, "failed"), (2, "waiting")])
def test_a_dead_workers_unit_has_the_attempts_of_its_batch(tmp_path: Path, allowed: int, state: str) -> None:
    """They are frozen into the batch; those of the machine that finds the worker dead do not count."""
    place = load_settings({"home": tmp_path, "max_attempts": 3})
    options = freeze_options(place.model_copy(update={"max_attempts": allowed}))
    with closing(open_ledger(place.ledger_location)) as ledger:
        ledger.create_batch(Batch("b", "", 0.0, ("a.mp4",), options, "d"))
        ledger.add_items("b", [NewItem("a.mp4", "etag:1", 1, "v")])
        (unit,) = ledger.take_ready(1, redispatch_s=0.0)
        assert ledger.acquire(unit.unit_id, "worker 1", lease_s=60.0)
        assert bury_worker(unit.unit_id, "worker 1", "signal 9", ledger=ledger, place=place)
        entry = ledger.get_unit(unit.unit_id)
        assert entry is not None
        assert entry.state == state
