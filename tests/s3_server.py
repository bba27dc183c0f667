"""Fixtures: an S3 server on this machine's loopback address, and one in front of it that fails on demand."""

from __future__ import annotations

import http.client
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tubelet.workers.s3 import S3Options, close_clients, connect

PAGE_KEYS = 10
Fault = Literal["500", "503", "reset", "lost", "short", "silent", "slow"]


@contextmanager
def start_s3_server() -> Iterator[str]:
    """The address of a real S3 server (moto) in a process of its own, whose listings have short pages."""
    code = (
        "import sys, moto.server\n"
        "server = moto.server.ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)\n"
        "server.start()\n"
        "print(server.get_host_and_port()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE_KEYS)},
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        close_clients()
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a real S3 server."""
    with start_s3_server() as url:
        yield url


@pytest.fixture
def s3_options(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> S3Options:
    """Options for the test server, with credentials only where boto3 looks for them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    return S3Options(endpoint_url=s3_server, region="us-east-1", num_attempts=1)


@pytest.fixture
def s3_client(s3_options: S3Options) -> Any:
    """A plain boto3 client of the test server."""
    return connect(s3_options)


@pytest.fixture
def bucket(s3_client: Any) -> Iterator[str]:
    """A bucket of the test's own, removed with all it holds."""
    name = f"bucket-{uuid4().hex}"
    s3_client.create_bucket(Bucket=name)
    yield name
    for page in s3_client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for item in page.get("Contents", []):
            s3_client.delete_object(Bucket=name, Key=item["Key"])
    s3_client.delete_bucket(Bucket=name)


class FaultyS3:
    """Passes requests on to the S3 server, and fails those that `fail` asks for."""

    def __init__(self, behind: str) -> None:
        self._behind = urlsplit(behind).netloc
        self._faults: list[tuple[str, Fault]] = []
        self._lock = Lock()
        self.requests: list[str] = []
        self.released = Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle_any(self) -> None:
                outer._handle(self)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def fail(self, method: str, fault: Fault, times: int = 1) -> None:
        """Let the next requests of a method fail: with a status, a reset, half a body, or no answer in time.

        A lost request is done, and its answer never comes. A slow one stops in the middle of its body.
        """
        with self._lock:
            self._faults += [(method, fault)] * times

    def heal(self) -> None:
        """Fail no more requests."""
        with self._lock:
            self._faults.clear()

    def close(self) -> None:
        """Stop, also answers that are held back."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take_fault(self, method: str) -> Fault | None:
        with self._lock:
            self.requests.append(method)
            for place, (wanted, fault) in enumerate(self._faults):
                if wanted == method:
                    del self._faults[place]
                    return fault
        return None

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        fault = self._take_fault(request.command)
        if fault == "silent":
            self.released.wait()
        if fault in ("silent", "reset"):
            _reset(request)
            return
        if fault in ("500", "503"):
            code = {"500": "InternalError", "503": "SlowDown"}[fault]
            content = f"<Error><Code>{code}</Code><Message>Please wait</Message></Error>".encode()
            request.send_response(int(fault))
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            if request.command != "HEAD":
                request.wfile.write(content)
            return
        connection = http.client.HTTPConnection(self._behind)
        try:
            connection.request(request.command, request.path, body, dict(request.headers))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if fault == "lost":
            _reset(request)
            return
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "content-length", "date", "server", "transfer-encoding"):
                request.send_header(name, value)
        length = answer.getheader("Content-Length") or str(len(content))
        request.send_header("Content-Length", length)
        request.end_headers()
        if fault in ("short", "slow"):
            content = content[: len(content) // 2]
            request.close_connection = True
        if request.command != "HEAD":
            request.wfile.write(content)
        if fault == "slow":
            self.released.wait()


def _reset(request: BaseHTTPRequestHandler) -> None:
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RD)


@pytest.fixture
def faulty_s3(s3_server: str, s3_options: S3Options) -> Iterator[FaultyS3]:
    """A server in front of the S3 server; `S3Options(faulty_s3.url, …)` talks to it."""
    server = FaultyS3(s3_server)
    yield server
    server.close()
