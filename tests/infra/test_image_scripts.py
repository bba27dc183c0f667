"""The two scripts that the images carry, run for real."""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.infra.files import INFRA
from tests.s3_server import s3_options, s3_server
from tubelet.workers.s3 import S3Options, connect

__all__ = ["s3_options", "s3_server"]


def test_the_service_answers_and_stops_when_told_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, INFRA / "docker" / "serve.py", "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "TUBELET_LOG_FORMAT": "json", "TUBELET_LOG_LEVEL": "info"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:  # uvicorn says when it listens
            if "Uvicorn running" in line:
                break
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            assert answer.status == 200
            request_id = answer.headers["X-Request-ID"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/videos", timeout=60) as answer:
            assert answer.read() == b'{"videos":[]}'
        process.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in process.communicate(timeout=60)[1].splitlines()]
        assert "Finished server process" in lines[-1]["message"]
        (asked,) = [line for line in lines if line["message"].startswith("GET /healthz 200")]
        assert asked["request"] == request_id
    finally:
        process.kill()
        process.communicate()


def test_the_service_refuses_a_setting_that_it_does_not_know() -> None:
    """As Kubernetes would set for a Service named tubelet-api, were links not switched off."""
    done = subprocess.run(
        [sys.executable, INFRA / "docker" / "serve.py", "--host", "127.0.0.1"],
        env={**os.environ, "TUBELET_API_PORT": "tcp://10.0.0.1:80"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "TUBELET_API_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_service_refuses_others_without_keys() -> None:
    done = subprocess.run(
        [sys.executable, INFRA / "docker" / "serve.py", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "tubelet keys add" in done.stderr


def test_buckets_are_made_once_and_then_left_alone(
    s3_options: S3Options, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUBELET_INDEX_URI", "s3://made-for-index/index")
    monkeypatch.setenv("TUBELET_WORK_URI", "s3://made-for-work/deep/work")
    monkeypatch.setenv("TUBELET_S3_ENDPOINT_URL", s3_options.endpoint_url or "")
    monkeypatch.setenv("TUBELET_S3_REGION", "eu-central-1")
    main = runpy.run_path(str(INFRA / "docker" / "make_bucket.py"))["main"]
    assert main() == 0
    assert capsys.readouterr().out == "made-for-index: made\nmade-for-work: made\n"
    client = connect(s3_options)
    client.put_object(Bucket="made-for-index", Key="kept", Body=b"1")
    assert main() == 0
    assert capsys.readouterr().out == "made-for-index: is there\nmade-for-work: is there\n"
    assert client.get_object(Bucket="made-for-index", Key="kept")["Body"].read() == b"1"


def test_an_address_without_a_bucket_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUBELET_INDEX_URI", "s3:///index")
    main = runpy.run_path(str(INFRA / "docker" / "make_bucket.py"))["main"]
    assert main() == 1
    assert "names no bucket" in capsys.readouterr().err
