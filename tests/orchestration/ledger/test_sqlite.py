"""What only the SQLite ledger can suffer: a locked, foreign or full file, forks, an old ledger beside it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.orchestration.ledger.steps import acquire, begin, finish, plan_id, ready, states
from tubelet.errors import StoreError
from tubelet.orchestration.ledger.records import NewItem, NewUnit, UnitResult
from tubelet.orchestration.ledger.sqlite import SqliteLedger


@contextmanager
def opened_by_hand(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as any other program opens it; what is changed is kept."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def test_other_tables_in_the_file_stay_unharmed(tmp_path: Path) -> None:
    """Before units had leases, the same file held two tables of other names."""
    path = tmp_path / "ledger.sqlite"
    with opened_by_hand(path) as connection:
        connection.execute("CREATE TABLE videos (video_id TEXT)")
        connection.execute("INSERT INTO videos VALUES ('v')")
    ledger = SqliteLedger(path)
    begin(ledger, "x")
    assert states(ledger) == {"x": "waiting"}
    ledger.close()
    with opened_by_hand(path) as connection:
        assert connection.execute("SELECT video_id FROM videos").fetchall() == [("v",)]


def test_a_file_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    SqliteLedger(path).close()
    with opened_by_hand(path) as connection:
        connection.execute("PRAGMA user_version=99")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"version 99.*version 1"):
        SqliteLedger(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_text("hello" * 1000)
    with pytest.raises(StoreError, match="an SQLite file"):
        SqliteLedger(path)
    with pytest.raises(StoreError, match=str(tmp_path)):
        SqliteLedger(tmp_path)
    with pytest.raises(StoreError, match="cannot be made"):
        SqliteLedger(path / "below" / "ledger.sqlite")


def test_a_file_that_stays_locked_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = SqliteLedger(path, busy_s=0.1)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="held it for more than"):
        begin(ledger, "x")
    assert ledger.list_batches() == []  # readers do not wait
    holder.execute("ROLLBACK")
    holder.close()
    begin(ledger, "x")
    ledger.close()


def test_a_file_from_before_totals_gets_them_and_opening_waits_for_nobody(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    SqliteLedger(path).close()
    with opened_by_hand(path) as connection:
        connection.execute("DROP TABLE ledger_totals")
    ledger = SqliteLedger(path)
    begin(ledger, "x")
    finish(ledger, "x", 1)
    assert ledger.measure_totals()["video"]["moments"] == 3
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    again = SqliteLedger(path, busy_s=0.1)
    assert again.measure_totals() == ledger.measure_totals()
    connection.close()
    again.close()
    ledger.close()


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    begin(ledger, "x")
    with ledger._read() as db:
        (num_pages,) = db.execute("PRAGMA page_count").fetchone()
    (connection,) = ledger._free
    connection.execute(f"PRAGMA max_page_count={num_pages + 1}")
    with pytest.raises(StoreError, match="make room on the disk"):
        ledger.add_items("a", [NewItem(str(n), "e" * 500, 1, f"v{n}") for n in range(1000)])
    assert states(ledger) == {"x": "waiting"}  # all of the call is undone
    finish(ledger, "x")
    ledger.close()


def test_threads_share_a_ledger(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    names = [str(n) for n in range(20)]
    begin(ledger, *names)
    held: list[str] = []

    def work() -> None:
        while units := ledger.take_ready(1, redispatch_s=300):
            lease = ledger.acquire(units[0].unit_id, "w", lease_s=300)
            assert lease is not None
            held.append(lease.unit_id)
            ledger.complete(
                lease, UnitResult(1.0), [NewUnit(f"video:{lease.job.job_id}", "video", "{}", 0.0, 1)]
            )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(held) == sorted(plan_id(name) for name in names)
    assert len(ledger._free) <= 4
    ledger.close()
    assert ledger._free == []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_opens_connections_of_its_own(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    begin(ledger, "x", "y")
    (of_parent,) = ledger._free
    child = os.fork()
    if child == 0:
        code = 1
        try:
            acquire(ledger, plan_id("x"), "child")
            ledger.close()
            code = int(any(connection is of_parent for connection in ledger._free))
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert ledger._free == [of_parent]
    assert ready(ledger) == [plan_id("y")]
    unit = ledger.get_unit(plan_id("x"))
    assert unit is not None
    assert unit.owner == "child"
    ledger.close()


def test_ten_thousand_videos_are_listed_in_seconds_and_counted_at_once(tmp_path: Path) -> None:
    """Bounds of processor time, many times what it takes, so that a busy machine passes too."""
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    began = time.process_time()
    begin(ledger)
    for first in range(0, 10_000, 500):
        ledger.add_items("a", [NewItem(f"{n:05}", "e", 1, f"v{n}") for n in range(first, first + 500)])
    assert time.process_time() - began < 5
    with ledger._write() as db:  # two more units a job
        for kind in ("chunk", "video"):
            db.execute(
                "INSERT INTO ledger_units (unit_id, kind, job_id, priority, state, payload, num_blockers,"
                " unblocks, span_s)"
                " SELECT ? || job_id, ?, job_id, 0, 'waiting', '{}', 1, '', 20.0 FROM ledger_jobs",
                (kind, kind),
            )
    began = time.process_time()
    counts = ledger.count_items("a")
    stages = ledger.measure_stages("a")
    assert time.process_time() - began < 0.1
    assert counts.waiting == stages["plan"].waiting == stages["chunk"].waiting == 10_000
    began = time.process_time()
    assert len(ready(ledger, 100)) == len(ledger.list_items("a", limit=100)) == 100
    assert time.process_time() - began < 0.1
    ledger.close()
