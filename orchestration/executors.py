"""Opens the executor that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tubelet.orchestration.executor import Executor
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.local import LocalExecutor, name_owners
from tubelet.orchestration.masks_store import remove_unfinished_masks
from tubelet.orchestration.watching.traces import start_tracing
from tubelet.orchestration.work_store import WorkStore
from tubelet.settings import Settings


@contextmanager
def open_executor(settings: Settings, ledger: Ledger) -> Iterator[Executor]:
    """The executor of these settings, ready for units.

    Local processes have the home to themselves as long as it is open, and what an earlier run left half done
    is cleared first. Celery's workers have homes of their own, and actors of Ray those of their machines.
    Raises StoreError when the home is in use, or the broker or Ray does not answer.
    """
    start_tracing(settings)
    if settings.executor == "celery":
        from tubelet.orchestration.celery_executor import CeleryExecutor

        with CeleryExecutor(settings) as sender:
            yield sender
        return
    if settings.executor == "ray":
        from tubelet.orchestration.ray_executor import RayExecutor

        actors = RayExecutor(settings)
        with WorkStore(settings).claim(), _given_back(ledger, actors.owners), actors:
            yield actors
        return
    with WorkStore(settings).claim():
        remove_unfinished_masks(settings)
        ledger.give_back_all(name_owners(settings))
        with LocalExecutor(settings) as executor:
            yield executor


@contextmanager
def _given_back(ledger: Ledger, owners: str) -> Iterator[None]:
    """In the end, give back as no attempts what these owners were stopped in the middle of."""
    try:
        yield
    finally:
        ledger.give_back_all(owners)
