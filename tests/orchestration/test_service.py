"""What `tubelet work` does beside the units: it lists new batches while the index is put in order."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.orchestration.celery_workers import DEADLINE_S, wait_until
from tests.orchestration.light_models import LIGHT
from tubelet.index.background import BackgroundOptimize
from tubelet.model.describing.attributes import AttributesCaptioner
from tubelet.orchestration.batches import submit_batch
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.records import ItemCounts
from tubelet.orchestration.pipeline import is_ended
from tubelet.orchestration.service import WorkService
from tubelet.settings import Settings, load_settings


class HeldOptimize(BackgroundOptimize):
    """An optimize that is over when the test says so."""

    begun = threading.Event()
    may_end = threading.Event()

    @property
    def is_running(self) -> bool:
        self.begun.set()
        return not self.may_end.is_set() or super().is_running


def test_the_index_is_made_for_the_models_of_the_batch_whatever_those_of_the_machine(
    short_clip: Path, tmp_path: Path
) -> None:
    place = {"home": tmp_path, "workers": 1, **LIGHT}
    machine = load_settings({**place, "captioner": "tests.orchestration.test_service:make_long_captioner"})
    with closing(open_ledger(machine.ledger_location)) as ledger:
        batch = submit_batch([str(short_clip)], settings=load_settings(place), ledger=ledger)
        WorkService(machine, ledger).run(until_idle=True)
        assert ledger.count_items(batch.batch_id) == ItemCounts(found=1, done=1)


class LongCaptioner(AttributesCaptioner):
    """Gives vectors of another length than the batch's captioner."""

    object_dimensions = AttributesCaptioner.object_dimensions + 1


def make_long_captioner(settings: Settings) -> LongCaptioner:
    return LongCaptioner()


def test_batches_are_listed_while_the_index_is_put_in_order(
    short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tubelet.orchestration.service.optimize_in_background", HeldOptimize)
    settings = load_settings({"home": tmp_path, "workers": 1, **LIGHT})
    stop = threading.Event()
    with closing(open_ledger(settings.ledger_location)) as ledger:
        submit_batch([str(short_clip)], settings=settings, ledger=ledger)
        thread = threading.Thread(target=WorkService(settings, ledger, stop=stop).run)
        thread.start()
        try:
            wait_until(HeldOptimize.begun.is_set, "the index is put in order")
            second = submit_batch([str(short_clip)], settings=settings, ledger=ledger)

            def has_ended() -> bool:
                batch = ledger.get_batch(second.batch_id)
                return batch is not None and is_ended(batch, ledger)

            wait_until(has_ended, "the second batch is listed")
            assert ledger.count_items(second.batch_id) == ItemCounts(found=1, skipped=1)
        finally:
            HeldOptimize.may_end.set()
            stop.set()
            thread.join(DEADLINE_S)
        assert not thread.is_alive()
