"""Celery: workers that die, stop and lose their broker, messages that come twice, and processes that fork."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.orchestration.celery_workers import (
    DEADLINE_S,
    DYING_TRACKER,
    ROOT,
    SIGNS,
    WAITING_TRACKER,
    list_family,
    run_worker,
    wait_until,
)
from tests.orchestration.light_models import LIGHT
from tests.redis_server import RedisServer, has_redis
from tubelet.errors import SettingsError, TransientStoreError
from tubelet.orchestration.batches import submit_batch
from tubelet.orchestration.celery_executor import CeleryExecutor
from tubelet.orchestration.celery_queues import choose_level, name_broker
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import ReadyUnit, UnitEntry
from tubelet.orchestration.pipeline import is_ended
from tubelet.orchestration.service import WorkService
from tubelet.settings import Settings, load_settings

pytestmark = [pytest.mark.redis, pytest.mark.skipif(not has_redis(), reason="redis-server is not installed")]

HEAVY = ("torch", "lancedb", "cv2", "pyarrow", "tubelet.orchestration.stages")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", appendfsync="always") as server:
        yield server


@pytest.fixture
def settings(server: RedisServer, tmp_path: Path) -> Settings:
    """A ledger on Redis, and a home that planner and workers share."""
    return load_settings(
        {
            "home": tmp_path / "home",
            "ledger": server.url,
            "executor": "celery",
            "chunk_s": 60.0,
            **LIGHT,
            "retry_base_s": 0.1,
        },
        environment={},
    )


@pytest.fixture
def environment(settings: Settings, tmp_path: Path) -> dict[str, str]:
    """What a worker's place is, and where signs are left."""
    (tmp_path / "signs").mkdir()
    return {
        "TUBELET_HOME": str(settings.home),
        "TUBELET_LEDGER": settings.ledger,
        "TUBELET_RETRY_BASE_S": "0.1",
        SIGNS: str(tmp_path / "signs"),
    }


@contextmanager
def serve(settings: Settings) -> Iterator[Ledger]:
    """Plan and send in a thread, as `tubelet work` does, until the test is through."""
    stop = threading.Event()
    with closing(open_ledger(settings.ledger_location)) as ledger:
        service = WorkService(settings, ledger, stop=stop)
        thread = threading.Thread(target=service.run, name="tubelet work")
        thread.start()
        try:
            yield ledger
        finally:
            stop.set()
            thread.join(DEADLINE_S)
    assert not thread.is_alive()


def submit(settings: Settings, ledger: Ledger, clip: Path) -> Callable[[], bool]:
    """Submit a batch; says whether it has ended."""
    batch = submit_batch([str(clip)], settings=settings, ledger=ledger)

    def has_ended() -> bool:
        held = ledger.get_batch(batch.batch_id)
        return held is not None and is_ended(held, ledger)

    return has_ended


def list_units(ledger: Ledger) -> dict[str, UnitEntry]:
    """The units of the only job, by kind: there is one chunk."""
    (batch,) = ledger.list_batches()
    (item,) = ledger.list_items(batch.batch_id)
    return {unit.kind: unit for unit in ledger.list_units(f"{item.video_id}.{batch.digest}")}


def test_the_unit_of_a_killed_process_is_done_by_another_and_counted(
    settings: Settings, environment: dict[str, str], short_clip: Path, tmp_path: Path
) -> None:
    """The lease is given back at once: it would run out only after the test's time."""
    settings = settings.model_copy(update={"tracker": DYING_TRACKER, "lease_s": 10 * DEADLINE_S})
    environment["TUBELET_LEASE_S"] = str(settings.lease_s)
    with run_worker(environment, tmp_path / "worker.log"), serve(settings) as ledger:
        wait_until(submit(settings, ledger, short_clip), "the batch ends")
        units = list_units(ledger)
        assert {kind: unit.state for kind, unit in units.items()} == dict.fromkeys(units, "done")
        assert (tmp_path / "signs" / "died").exists()
        assert (units["chunk"].attempts, units["plan"].attempts) == (2, 1)
        texts = [event.text for event in ledger.list_events(ledger.list_batches()[0].batch_id)]
        assert any("its process was killed" in text for text in texts)


class DoublingExecutor(CeleryExecutor):
    """Sends every message twice."""

    def send(self, unit: ReadyUnit) -> None:
        super().send(unit)
        super().send(unit)


def test_units_that_are_delivered_twice_run_once(
    settings: Settings,
    environment: dict[str, str],
    short_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The copies of the chunk's message come while it runs, those of the others mostly afterwards."""
    monkeypatch.setattr("tubelet.orchestration.celery_executor.CeleryExecutor", DoublingExecutor)
    settings = settings.model_copy(update={"tracker": WAITING_TRACKER})
    log = tmp_path / "worker.log"
    with run_worker(environment, log), serve(settings) as ledger:
        has_ended = submit(settings, ledger, short_clip)
        wait_until((tmp_path / "signs" / "begun").exists, "the chunk is tracked")
        wait_until(lambda: log.read_text().count("succeeded") >= 3, "the chunk's second message is through")
        (tmp_path / "signs" / "go on").touch()
        wait_until(has_ended, "the batch ends")
        wait_until(lambda: log.read_text().count("succeeded") == 6, "all messages are through")
        assert {kind: unit.attempts for kind, unit in list_units(ledger).items()} == {
            "plan": 1,
            "chunk": 1,
            "video": 1,
        }


@pytest.mark.parametrize("how", ["gently", "at once"])
def test_a_worker_that_is_stopped_loses_nothing_and_leaves_no_process(
    how: str, settings: Settings, environment: dict[str, str], short_clip: Path, tmp_path: Path
) -> None:
    """Gently, the unit that runs is ended first; at once, it is given back and counts as no attempt."""
    settings = settings.model_copy(update={"tracker": WAITING_TRACKER})
    with serve(settings) as ledger:
        with run_worker(environment, tmp_path / "worker.log") as worker:
            submit(settings, ledger, short_clip)
            wait_until((tmp_path / "signs" / "begun").exists, "the chunk is tracked")
            family = list_family(worker)
            assert len(family) >= 3
            worker.send_signal(signal.SIGTERM if how == "gently" else signal.SIGQUIT)
            if how == "gently":
                (tmp_path / "signs" / "go on").touch()
            assert worker.wait(DEADLINE_S) == 0
            _, alive = psutil.wait_procs(family, timeout=DEADLINE_S)
            assert alive == []
        chunk = list_units(ledger)["chunk"]
        assert (chunk.state, chunk.attempts) == (("done", 1) if how == "gently" else ("waiting", 0))


def test_children_of_a_killed_worker_do_not_live_on(
    settings: Settings, environment: dict[str, str], short_clip: Path, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"tracker": WAITING_TRACKER})
    with serve(settings) as ledger, run_worker(environment, tmp_path / "worker.log") as worker:
        submit(settings, ledger, short_clip)
        wait_until((tmp_path / "signs" / "begun").exists, "the chunk is tracked")
        family = list_family(worker)
        worker.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=DEADLINE_S)
        assert alive == []


def test_a_worker_lives_on_when_redis_is_killed_while_a_unit_runs(
    server: RedisServer, settings: Settings, environment: dict[str, str], short_clip: Path, tmp_path: Path
) -> None:
    """Its unit ends after the connection was lost, and cannot be acknowledged; later work is done."""
    settings = settings.model_copy(update={"tracker": WAITING_TRACKER})
    log = tmp_path / "worker.log"
    with run_worker(environment, log, concurrency=1) as worker, serve(settings) as ledger:
        has_ended = submit(settings, ledger, short_clip)
        wait_until((tmp_path / "signs" / "begun").exists, "the chunk is tracked")
        server.restart()
        wait_until(lambda: log.read_text().count("Connected to redis") >= 2, "the worker is connected again")
        (tmp_path / "signs" / "go on").touch()
        wait_until(lambda: has_ended() or worker.poll() is not None, "the batch ends")
        assert worker.poll() is None, log.read_text()[-3000:]
        assert {kind: unit.state for kind, unit in list_units(ledger).items()} == {
            "plan": "done",
            "chunk": "done",
            "video": "done",
        }


def test_a_broker_that_is_away_is_said_in_time_and_used_again_when_it_is_back(
    server: RedisServer, settings: Settings
) -> None:
    unit = ReadyUnit("chunk:v1.d1:00000", "chunk", "v1.d1", 1.0)
    with CeleryExecutor(settings) as executor:
        executor.send(unit)
        server.kill()
        for use in (executor.count_under_way, lambda: executor.send(unit)):
            with pytest.raises(TransientStoreError, match="start the Redis server"):
                use()
        server.start()
        assert executor.count_under_way() == 1
        executor.send(unit)
        assert executor.count_under_way() == 2


def test_nobody_starts_without_a_broker(settings: Settings, server: RedisServer) -> None:
    server.stop()
    with pytest.raises(TransientStoreError), CeleryExecutor(settings):
        pass
    with pytest.raises(SettingsError, match="TUBELET_BROKER"):
        CeleryExecutor(settings.model_copy(update={"ledger": ""}))
    with pytest.raises(SettingsError, match="cluster"):
        CeleryExecutor(settings.model_copy(update={"broker": "redis://127.0.0.1:1/0?cluster=true"}))


def test_urgent_units_come_first_in_the_queue_of_their_kind(settings: Settings) -> None:
    with CeleryExecutor(settings) as executor:
        for name, priority in (("late", -100), ("first", 0), ("second", 0), ("urgent", 100)):
            executor.send(ReadyUnit(name, "chunk", "v1.d1", 1.0, priority))
        executor.send(ReadyUnit("other", "plan", "v1.d1", 0.0))
        with executor._app.connection_for_read() as connection:
            simple = connection.SimpleQueue("chunk")
            order = [simple.get(timeout=5).payload[0] for _ in range(4)]
            simple.close()
    assert order == [["urgent"], ["first"], ["second"], ["late"]]


def test_levels_keep_the_order_of_priorities() -> None:
    levels = [choose_level(priority) for priority in range(-100, 101)]
    assert levels == sorted(levels, reverse=True)
    assert set(levels) == set(range(10))


def test_a_socket_is_named_as_celery_has_it(settings: Settings) -> None:
    assert name_broker(settings.model_copy(update={"broker": "unix:///run/redis.sock"})) == (
        "redis+socket:///run/redis.sock"
    )


def test_the_parent_of_a_worker_imports_nothing_that_must_not_be_forked(server: RedisServer) -> None:
    program = "import sys, tubelet.orchestration.celery_app as worker; worker.app.finalize()\n"
    program += "task = worker.app.tasks['tubelet.run_unit']\n"
    program += f"print(task.acks_late, [name for name in {HEAVY} if name in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TUBELET_LEDGER": server.url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert answer.stdout.strip() == "True []"
