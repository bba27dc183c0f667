"""Empty indexes, in a folder or on a local S3 server, and searching one in both ways a search may take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.index.factories import TEXT_DIMENSIONS, Find
from tubelet.index import committing, keeping
from tubelet.index.query import parse_query
from tubelet.index.search import search_moments
from tubelet.index.store import IndexStore
from tubelet.records import Hit

OpenStore = Callable[[], IndexStore]
"""Opens the same index anew, as another process would."""


@pytest.fixture
def store(tmp_path: Path) -> IndexStore:
    return IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)


@pytest.fixture(params=["exact", "by candidates"])
def find(request: pytest.FixtureRequest, store: IndexStore) -> Find:
    def search(sentence: str, **options: Any) -> list[Hit]:
        options.setdefault("exact_max_rows", 50_000 if request.param == "exact" else 0)
        return search_moments(store, parse_query(sentence), None, **options)

    return search


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def s3_options(s3_endpoint: str) -> dict[str, str]:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="bucket")
    return {**keys, "aws_endpoint": s3_endpoint, "aws_region": "us-east-1", "allow_http": "true"}


@pytest.fixture(params=["folder", "s3"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """One index, in a folder or on S3."""
    location, options = str(tmp_path / "index"), None
    if request.param == "s3":
        location = f"s3://bucket/{uuid4().hex}"
        options = request.getfixturevalue("s3_options")
    return lambda: IndexStore.open(
        location,
        create=True,
        text_dimensions=TEXT_DIMENSIONS,
        object_dimensions=0,
        storage_options=options,
    )


@pytest.fixture
def without_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder as S3 is: nobody waits for anybody."""

    @contextmanager
    def no_lock(location: str) -> Iterator[bool]:
        yield False

    for module in (committing, keeping):
        monkeypatch.setattr(module, "lock_writers", no_lock)
