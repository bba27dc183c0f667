"""Local worker processes that die while they have nothing to do."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

from tests.orchestration.celery_workers import wait_until
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
