"""A pool of Ray actors for one kind of unit, between two bounds. Where an actor runs is Ray's choice."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tubelet.errors import StoreError
from tubelet.orchestration.executor import Returned
from tubelet.orchestration.ledger.records import ReadyUnit
from tubelet.orchestration.ray_actors import UnitActor

IDLE_S = 60.0
"""An actor beyond the least number that had nothing to do for so long is stopped: its GPU share is free."""

LEAVE_S = 5.0


@dataclass(frozen=True, slots=True)
class PoolSize:
    """How many actors, and what share of a machine each has."""

    least: int
    most: int
    num_cpus: float
    num_gpus: float


@dataclass(slots=True)
class _Actor:
    """One actor, the name it holds leases under, and the unit it has."""

    handle: Any
    owner: str
    idle_since_s: float
    unit: ReadyUnit | None = None
    call: Any = None


class Pool:
    """Gives the units of a queue to actors, one each at a time, so that it is known what a dead one had."""

    def __init__(self, ray: ModuleType, size: PoolSize, owners: str, shared: Mapping[str, Any]) -> None:
        self._ray = ray
        self._size = size
        self._owners = owners
        self._shared = shared
        self._queue: deque[ReadyUnit] = deque()
        self._actors: list[_Actor] = []
        self._make = ray.remote(
            num_cpus=size.num_cpus, num_gpus=size.num_gpus, max_restarts=0, max_task_retries=0
        )(UnitActor)
        for _ in range(size.least):
            self._start()

    @property
    def capacity(self) -> int:
        """Two units an actor: one that runs, one that waits."""
        return 2 * self._size.most

    @property
    def calls(self) -> list[Any]:
        """What Ray gives for every unit that is with an actor."""
        return [actor.call for actor in self._actors if actor.call is not None]

    def count(self) -> int:
        """How many units wait or run here."""
        return len(self._queue) + len(self.calls)

    def add(self, unit: ReadyUnit) -> None:
        """Take a unit; returns at once."""
        self._queue.append(unit)
        self.fill()

    def fill(self) -> None:
        """Give out what waits; start actors where all have work, stop those that had none for long."""
        for _ in range(len(self._queue)):
            actor = next((actor for actor in self._actors if actor.unit is None), None)
            if actor is None:
                if len(self._actors) >= self._size.most:
                    return
                actor = self._start()
            actor.unit = self._queue.popleft()
            actor.call = actor.handle.run.remote(actor.unit.unit_id)
        spare = len(self._actors) - self._size.least
        now_s = time.monotonic()
        idle = [a for a in self._actors if a.unit is None and now_s - a.idle_since_s > IDLE_S]
        for actor in idle[: max(0, spare)]:
            self._stop(actor)

    def collect(self, call: Any) -> Returned | None:
        """What became of a call that ended; None where another pool made it.

        Raises StoreError when an actor cannot even begin: its unit waits for the next one.
        """
        actor = next((actor for actor in self._actors if actor.call == call), None)
        if actor is None:
            return None
        assert actor.unit is not None
        unit, actor.unit, actor.call = actor.unit, None, None
        actor.idle_since_s = time.monotonic()
        died = ""
        try:
            self._ray.get(call)
        except self._ray.exceptions.RayActorError as error:
            self._stop(actor)
            if getattr(error, "actor_init_failed", False):
                self._queue.appendleft(unit)
                raise StoreError(
                    f"An actor of Ray could not start: {_read_cause(error)}",
                    expected="Tubelet of this version, and settings that it takes, on every machine of Ray",
                    do="correct the environment that Ray was started in there",
                ) from error
            died = f"its actor died: {_read_cause(error)}"
            while len(self._actors) < self._size.least:
                self._start()
        except self._ray.exceptions.RayTaskError as error:
            died = str(error.cause)  # the ledger could not be reached, so it does not know how it ended
        return Returned(unit, actor.owner, died)

    def stop(self, *, at_once: bool) -> None:
        """Stop all actors; what they had is no longer theirs."""
        if not at_once:
            leaving = [actor.handle.leave.remote() for actor in self._actors if actor.unit is None]
            if leaving:
                self._ray.wait(leaving, num_returns=len(leaving), timeout=LEAVE_S)
        for actor in list(self._actors):
            self._stop(actor)

    def _start(self) -> _Actor:
        owner = f"{self._owners}{uuid.uuid4().hex[:12]}"
        handle = self._make.remote(dict(self._shared), owner, max(1, int(self._size.num_cpus)))
        actor = _Actor(handle, owner, time.monotonic())
        self._actors.append(actor)
        return actor

    def _stop(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(actor.handle)


def _read_cause(error: BaseException) -> str:
    """The line of Ray's long message that tells the most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
