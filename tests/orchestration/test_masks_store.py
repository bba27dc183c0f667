"""Masks beside an index in a folder and beside one on S3: the same words, the same masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.s3_server import FaultyS3
from tests.s3_server import bucket as bucket
from tests.s3_server import faulty_s3 as faulty_s3
from tests.s3_server import s3_client as s3_client
from tests.s3_server import s3_options as s3_options
from tests.s3_server import s3_server as s3_server
from tubelet.errors import ObjectMissingError, StoreError, TransientStoreError
from tubelet.model.masks import encode_mask
from tubelet.orchestration import masks_store
from tubelet.records import Box, Observation
from tubelet.settings import Settings


@pytest.fixture(params=["folder", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "folder":
        return Settings.model_validate({"home": tmp_path / "home"})
    return on_s3(request, tmp_path / "home", request.getfixturevalue("s3_options").endpoint_url)


def on_s3(request: pytest.FixtureRequest, home: Path, endpoint: str) -> Settings:
    uri = f"s3://{request.getfixturevalue('bucket')}/some/index"
    return Settings.model_validate(
        {"home": home, "index_uri": uri, "s3_endpoint_url": endpoint, "s3_region": "us-east-1"}
    )


def see(time_s: float, width: int) -> Observation:
    mask = np.zeros((4, 6), bool)
    mask[:, :width] = True
    return Observation(time_s, Box(0, 0, width, 4), 1.0, encode_mask(mask))


def read(settings: Settings, video_id: str, *object_ids: str) -> list[tuple[str, float]]:
    found = masks_store.read_masks(settings, video_id, object_ids or None)
    return [(object_id, time_s) for object_id, time_s, _ in found]


def test_masks_are_written_read_replaced_and_removed(settings: Settings) -> None:
    assert read(settings, "v1") == []
    masks_store.write_masks(settings, "v1", [("a", [see(0.0, 1), see(1.0, 2)]), ("b", [see(0.5, 3)])])
    masks_store.write_masks(settings, "v2", [("c", [see(0.0, 1)])])
    assert read(settings, "v1") == [("a", 0.0), ("a", 1.0), ("b", 0.5)]
    assert read(settings, "v1", "b") == [("b", 0.5)]
    assert masks_store.list_videos_with_masks(settings) == ["v1", "v2"]
    masks_store.write_masks(settings, "v1", [("a", [see(7.0, 1)])])
    assert read(settings, "v1") == [("a", 7.0)]
    masks_store.remove_masks(settings, "v1")
    masks_store.remove_masks(settings, "v1")
    masks_store.remove_unfinished_masks(settings)
    assert read(settings, "v1") == []
    assert masks_store.list_videos_with_masks(settings) == ["v2"]


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_another_machine_reads_them(where: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    homes = tmp_path / "here", tmp_path / "there"
    if where == "s3":
        endpoint = request.getfixturevalue("s3_options").endpoint_url
        here, there = (on_s3(request, home, endpoint) for home in homes)
    else:
        shared = f"file://{tmp_path}/shared index"
        here, there = (Settings.model_validate({"home": home, "index_uri": shared}) for home in homes)
    masks_store.write_masks(here, "v1", [("a", [see(0.0, 2)])])
    [(_, _, mask)] = masks_store.read_masks(there, "v1")
    assert mask == see(0.0, 2).mask
    assert not (here.home / "masks").exists()


def test_a_finished_file_is_taken_and_lent(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ObjectMissingError), masks_store.borrow_masks(settings, "v1"):
        pass
    masks_store.write_masks(settings, "v0", [("a", [see(0.0, 1)])])
    with masks_store.borrow_masks(settings, "v0") as path:
        (tmp_path / "finished").write_bytes(path.read_bytes())
    masks_store.keep_masks(settings, "v1", tmp_path / "finished")
    assert not (tmp_path / "finished").exists()
    assert read(settings, "v1") == [("a", 0.0)]


def test_a_writer_that_fails_keeps_the_old_ones(settings: Settings) -> None:
    masks_store.write_masks(settings, "v1", [("a", [see(0.0, 1)])])

    def fail() -> Any:
        yield "a", [see(1.0, 1)]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        masks_store.write_masks(settings, "v1", fail())
    assert read(settings, "v1") == [("a", 0.0)]


def test_what_was_read_is_not_fetched_again_until_it_changes(
    request: pytest.FixtureRequest, tmp_path: Path, faulty_s3: FaultyS3
) -> None:
    settings = on_s3(request, tmp_path / "home", faulty_s3.url)
    masks_store.write_masks(settings, "v1", [("a", [see(0.0, 1)])])
    assert read(settings, "v1") == read(settings, "v1") == [("a", 0.0)]
    assert faulty_s3.requests.count("GET") == 1
    masks_store.write_masks(settings, "v1", [("a", [see(1.0, 1)])])
    assert read(settings, "v1") == [("a", 1.0)]
    assert faulty_s3.requests.count("GET") == 2


def test_trouble_on_s3_is_a_transient_store_error(
    request: pytest.FixtureRequest, tmp_path: Path, faulty_s3: FaultyS3
) -> None:
    settings = on_s3(request, tmp_path / "home", faulty_s3.url)
    masks_store.write_masks(settings, "v1", [("a", [see(0.0, 1)])])
    faulty_s3.fail("GET", "short", times=5)
    with pytest.raises(TransientStoreError):
        read(settings, "v1")
    assert read(settings, "v1") == [("a", 0.0)]


def test_an_unknown_bucket_is_said(tmp_path: Path, s3_options: Any) -> None:
    settings = Settings.model_validate(
        {
            "home": tmp_path,
            "index_uri": "s3://no-such-bucket/index",
            "s3_endpoint_url": s3_options.endpoint_url,
            "s3_region": "us-east-1",
        }
    )
    with pytest.raises(StoreError, match="bucket of s3://no-such-bucket/index/masks"):
        masks_store.write_masks(settings, "v1", [("a", [see(0.0, 1)])])
