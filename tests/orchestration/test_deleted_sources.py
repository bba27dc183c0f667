"""Sources that the index holds and that a listing no longer finds are told; nothing else is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.index.factories import MODELS, make_video
from tests.orchestration.light_models import LIGHT
from tests.s3_server import bucket as bucket
from tests.s3_server import s3_client as s3_client
from tests.s3_server import s3_options as s3_options
from tests.s3_server import s3_server as s3_server
from tubelet.index.store import IndexStore
from tubelet.orchestration.batches import submit_batch
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.listing import list_batch
from tubelet.orchestration.pipeline import index_sources
from tubelet.orchestration.resources import open_index
from tubelet.settings import Settings, load_settings
from tubelet.workers.probe import make_video_id
from tubelet.workers.s3 import S3Options
from tubelet.workers.source import identify_file


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"home": tmp_path / "home", "retry_base_s": 0.0, **LIGHT}, environment={})


@pytest.fixture
def index(settings: Settings) -> IndexStore:
    return open_index(settings, create=True)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    with closing(open_ledger(settings.ledger_location)) as ledger:
        yield ledger


def put(index: IndexStore, *uris: str) -> None:
    """Index videos, of other bytes than any file here has."""
    for uri in uris:
        index.replace_video(make_video(f"v-{uri}", uri=uri), [], [], MODELS)


def list_deleted(
    addresses: Sequence[str],
    settings: Settings,
    ledger: Ledger,
    index: IndexStore,
    s3: S3Options,
) -> list[str]:
    """What a listing tells; its log says the same."""
    batch = submit_batch(addresses, settings=settings, ledger=ledger)
    told = list_batch(batch, ledger=ledger, index=index, s3=s3)
    events = ledger.list_events(batch.batch_id)
    assert [event.text.partition(" is indexed")[0] for event in events] == list(told)
    assert all(event.level == "warning" and "tubelet index remove" in event.text for event in events)
    held = ledger.get_batch(batch.batch_id)
    assert held is not None
    assert held.has_listing_ended
    return list(told)


def test_what_is_gone_below_a_prefix_or_glob_of_s3_is_told(
    bucket: str, s3_client: Any, s3_options: S3Options, settings: Settings, ledger: Ledger, index: IndexStore
) -> None:
    for key in ("2026/kept.mp4", "2026/a[1].mp4", "other/kept.mp4"):
        s3_client.put_object(Bucket=bucket, Key=key, Body=key)
    names = ["2026/gone.mp4", "2026/deep/gone.mp4", "2026/kept.mp4", "2026/no-video-name", "2026/a1.mp4"]
    put(index, *(f"s3://{bucket}/{name}" for name in (*names, "other/gone.mp4", "2025/gone.mp4")))

    def check(address: str, *gone: str) -> None:
        told = list_deleted([f"s3://{bucket}/{address}"], settings, ledger, index, s3_options)
        assert told == [f"s3://{bucket}/{name}" for name in gone]

    check("2026/", "2026/a1.mp4", "2026/deep/gone.mp4", "2026/gone.mp4")
    check("2026/*.mp4", "2026/a1.mp4", "2026/gone.mp4")
    check("2026/kept.mp4")
    check("2026/a[1].mp4")  # a name that exists is no glob
    check("2025/", "2025/gone.mp4")  # all is gone, and that is the batch's failure too
    check("2024/**")


def test_what_could_not_be_listed_is_not_told(
    s3_options: S3Options, tmp_path: Path, settings: Settings, ledger: Ledger, index: IndexStore
) -> None:
    put(index, "s3://no-such-bucket/a.mp4", str(tmp_path / "unmounted" / "a.mp4"))
    addresses = ["s3://no-such-bucket/", str(tmp_path / "unmounted")]
    assert list_deleted(addresses, settings, ledger, index, s3_options) == []


def test_what_is_gone_from_a_folder_is_told_and_what_moved_is_not(
    tmp_path: Path, s3_options: S3Options, settings: Settings, ledger: Ledger, index: IndexStore
) -> None:
    folder = tmp_path / "archive"
    (folder / "deep").mkdir(parents=True)
    moved = folder / "deep" / "moved.mp4"
    moved.write_text("moved")
    video_id = make_video_id(identify_file(moved).identity)
    index.replace_video(make_video(video_id, uri=str(folder / "before.mp4")), [], [], MODELS)
    (folder / "changed.mp4").write_text("other content than was indexed")
    put(index, *(str(folder / name) for name in ("changed.mp4", "gone.mp4", "deep/gone.mp4")))
    deep, plain = str(folder / "deep" / "gone.mp4"), str(folder / "gone.mp4")
    assert list_deleted([str(folder)], settings, ledger, index, s3_options) == [deep, plain]
    pattern = str(folder / "*.mp4")
    assert list_deleted([pattern], settings, ledger, index, s3_options) == [str(folder / "before.mp4"), plain]


def test_a_run_reports_it(tmp_path: Path, settings: Settings, index: IndexStore) -> None:
    folder = tmp_path / "emptied"
    folder.mkdir()
    put(index, str(folder / "gone.mp4"))
    report = index_sources([str(folder)], settings=settings)
    assert report.deleted == (str(folder / "gone.mp4"),)
    assert ["holds no video" in video.reason for video in report.failed] == [True]
