"""Test videos, and an S3 server on this machine's loopback address."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import boto3
import pytest

from tubelet.records import Source, Video
from tubelet.workers.probe import probe_video
from tubelet.workers.s3 import S3Options

PAGE_KEYS = 10


def _load_factory() -> ModuleType:
    """`tests/video_factory.py`; test folders are no packages, so it is loaded by its path."""
    spec = importlib.util.spec_from_file_location(
        "video_factory", Path(__file__).parents[1] / "video_factory.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A `VideoFactory`, shared by the session so that each video is made once."""
    return _load_factory().VideoFactory(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="session")
def read_number() -> Callable[[Any], int]:
    """The number drawn into a picture of a numbered video."""
    return _load_factory().read_number  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def probe() -> Callable[[Path], Video]:
    """Probe a local file under an identity that is its name."""

    def probe_path(path: Path) -> Video:
        return probe_video(path, Source(str(path), f"blake2b:{path.name}", path.stat().st_size), timeout_s=30)

    return probe_path


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
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
        process.kill()
        process.communicate()


@pytest.fixture
def s3_options(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> S3Options:
    """Options for the test server, with credentials only where boto3 looks for them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    return S3Options(endpoint_url=s3_server, region="us-east-1", num_attempts=1)


@pytest.fixture
def s3_client(s3_options: S3Options) -> Iterator[Any]:
    """A plain boto3 client of the test server."""
    client = boto3.session.Session().client(
        "s3", endpoint_url=s3_options.endpoint_url, region_name="us-east-1"
    )
    yield client
    client.close()


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
