"""Keeps work that takes seconds of a processor to a few requests at a time; others wait a little."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tubelet.api.server.problems import RETRY_AFTER_S, Problem
from tubelet.api.server.state import Service

WAIT_S = 20.0


@contextmanager
def take_slot(service: Service, *, is_needed: bool = True) -> Iterator[None]:
    """Hold one of the slots. Raises a Problem when none is free in time."""
    if not is_needed:
        yield
        return
    if not service.rendering.acquire(timeout=WAIT_S):
        raise Problem(
            "busy",
            "Too many clips, pictures and questions are under way",
            do="try again in a moment",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )
    try:
        yield
    finally:
        service.rendering.release()
