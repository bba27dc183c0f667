"""What a service must stand: any request that fits its document, slow and large ones, failing parts."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.api.conftest import Served, StartService
from tests.api.tiny_index import fill_home, make_settings
from tests.redis_server import RedisServer
from tubelet.api.keys import KeyFile, find_key_file
from tubelet.api.server import layers, opening
from tubelet.api.server.routes import batches as batch_routes
from tubelet.orchestration.ledger import redis_client
from tubelet.workers import object_store

CHECKS = "not_a_server_error,content_type_conformance,unsupported_method"


def test_no_request_that_the_document_allows_breaks_it(
    start_service: StartService, tmp_path: Path, clip: Path
) -> None:
    served = start_service(fill_home(tmp_path / "home", clip))
    (video,) = served.get("/v1/videos")["videos"]
    batch = served.post("/v1/batches", 202, json={"sources": [str(clip)]})
    ids = {"object_id": "o1", "video_id": video["video_id"], "batch_id": batch["batch_id"]}
    lines = "".join(f'"path.{name}" = "{value}"\n' for name, value in ids.items())
    (tmp_path / "schemathesis.toml").write_text(f"[parameters]\n{lines}")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{served.address}/openapi.json"),
        *("--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "6"),
        *("--max-time", "12", "--seed", "7", "--request-timeout", "30", "--no-color"),
        *("--generation-with-security-parameters", "false", "--exclude-path-regex", "/events$"),
        *("--generation-database", "none", "--suppress-health-check", "all"),
    ]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "cases" in done.stdout
    counts = served.client.get("/metrics").text
    assert 'status="5' not in counts
    assert served.get("/readyz")["status"] == "ready"


def connect(served: Served) -> socket.socket:
    place = urlsplit(served.address)
    assert place.hostname
    assert place.port
    return socket.create_connection((place.hostname, place.port), timeout=30)


def read_all(connection: socket.socket) -> bytes:
    told = b""
    while part := connection.recv(65536):
        told += part
    return told


@pytest.mark.parametrize("path", ["/v1/search", "/v1/uploads"])
def test_a_body_that_stands_still_is_given_up(
    service: Served, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(layers, "SILENCE_S", 0.2)
    with connect(service) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(f'{head}Content-Length: 500\r\n\r\n{{"query": "c'.encode())
        told = read_all(connection)
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b'"code": "too-slow"' in told
    assert service.get("/healthz")["status"] == "ok"


def test_a_body_that_trickles_is_given_up(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "BODY_S", 0.5)
    with connect(service) as connection:
        head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode())
        connection.settimeout(0.05)
        told = b""
        give_up = time.monotonic() + 30
        while not told and time.monotonic() < give_up:
            connection.sendall(b" ")
            try:
                told = connection.recv(65536)
            except TimeoutError:
                continue
    assert told.startswith(b"HTTP/1.1 408 ")


def test_bodies_that_are_too_large_are_refused_before_and_while_they_come(
    service: Served, start_service: StartService, tmp_path: Path, clip: Path
) -> None:
    with connect(service) as connection:  # nothing of the body is sent, and the answer is there
        head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: 99999999\r\n\r\n".encode())
        assert read_all(connection).startswith(b"HTTP/1.1 413 ")

    def grow() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * (1 << 20)

    headers = {"Content-Type": "application/json"}
    try:
        answer = service.client.post("/v1/search", content=grow(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    except httpx2.TransportError:
        pass  # the connection is closed while the client still sends
    small = start_service(make_settings(tmp_path / "home", api_upload_gb=1e-5))
    raw = {"Content-Type": "application/octet-stream"}
    assert small.post("/v1/uploads", 413, content=clip.read_bytes(), headers=raw)["code"] == "too-large"
    left = [path for path in (tmp_path / "home").rglob("*") if path.is_file() and "ledger" not in path.name]
    assert left == []


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /v1/videos HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \xff\xfe\r\nConnection: close\r\n\r\n",
        b"GET /v1/videos HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a\x01b\r\nConnection: close\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\nConnection: close\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9e9\r\nConnection: close\r\n\r\n",
        b"GET /v1/objects/%ff%fe%00/clip HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /v1/search?q=%ff%ed%a0%80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
    ],
)
def test_broken_requests_break_nothing(service: Served, request_text: bytes) -> None:
    with connect(service) as connection:
        connection.sendall(request_text)
        told = read_all(connection)
    assert told[:12] in {b"", *(b"HTTP/1.1 %d" % status for status in (200, 400, 404, 411, 422))}, told[:300]
    assert service.get("/healthz")["status"] == "ok"


@pytest.mark.parametrize(
    "body",
    ['{"query": "\\ud800"}', '{"structured": {"text": "\\ud800"}}', '{"filters": {"uris": ["\\udfff"]}}'],
)
def test_half_characters_are_answered(service: Served, body: str) -> None:
    answer = service.client.post("/v1/search", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 422), answer.text


def test_a_crowd_is_served(service: Served) -> None:
    wanted = service.get("/v1/search?q=red+car+turning+left")["hits"]

    ready = threading.Barrier(200)
    every = httpx2.Limits(max_connections=None)
    with httpx2.Client(base_url=service.address, limits=every, timeout=60) as client:

        def ask(_: int) -> Any:
            ready.wait(timeout=60)
            answer = client.get("/v1/search?q=red+car+turning+left")
            return answer.json()["hits"] if answer.status_code == 200 else answer.text

        with ThreadPoolExecutor(200) as pool:
            assert all(found == wanted for found in pool.map(ask, range(200)))


def test_a_ledger_that_is_away_is_told_and_comes_back(
    start_service: StartService, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "NUM_RETRIES", 1)
    monkeypatch.setattr(redis_client.RedisClient.__init__, "__kwdefaults__", _hurry())
    monkeypatch.setattr(opening, "TRY_AGAIN_S", 0.0)
    monkeypatch.setattr(batch_routes, "KEEP_ALIVE_S", 0.2)
    with RedisServer(tmp_path / "redis", appendfsync="always") as redis:
        settings = fill_home(tmp_path / "home", clip, ledger=redis.url)
        key = KeyFile(find_key_file(settings)).add("k", scopes=["search", "submit"])
        served = start_service(settings, key=key)
        batch = served.post("/v1/batches", 202, json={"sources": [f"upload:{_upload(served, clip)}"]})
        place = f"/v1/batches/{batch['batch_id']}"
        with served.client.stream("GET", f"{place}/events") as events:
            lines = events.iter_lines()
            redis.kill()
            for path in ("/v1/batches", place):
                answer = served.client.get(path)
                assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
                assert answer.headers["retry-after"]
            assert served.get("/readyz", 503)["ledger"] == "does not answer"
            assert served.get("/v1/search?q=car")["hits"], "a search needs no ledger"
            assert served.get("/healthz")["status"] == "ok"
            assert any(line == "event: unavailable" for line in lines)
            redis.start()
            assert served.get(place)["state"] == "listing"
            assert served.get("/readyz")["status"] == "ready"
            served.post(f"{place}/cancel")
            assert any(line == "event: ended" for line in lines)


def _hurry() -> dict[str, Any]:
    given = redis_client.RedisClient.__init__.__kwdefaults__
    return {**given, "timeout_s": 0.5, "num_retries": 1}


def _upload(served: Served, clip: Path) -> str:
    headers = {"Content-Type": "application/octet-stream"}
    taken = served.post("/v1/uploads", 201, content=clip.read_bytes(), headers=headers)
    return str(taken["upload_id"])


def test_a_full_disk_is_told_and_leaves_nothing(
    start_service: StartService, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = start_service(make_settings(tmp_path / "home"))
    _upload(served, clip)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    headers = {"Content-Type": "application/octet-stream"}
    with monkeypatch.context() as full:
        full.setattr(object_store.os, "fsync", fail)
        problem = served.post("/v1/uploads", 507, content=clip.read_bytes(), headers=headers)
        assert problem["code"] == "no-room"
    uploads = tmp_path / "home" / "uploads"
    assert len([path for path in uploads.rglob("*") if path.is_file()]) == 1
    assert _upload(served, clip)


def test_a_disk_that_is_full_for_clips_and_exports_is_told_too(
    start_service: StartService, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = start_service(fill_home(tmp_path / "home", clip))
    own, replace = tmp_path / "home" / "api", os.replace

    def fail(source: Any, target: Any) -> None:
        if Path(target).is_relative_to(own):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    clip_path = "/v1/objects/o1/clip?start_s=1&end_s=1.2"
    with monkeypatch.context() as full:
        full.setattr(os, "replace", fail)
        assert served.get(clip_path, 507)["code"] == "no-room"
        assert served.post("/v1/exports", 507, json={"format": "csv"})["code"] == "no-room"
        assert served.get("/v1/search?q=car")["hits"], "a search writes nothing"
    assert [path for path in own.rglob("*") if path.is_file()] == []
    assert served.client.get(clip_path).status_code == 200
    export = served.post("/v1/exports", 202, json={"format": "csv"})
    place = f"/v1/exports/{export['export_id']}"
    while served.get(place)["state"] == "running":
        pass
    assert served.get(place)["state"] == "done"
