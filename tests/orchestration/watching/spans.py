"""Receives spans over OTLP, and says what must hold of the trace of a video."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from tests.orchestration.celery_workers import wait_until


@dataclass(frozen=True, slots=True)
class Received:
    """A span, and the process that it is from."""

    span: Span
    process_id: int


@contextmanager
def receiving_spans() -> Iterator[tuple[str, list[Received]]]:
    """A receiver of OTLP over HTTP: its address, and what has come."""
    received: list[Received] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                received.extend(_read(resource))
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()


def _read(resource: ResourceSpans) -> list[Received]:
    (process_id,) = [
        pair.value.int_value for pair in resource.resource.attributes if pair.key == "process.pid"
    ]
    return [Received(span, process_id) for scope in resource.scope_spans for span in scope.spans]


def read_texts(pairs: Sequence[KeyValue]) -> dict[str, str]:
    """The attributes of a span that are text."""
    return {pair.key: pair.value.string_value for pair in pairs}


def list_trace(received: Sequence[Received], uri: str) -> list[Received]:
    """The spans of the trace that the submission of a source began."""
    roots = [each.span for each in received if read_texts(each.span.attributes).get("tubelet.uri") == uri]
    return [each for each in received if each.span.trace_id in [root.trace_id for root in roots]]


def check_trace(received: Sequence[Received], uri: str, *, units: Sequence[str], submitter: int) -> Span:
    """Wait for the spans of a source, and see that they are one tree; its root.

    It goes from the submission to the units, each in a process of workers, and on to their stages.
    """
    wanted = Counter(["submit", *units])
    wait_until(
        lambda: wanted <= Counter(each.span.name for each in list_trace(received, uri)),
        "the spans of all units",
    )
    trace = list_trace(received, uri)
    spans = {each.span.span_id: each.span for each in trace}
    assert len(spans) == len(trace), "no span comes twice"
    (root,) = [each for each in trace if each.span.name == "submit"]
    assert (root.span.parent_span_id, root.process_id) == (b"", submitter)
    rest = [each for each in trace if each is not root]
    assert all(each.span.parent_span_id in spans for each in rest), "no span hangs loose"
    inside = {each.span.span_id: each for each in rest if each.span.parent_span_id == root.span.span_id}
    assert sorted(each.span.name for each in inside.values()) == sorted(units)
    assert submitter not in {each.process_id for each in inside.values()}
    stages = set()
    for each in rest:
        if each.span.span_id not in inside:
            unit = each.span
            while unit.span_id not in inside:
                unit = spans[unit.parent_span_id]
            assert each.process_id == inside[unit.span_id].process_id
            stages.add((unit.name, each.span.name))
    assert {("plan", "open"), ("chunk", "track"), ("video", "describe"), ("video", "commit")} <= stages
    tracks = {span.span_id for span in spans.values() if span.name == "track"}
    reads = [span for span in spans.values() if span.name == "read" and span.parent_span_id in tracks]
    assert len(reads) >= units.count("chunk"), "reading goes on inside tracking"
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans.values())
    batch_ids = {read_texts(each.span.attributes)["tubelet.batch"] for each in (root, *inside.values())}
    assert len(batch_ids) == 1
    return root.span
