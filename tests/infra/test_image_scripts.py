"""The two scripts that the images carry, run for real."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.infra.files import INFRA
from tests.s3_server import s3_options, s3_server
from tubelet.workers.s3 import S3Options, connect

__all__ = ["s3_options", "s3_server"]


def _run(script: str, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, INFRA / "docker" / script, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_service_answers_and_stops_when_told_to(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, INFRA / "docker" / "serve.py", "--host", "127.0.0.1", "--port", str(port)],
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
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/videos", timeout=60)
        assert b"There is no index" in refused.value.read()
        refused.value.close()
        started_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert time.monotonic() - started_s < 30
    finally:
        process.kill()
        process.communicate()


def test_the_service_refuses_a_setting_that_it_does_not_know() -> None:
    """As Kubernetes would set for a Service named tubelet-api, were links not switched off."""
    done = _run("serve.py", {"TUBELET_API_PORT": "tcp://10.0.0.1:80"}, "--host", "127.0.0.1")
    assert done.returncode == 2
    assert "TUBELET_API_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_buckets_are_made_once_and_then_left_alone(s3_options: S3Options) -> None:
    environment = {
        "TUBELET_INDEX_URI": "s3://made-for-index/index",
        "TUBELET_WORK_URI": "s3://made-for-work/deep/work",
        "TUBELET_S3_ENDPOINT_URL": s3_options.endpoint_url or "",
        "TUBELET_S3_REGION": "eu-central-1",
    }
    client = connect(s3_options)
    first = _run("make_bucket.py", environment)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "made-for-index: made\nmade-for-work: made\n"
    client.put_object(Bucket="made-for-index", Key="kept", Body=b"1")
    second = _run("make_bucket.py", environment)
    assert second.returncode == 0
    assert second.stdout == "made-for-index: is there\nmade-for-work: is there\n"
    assert client.get_object(Bucket="made-for-index", Key="kept")["Body"].read() == b"1"
