"""The ray executor: pools of actors for planning, tracking and describing, placed by Ray.

What travels to an actor is a unit's id. Frames stay in the process that decodes them, and pictures of objects
go from tracking to describing through the work store.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from types import ModuleType, TracebackType
from typing import Self

from tubelet.errors import TransientStoreError
from tubelet.orchestration.executor import Returned
from tubelet.orchestration.ledger.records import ReadyUnit, UnitKind
from tubelet.orchestration.ray_actors import choose_shared
from tubelet.orchestration.ray_cluster import joined_cluster
from tubelet.orchestration.ray_pools import Pool, PoolSize
from tubelet.settings import Settings


class RayExecutor:
    """Runs units in the actors of a Ray cluster, or of one that it starts on this machine."""

    returns_units = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.owners = f"ray:{uuid.uuid4().hex[:12]}:"
        """How the names of all actors of this run begin."""
        self._pools: dict[UnitKind, Pool] = {}
        self._ray: ModuleType | None = None
        self._open = ExitStack()

    @property
    def capacity(self) -> int:
        """How many units the pools have room for, those that run and those that wait."""
        return sum(pool.capacity for pool in self._pools.values())

    def count_under_way(self) -> int:
        """How many units wait or run here."""
        return sum(pool.count() for pool in self._pools.values())

    def send(self, unit: ReadyUnit) -> None:
        """Take a unit; returns at once. Raises TransientStoreError when Ray is gone."""
        with self._explained():
            self._pools[unit.kind].add(unit)

    def wait(self, timeout_s: float) -> list[Returned]:
        """Units that ended, or none after `timeout_s`. Raises StoreError when no actor can start."""
        assert self._ray is not None, "the executor is entered first"
        with self._explained():
            for pool in self._pools.values():
                pool.fill()
            calls = [call for pool in self._pools.values() for call in pool.calls]
            if not calls:
                time.sleep(timeout_s)
                return []
            ended, _ = self._ray.wait(calls, num_returns=1, timeout=timeout_s)
            if ended:  # whatever else has ended by now
                ended, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
            returned = [pool.collect(call) for call in ended for pool in self._pools.values()]
            for pool in self._pools.values():
                pool.fill()
        return [each for each in returned if each is not None]

    def __enter__(self) -> Self:
        sizes = choose_sizes(self._settings)
        num_cpus = sum(size.most * size.num_cpus for size in sizes.values())
        with ExitStack() as stack:
            self._ray = stack.enter_context(joined_cluster(self._settings, num_cpus=num_cpus))
            shared = choose_shared(self._settings)
            self._pools = {
                kind: Pool(self._ray, size, f"{self.owners}{kind}:", shared) for kind, size in sizes.items()
            }
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._open:
            for pool in self._pools.values():
                pool.stop(at_once=kind is not None)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        assert self._ray is not None, "the executor is entered first"
        try:
            yield
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            raise TransientStoreError(
                f"The Ray cluster does not answer: {type(error).__name__}: {error}",
                do="see if its head runs (ray status); nothing is lost",
            ) from error


def choose_sizes(settings: Settings) -> dict[UnitKind, PoolSize]:
    """The bounds of the pools: those that are set, else as many as `workers` says at most."""

    def choose(bounds: tuple[int, int] | None, most: int, gpus: float) -> PoolSize:
        least, most = bounds or (0, most)
        return PoolSize(least, most, settings.ray_cpus, gpus)

    return {
        "plan": choose(settings.ray_plan_actors, 1, 0.0),
        "chunk": choose(settings.ray_chunk_actors, settings.num_workers, settings.ray_chunk_gpus),
        "video": choose(settings.ray_video_actors, settings.num_workers, settings.ray_video_gpus),
    }
