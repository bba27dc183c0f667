"""Traces: one for every video of a batch, from its submission to its commit, over all processes.

The ids of a trace and of its first span are made from those of batch and video, so every process that has a
unit knows where its spans belong, and the ledger carries nothing for it. Without the setting nothing is
loaded, and nothing is done.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from tubelet.errors import DependencyError
from tubelet.orchestration.ledger.records import Batch, Lease, NewItem, UnitFailure
from tubelet.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanContext, Tracer

MAX_WAITING = 20_000
"""Spans that wait to be sent; of a collector that is away, further ones are dropped."""

SEND_S = 1.0
TIMEOUT_S = 5.0

_provider: TracerProvider | None = None
_tracer: Tracer | None = None


def start_tracing(settings: Settings) -> None:
    """Send spans of this process from now on, if the settings name a place for them.

    Raises DependencyError where the packages are missing.
    """
    global _provider, _tracer
    if not settings.traces or _provider is not None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        from tubelet.orchestration.watching.trace_ids import GivenIds
    except ImportError as error:
        raise DependencyError(
            f"Traces cannot be sent: {error}",
            expected="the packages of the extra 'traces'",
            do="pip install 'tubelet[traces]', or leave traces (TUBELET_TRACES) empty",
        ) from error
    resource = Resource(
        {"service.name": "tubelet", "host.name": socket.gethostname(), "process.pid": os.getpid()}
    )
    _provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, id_generator=GivenIds())
    exporter = OTLPSpanExporter(f"{settings.traces.rstrip('/')}/v1/traces", timeout=TIMEOUT_S)
    _provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=MAX_WAITING, schedule_delay_millis=SEND_S * 1000)
    )
    _tracer = _provider.get_tracer("tubelet")


def stop_tracing() -> None:
    """Send what waits, and end. Processes that end by themselves need not say so."""
    global _provider, _tracer
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None


def trace_listing(batch: Batch, items: Iterable[NewItem]) -> None:
    """Begin the traces of the videos that were found for a batch: from its submission until now."""
    if _tracer is None:
        return
    from opentelemetry.context import Context

    from tubelet.orchestration.watching.trace_ids import given_ids

    for item in items:
        if item.state == "waiting":
            with given_ids(*_make_ids(batch.batch_id, item.video_id)):
                _tracer.start_span(
                    "submit",
                    Context(),
                    attributes={
                        "tubelet.batch": batch.batch_id,
                        "tubelet.video": item.video_id,
                        "tubelet.uri": item.uri,
                    },
                    start_time=int(batch.created_s * 1e9),
                ).end()


class UnitSpan:
    """The span of a unit that runs; it does nothing where nothing is traced."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def fail(self, failure: UnitFailure) -> None:
        """Note that the attempt failed."""
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, failure.error))
            self._span.set_attribute("tubelet.error_class", failure.error_class)


@contextmanager
def unit_span(lease: Lease) -> Iterator[UnitSpan]:
    """The span of a unit, in the trace of its video and of the oldest batch that asks for it."""
    if _tracer is None or not lease.batch_ids:
        yield UnitSpan()
        return
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, NonRecordingSpan, set_span_in_context

    first, *others = [_make_context(batch_id, lease.job.video_id) for batch_id in lease.batch_ids]
    with _tracer.start_as_current_span(
        lease.kind,
        set_span_in_context(NonRecordingSpan(first), Context()),
        attributes={
            "tubelet.batch": lease.batch_ids[0],
            "tubelet.video": lease.job.video_id,
            "tubelet.unit": lease.unit_id,
            "tubelet.attempt": lease.attempt,
            "tubelet.worker": lease.owner,
        },
        links=[Link(other) for other in others],
    ) as span:
        yield UnitSpan(span)


@contextmanager
def stage_span(stage: str) -> Iterator[None]:
    """The span of a stage, inside that of the unit that runs."""
    if _tracer is None:
        yield
        return
    with _tracer.start_as_current_span(stage):
        yield


def add_span(stage: str, started_s: float, busy_s: float) -> None:
    """A span of a stage that went on beside others since `started_s`, and was waited for so long in all."""
    if _tracer is not None:
        span = _tracer.start_span(
            stage, attributes={"tubelet.busy_s": busy_s}, start_time=int(started_s * 1e9)
        )
        span.end(int(time.time() * 1e9))


def _make_ids(batch_id: str, video_id: str) -> tuple[int, int]:
    """The ids of a video's trace in a batch, and of its first span."""
    digest = blake2b(f"{batch_id}\n{video_id}".encode(), digest_size=24).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:]) or 1


def _make_context(batch_id: str, video_id: str) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    trace_id, span_id = _make_ids(batch_id, video_id)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
