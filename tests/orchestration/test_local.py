"""Local worker processes: what they load ahead, and that they die while they have nothing to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.orchestration.celery_workers import wait_until
from tests.orchestration.light_models import BROKEN_TRACKER, LATE_EMBEDDER, LIGHT
from tubelet.orchestration.executor import Returned
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.records import ReadyUnit
from tubelet.orchestration.local import LocalExecutor
from tubelet.settings import load_settings

UNIT = ReadyUnit("chunk:v1.d1:00000", "chunk", "v1.d1", 1.0)
"""A unit that no ledger knows: there is no lease to be had, so it comes back at once."""


def test_an_idle_worker_that_was_killed_is_replaced(tmp_path: Path) -> None:
    settings = load_settings({"home": tmp_path, "workers": 1})
    with closing(open_ledger(settings.ledger_location)), LocalExecutor(settings) as executor:
        executor.send(UNIT)
        returned: list[Returned] = []
        wait_until(lambda: returned.extend(executor.wait(0.1)) or returned, "the unit comes back")
        (worker,) = executor._workers
        owner = worker.owner
        (process_id,) = worker.pool._processes
        os.kill(process_id, signal.SIGKILL)
        wait_until(lambda: worker.pool._broken, "the pool knows")
        executor.send(UNIT)
        wait_until(lambda: returned.extend(executor.wait(0.1)) or len(returned) == 2, "it comes back again")
        assert [item.died for item in returned] == ["", ""]
        assert returned[1].owner != owner


def test_a_worker_loads_its_models_before_it_is_sent_anything(tmp_path: Path) -> None:
    settings = load_settings({**LIGHT, "home": tmp_path, "embedder": LATE_EMBEDDER, "workers": 1})
    with closing(open_ledger(settings.ledger_location)), LocalExecutor(settings):
        wait_until((tmp_path / "loaded").exists, "the embedder is loaded")


def test_a_worker_whose_models_cannot_be_made_still_takes_units(tmp_path: Path) -> None:
    """The unit that needs the model finds the same, and says so."""
    settings = load_settings({**LIGHT, "home": tmp_path, "tracker": BROKEN_TRACKER, "workers": 1})
    with closing(open_ledger(settings.ledger_location)), LocalExecutor(settings) as executor:
        executor.send(UNIT)
        returned: list[Returned] = []
        wait_until(lambda: returned.extend(executor.wait(0.1)) or returned, "the unit comes back")
        assert returned[0].died == ""


def test_workers_start_before_anything_large_is_imported() -> None:
    program = (
        "import sys, tubelet.orchestration.pipeline\n"
        "print(sorted({'torch', 'transformers', 'lancedb', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
