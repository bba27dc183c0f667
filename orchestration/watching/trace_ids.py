"""Ids for spans: by chance, or those that are given. Only what traces loads this."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

_given: ContextVar[tuple[int, int] | None] = ContextVar("tubelet_trace_ids", default=None)


@contextmanager
def given_ids(trace_id: int, span_id: int) -> Iterator[None]:
    """The span that is started inside has these ids."""
    token = _given.set((trace_id, span_id))
    try:
        yield
    finally:
        _given.reset(token)


class GivenIds(RandomIdGenerator):
    """Ids by chance where none are given."""

    def generate_trace_id(self) -> int:
        """The id of a trace."""
        given = _given.get()
        return given[0] if given is not None else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """The id of a span."""
        given = _given.get()
        return given[1] if given is not None else super().generate_span_id()
