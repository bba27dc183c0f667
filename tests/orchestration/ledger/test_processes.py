"""Several processes work on one ledger at once, and some of them die."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import uuid4

import pytest

from tests.orchestration.ledger.steps import begin, states, units_after_plan
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import StageProgress, UnitResult
from tubelet.orchestration.ledger.redis import RedisLedger
from tubelet.orchestration.ledger.sqlite import SqliteLedger

NUM_JOBS = 6
NUM_CHUNKS = 3
NUM_WORKERS = 3
_SPAWN = multiprocessing.get_context("spawn")


def _open(address: str, prefix: str) -> Ledger:
    return RedisLedger(address, prefix=prefix) if prefix else SqliteLedger(address)


def _work(address: str, prefix: str, owner: str, told: Connection) -> None:
    """Run whatever is ready, and tell which units were held and completed, until the batch has ended."""
    ledger = _open(address, prefix)
    told.send("ready")
    told.recv()
    while ledger.count_items("a").waiting:
        # no pause between takings: everybody is offered everything
        for unit in ledger.take_ready(3, redispatch_s=0.0):
            lease = ledger.acquire(unit.unit_id, owner, lease_s=300)
            if lease is None:
                continue
            told.send(("held", unit.unit_id, lease.token))
            name = lease.job.video_id.removeprefix("v-")
            then = units_after_plan(name, NUM_CHUNKS) if lease.kind == "plan" else []
            ledger.complete(lease, UnitResult(1.0), then)
            told.send(("done", unit.unit_id, lease.token))
    told.send("end")
    ledger.close()


def _run_workers(address: str, prefix: str) -> list[tuple[str, str, int]]:
    pipes, workers = [], []
    for number in range(NUM_WORKERS):
        here, there = _SPAWN.Pipe()
        worker = _SPAWN.Process(target=_work, args=(address, prefix, f"w{number}", there), daemon=True)
        worker.start()
        there.close()
        pipes.append(here)
        workers.append(worker)
    try:
        for pipe in pipes:
            assert pipe.recv() == "ready"
        for pipe in pipes:
            pipe.send("go")
        told = []
        for pipe in pipes:
            while (said := pipe.recv()) != "end":
                told.append(said)
        for worker in workers:
            worker.join(60)
            assert worker.exitcode == 0
        return told
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
            worker.close()
        for pipe in pipes:
            pipe.close()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Address and prefix of a ledger that processes share."""
    if request.param == "redis":
        return request.getfixturevalue("redis_server").url, uuid4().hex
    return str(tmp_path / "ledger.sqlite"), ""


def test_no_unit_is_held_twice_and_none_is_lost(place: tuple[str, str]) -> None:
    ledger = _open(*place)
    names = [str(number) for number in range(NUM_JOBS)]
    begin(ledger, *names)
    told = _run_workers(*place)
    num_units = NUM_JOBS * (NUM_CHUNKS + 2)
    for what in ("held", "done"):
        times = Counter(unit_id for said, unit_id, _ in told if said == what)
        assert len(times) == num_units
        assert set(times.values()) == {1}
    tokens = [token for said, _, token in told if said == "held"]
    assert len(set(tokens)) == num_units
    assert states(ledger) == dict.fromkeys(names, "done")
    assert ledger.measure_stages()["chunk"] == StageProgress(
        done=NUM_JOBS * NUM_CHUNKS,
        span_s=20.0 * NUM_JOBS * NUM_CHUNKS,
        span_done_s=20.0 * NUM_JOBS * NUM_CHUNKS,
        seconds=1.0 * NUM_JOBS * NUM_CHUNKS,
    )
    ledger.close()


def test_several_processes_make_one_file(tmp_path: Path) -> None:
    """All of them open a file that is not there yet."""
    path = tmp_path / "new" / "ledger.sqlite"
    with _SPAWN.Pool(2) as pool:
        assert pool.map(_open_and_count, [str(path)] * 6, chunksize=1) == [0] * 6


def _open_and_count(path: str) -> int:
    ledger = open_ledger(path)
    try:
        return len(ledger.list_batches())
    finally:
        ledger.close()


def _add_for_ever(path: str, told: Connection) -> None:
    ledger = SqliteLedger(path)
    for number in range(1_000_000):
        begin(ledger, f"{number}-x", f"{number}-y", batch_id=str(number))
        told.send(number)


def test_a_killed_process_leaves_whole_steps(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    here, there = _SPAWN.Pipe()
    writer = _SPAWN.Process(target=_add_for_ever, args=(path, there), daemon=True)
    writer.start()
    there.close()
    for _ in range(5):
        acknowledged = here.recv()
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    writer.close()
    try:
        while True:
            acknowledged = here.recv()
    except EOFError:
        here.close()
    ledger = SqliteLedger(path)
    for number in range(acknowledged + 1):
        made = ledger.get_batch(str(number))
        assert made is not None
        assert made.listed
        assert ledger.count_items(str(number)).waiting == 2
    last = ledger.count_items(str(acknowledged + 1)).found
    assert last in (0, 2)
    assert len(ledger.take_ready(10**6, redispatch_s=0.0)) == 2 * (acknowledged + 1) + last
    ledger.close()
