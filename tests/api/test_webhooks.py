"""Webhooks: where they may go, how they are signed, and that they arrive."""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.conftest import StartService, serve
from tests.api.tiny_index import make_settings
from tubelet.api.server import webhooks
from tubelet.api.server.webhook_sending import find_target, is_public, make_headers, post, sign, verify
from tubelet.errors import InputError, TransientError, TubeletError


class Receiver:
    """A server that notes what it is told; it answers with the statuses that it was given, then with 204."""

    def __init__(self) -> None:
        outer = self
        self.told: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.arrived = threading.Condition()

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.answers.pop(0) if outer.answers else 204
                self.send_response(status)
                if status in (302, 307):
                    self.send_header("Location", "http://127.0.0.1:1/inside")
                self.end_headers()
                with outer.arrived:
                    outer.told.append((self.path, dict(self.headers), body))
                    outer.arrived.notify_all()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def wait_for(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.told) >= count, timeout=60)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.close()


def test_who_listens_is_told_once_the_batch_has_ended(
    start_service: StartService,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(webhooks, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(webhooks, "LOOK_S", 0.02)
    receiver.answers = [500, 307]
    host = f"localhost:{receiver.port}"
    served = start_service(make_settings(tmp_path / "home", api_webhook_hosts=host))
    request = {"sources": ["/nowhere"], "webhook": {"url": f"http://{host}/told?by=tubelet"}}
    batch = served.post("/v1/batches", 202, json=request)
    place, secret = f"/v1/batches/{batch['batch_id']}", batch["webhook"]["secret"]
    assert len(secret) == 43
    assert receiver.told == []
    served.post(f"{place}/cancel")
    receiver.wait_for(3)
    for path, headers, body in receiver.told:
        assert path == "/told?by=tubelet"
        assert verify(secret, body, headers["Tubelet-Signature"], now_s=time.time())
        assert not verify("other", body, headers["Tubelet-Signature"], now_s=time.time())
        assert json.loads(body)["batch"]["state"] == "cancelled"
    assert len({headers["Tubelet-Delivery"] for _, headers, _ in receiver.told}) == 1
    while (state := served.get(place)["webhook"])["state"] == "waiting":
        pass
    assert (state["state"], state["attempts"]) == ("delivered", 3)
    assert "secret" not in state
    assert state["url"] == f"http://{host}/…", "the path of an address may be a secret"
    assert secret not in json.dumps(served.get(place))
    assert "attempt 2: the receiver answered 307" in caplog.text
    assert secret not in caplog.text
    assert "told?by" not in caplog.text


def test_a_webhook_outlives_its_process(
    start_service: StartService, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "LOOK_S", 0.02)
    settings = make_settings(tmp_path / "home", api_webhook_hosts="127.0.0.1")
    with serve(settings) as first:
        request = {"sources": ["/nowhere"], "webhook": {"url": f"http://127.0.0.1:{receiver.port}/"}}
        batch = first.post("/v1/batches", 202, json=request)
    second = start_service(settings)
    second.post(f"/v1/batches/{batch['batch_id']}/cancel")
    receiver.wait_for(1)
    second.ask("DELETE", f"/v1/batches/{batch['batch_id']}", 204)
    assert not list((settings.home / "api" / "webhooks").glob("*"))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://localhost./",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://017700000001/",
        "http://127.1/",
        "http://0/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://224.0.0.1/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1]/",
        "http://[fe80::1%25lo]/",
        "http://[fc00::1]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        "http://user:pass@8.8.8.8/",
        "http://8.8.8.8:99999/",
        "http://8.8.8.8\\@127.0.0.1/",
        "http:// 8.8.8.8/",
        "http://8.8.8.8/\r\nX: y",
        "http:///path",
        "ftp://8.8.8.8/",
        "file:///etc/passwd",
        "gopher://8.8.8.8/",
        "//8.8.8.8/",
        "http://münchen.example/",
        "http://8.8.8.8/" + "a" * 2000,
    ],
)
def test_addresses_inside_are_refused(url: str) -> None:
    with pytest.raises((InputError, TransientError)):
        find_target(url)


def test_public_addresses_are_taken_in_any_form() -> None:
    assert find_target("https://8.8.8.8/a?b=c").address == "8.8.8.8"
    target = find_target("http://134744072:8080")
    assert (target.address, target.port, target.path) == ("8.8.8.8", 8080, "/")
    assert find_target("https://[2001:4860:4860::8888]/").is_tls


def test_every_address_of_a_name_must_be_public_and_the_checked_one_is_called(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    answers: list[list[str]] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in answers.pop(0)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    answers[:] = [["8.8.8.8", "127.0.0.1"]]
    with pytest.raises(InputError, match=r"127\.0\.0\.1"):
        find_target("http://two.example/")
    answers[:] = [["93.184.215.14"]]
    assert find_target("http://rebound.example/").address == "93.184.215.14"
    # nothing is resolved a second time: with no answer left, asking would fail
    answers[:] = [["127.0.0.1"]]
    target = find_target(f"http://inside.example:{receiver.port}/x", ["inside.example"])
    monkeypatch.undo()
    assert post(target, b"{}", make_headers("s", b"{}", "d")) == 204
    receiver.wait_for(1)
    assert receiver.told[0][1]["Host"] == f"inside.example:{receiver.port}"


@given(st.integers(0, 2**32 - 1))
def test_wrapping_never_makes_an_address_public(number: int) -> None:
    inner = ipaddress.IPv4Address(number)
    if not is_public(inner):
        for text in (f"::ffff:{inner}", f"64:ff9b::{inner}", f"::{inner}"):
            assert not is_public(ipaddress.IPv6Address(text)), text


@given(st.text(max_size=200))
def test_any_text_is_refused_or_a_target(url: str) -> None:
    try:
        target = find_target(url.replace("example", "invalid"), ())
    except TubeletError:
        return
    assert is_public(ipaddress.ip_address(target.address))


def test_signatures_bind_body_and_time() -> None:
    signed = sign("secret", b"{}", time_s=1000)
    assert verify("secret", b"{}", signed, now_s=1100)
    assert not verify("secret", b"{ }", signed, now_s=1100)
    assert not verify("secret", b"{}", signed, now_s=2000)
    assert not verify("secret", b"{}", signed.replace("t=1000", "t=1001"), now_s=1100)
    assert not verify("secret", b"{}", "t=²,v1=", now_s=1100)
