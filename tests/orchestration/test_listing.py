"""Listing: what passes leaves the batch to be listed, and nothing is lost or counted twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.light_models import LIGHT
from tests.s3_server import FaultyS3
from tests.s3_server import bucket as bucket
from tests.s3_server import faulty_s3 as faulty_s3
from tests.s3_server import s3_client as s3_client
from tests.s3_server import s3_options as s3_options
from tests.s3_server import s3_server as s3_server
from tubelet.errors import StoreError, TransientSourceError, TransientStoreError
from tubelet.orchestration import pipeline
from tubelet.orchestration.batches import submit_batch
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Batch, ItemCounts, NewItem
from tubelet.orchestration.listing import list_batch
from tubelet.orchestration.progress import measure_batch
from tubelet.orchestration.resources import make_s3_options, open_index
from tubelet.orchestration.service import WorkService
from tubelet.settings import Settings, load_settings
from tubelet.workers.s3 import S3Options

NAMES = [f"{number}.mp4" for number in range(4)]


class FaultyLedger:
    """A ledger that goes away in the middle of a listing, so many times."""

    def __init__(self, ledger: Ledger, num_faults: int) -> None:
        self._ledger = ledger
        self.num_faults = num_faults

    def add_items(self, batch_id: str, items: Sequence[NewItem]) -> None:
        if self.num_faults > 0 and any(item.uri.endswith(NAMES[2]) for item in items):
            self.num_faults -= 1
            raise TransientStoreError("The ledger does not answer")
        self._ledger.add_items(batch_id, items)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"home": tmp_path / "home", "retry_base_s": 0.0, **LIGHT})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files that are no videos: what becomes of them is known without a model."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def ledger(settings: Settings) -> Iterator[FaultyLedger]:
    with closing(open_ledger(settings.ledger_location)) as ledger:
        yield FaultyLedger(ledger, 1)


def submit(folder: Path, settings: Settings, ledger: FaultyLedger) -> Batch:
    return submit_batch([str(folder)], settings=settings, ledger=ledger)  # type: ignore[arg-type]


def test_an_outage_leaves_the_batch_to_be_listed(
    folder: Path, settings: Settings, ledger: FaultyLedger
) -> None:
    batch = submit(folder, settings, ledger)
    parts = {"ledger": ledger, "index": open_index(settings, create=True), "s3": make_s3_options(settings)}
    with pytest.raises(StoreError, match="does not answer"):
        list_batch(batch, **parts)  # type: ignore[arg-type]
    left = ledger.get_batch(batch.batch_id)
    assert (left.has_listing_ended, left.listing_error) == (False, "")
    list_batch(batch, **parts)  # type: ignore[arg-type]
    assert ledger.get_batch(batch.batch_id).has_listing_ended
    assert [Path(item.uri).name for item in ledger.list_items(batch.batch_id)] == NAMES


@pytest.mark.parametrize("is_last", [False, True])
def test_an_address_that_does_not_answer_is_asked_again_unless_nobody_would(
    is_last: bool, bucket: str, s3_client: Any, faulty_s3: FaultyS3, settings: Settings, ledger: FaultyLedger
) -> None:
    """What can be listed is listed at once, and comes once."""
    for name in NAMES[:2]:
        s3_client.put_object(Bucket=bucket, Key=name, Body=name)
    addresses = [f"s3://{bucket}/{name}" for name in NAMES[:2]]
    batch = submit_batch(addresses, settings=settings, ledger=ledger)  # type: ignore[arg-type]
    faulty_s3.fail("HEAD", "503")
    s3 = S3Options(endpoint_url=faulty_s3.url, region="us-east-1", num_attempts=1)
    parts: dict[str, Any] = {"ledger": ledger, "index": open_index(settings, create=True), "s3": s3}
    if is_last:
        list_batch(batch, **parts, is_last=True)
        counts = ledger.count_items(batch.batch_id)
        assert (counts.failed, counts.waiting) == (1, 1)
        return
    with pytest.raises(TransientSourceError, match="try again later"):
        list_batch(batch, **parts)
    assert [item.uri for item in ledger.list_items(batch.batch_id)] == addresses[1:]
    assert not ledger.get_batch(batch.batch_id).has_listing_ended
    list_batch(batch, **parts)
    assert ledger.count_items(batch.batch_id) == ItemCounts(found=2, waiting=2)
    assert ledger.get_batch(batch.batch_id).has_listing_ended


def test_the_service_lists_again_after_an_outage(
    folder: Path, settings: Settings, ledger: FaultyLedger
) -> None:
    batch = submit(folder, settings, ledger)
    WorkService(settings, ledger).run(until_idle=True)  # type: ignore[arg-type]
    assert ledger.num_faults == 0
    progress = measure_batch(ledger.get_batch(batch.batch_id), ledger)  # type: ignore[arg-type]
    assert (progress.counts.failed, progress.counts.found) == (len(NAMES), len(NAMES))


@pytest.mark.parametrize(("num_faults", "is_over_it"), [(2, True), (3, False)])
def test_a_run_bears_outages_of_its_listing_or_says_so(
    num_faults: int,
    is_over_it: bool,
    folder: Path,
    settings: Settings,
    ledger: FaultyLedger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Never a run that waits for a listing that nobody makes any more."""
    ledger.num_faults = num_faults
    monkeypatch.setattr(pipeline, "open_ledger", lambda _: ledger)
    if is_over_it:
        report = pipeline.index_sources([str(folder)], settings=settings)
        assert sorted(Path(video.uri).name for video in report.failed) == NAMES
    else:
        with pytest.raises(StoreError, match="does not answer"):
            pipeline.index_sources([str(folder)], settings=settings)
