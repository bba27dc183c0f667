"""The index on S3, against a local S3 server."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.index.factories import MODELS, TEXT_DIMENSIONS, group_objects, make_moment, make_vector, make_video
from tubelet.errors import StoreError
from tubelet.index.query import parse_query
from tubelet.index.search import search_moments
from tubelet.index.snapshot import RowCounts
from tubelet.index.store import IndexStore


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def options(endpoint: str) -> dict[str, str]:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys).create_bucket(Bucket="bucket")
    return {**keys, "aws_endpoint": endpoint, "aws_region": "us-east-1", "allow_http": "true"}


def test_an_index_on_s3_is_written_searched_and_optimized(options: dict[str, str]) -> None:
    store = IndexStore.open(
        "s3://bucket/some/index",
        create=True,
        text_dimensions=TEXT_DIMENSIONS,
        object_dimensions=0,
        storage_options=options,
    )
    moments = [make_moment(number) for number in range(3)]
    store.replace_video(make_video(), group_objects(moments), moments, MODELS)
    store.replace_video(make_video(), group_objects(moments[1:]), moments[1:], MODELS)
    store.optimize()
    reader = IndexStore.open("s3://bucket/some/index", storage_options=options)
    assert reader.count_rows() == RowCounts(videos=1, tubelets=2, moments=2)
    assert reader.get_moments("v1-o2") == [moments[2]]
    assert len(search_moments(reader, parse_query("grey"), make_vector(1))) == 2


def test_a_missing_index_or_bucket_on_s3_is_an_error(options: dict[str, str]) -> None:
    with pytest.raises(StoreError, match="no index at s3://bucket/nothing"):
        IndexStore.open("s3://bucket/nothing", storage_options=options)
    with pytest.raises(StoreError, match="s3://no-such-bucket/index"):
        IndexStore.open(
            "s3://no-such-bucket/index",
            create=True,
            text_dimensions=TEXT_DIMENSIONS,
            object_dimensions=0,
            storage_options=options,
        )
