"""The index on S3, against a local S3 server."""

from __future__ import annotations

import pytest

from tests.index.factories import MODELS, TEXT_DIMENSIONS, group_objects, make_moment, make_vector, make_video
from tubelet.errors import StoreError
from tubelet.index.query import parse_query
from tubelet.index.search import search_moments
from tubelet.index.snapshot import RowCounts
from tubelet.index.store import IndexStore


def test_an_index_on_s3_is_written_searched_and_optimized(s3_options: dict[str, str]) -> None:
    store = IndexStore.open(
        "s3://bucket/some/index",
        create=True,
        text_dimensions=TEXT_DIMENSIONS,
        object_dimensions=0,
        storage_options=s3_options,
    )
    moments = [make_moment(number) for number in range(3)]
    store.replace_video(make_video(), group_objects(moments), moments, MODELS)
    store.replace_video(make_video(), group_objects(moments[1:]), moments[1:], MODELS)
    store.optimize()
    reader = IndexStore.open("s3://bucket/some/index", storage_options=s3_options)
    assert reader.count_rows() == RowCounts(videos=1, tubelets=2, moments=2)
    assert reader.get_moments("v1-o2") == [moments[2]]
    assert len(search_moments(reader, parse_query("grey"), make_vector(1))) == 2


def test_a_missing_index_or_bucket_on_s3_is_an_error(s3_options: dict[str, str]) -> None:
    with pytest.raises(StoreError, match="no index at s3://bucket/nothing"):
        IndexStore.open("s3://bucket/nothing", storage_options=s3_options)
    with pytest.raises(StoreError, match="s3://no-such-bucket/index"):
        IndexStore.open(
            "s3://no-such-bucket/index",
            create=True,
            text_dimensions=TEXT_DIMENSIONS,
            object_dimensions=0,
            storage_options=s3_options,
        )
