"""What only the Redis ledger can suffer: a server that dies, stands still, or forgets."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from tests.orchestration.ledger.steps import (
    TRANSIENT,
    Clock,
    acquire,
    begin,
    chunk_id,
    finish,
    plan,
    plan_id,
    ready,
    run_chunks,
    states,
    units_after_plan,
    video_id,
)
from tests.redis_server import RedisServer, has_redis
from tubelet.errors import InputError, StoreError
from tubelet.orchestration.ledger.records import Event, UnitResult
from tubelet.orchestration.ledger.redis import RedisLedger

pytestmark = pytest.mark.redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own that acknowledges only what is on the disk."""
    if not has_redis():
        pytest.skip("redis-server is not installed")
    with RedisServer(tmp_path / "redis", appendfsync="always") as own:
        yield own


class Lossy:
    """Stands before a client and loses the answers of its next calls, as a broken connection does."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.num_lost = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def evalsha(self, *arguments: Any) -> Any:
        answer = self._client.evalsha(*arguments)
        if self.num_lost:
            self.num_lost -= 1
            raise redis.exceptions.ConnectionError("Connection lost before the answer came")
        return answer


def test_a_lost_answer_doubles_nothing(redis_server: RedisServer, clock: Clock) -> None:
    ledger = RedisLedger(redis_server.url, prefix=uuid4().hex, now=clock)
    lossy = Lossy(ledger._client)
    ledger._script.registered_client = lossy

    def lose(call: Callable[[], Any]) -> Any:
        lossy.num_lost = 2
        answer = call()
        assert lossy.num_lost == 0
        return answer

    lose(lambda: begin(ledger, "x", "y"))
    assert ledger.count_items("a").found == 2
    lease = lose(lambda: ledger.acquire(plan_id("x"), "w1", lease_s=60))
    assert lease.attempt == 1  # the same lease, not a second attempt
    assert ledger.holds(lease)
    lose(lambda: ledger.complete(lease, UnitResult(1.0), units_after_plan("x", 1)))
    failed = acquire(ledger, chunk_id("x", 0))
    assert lose(lambda: ledger.fail(failed, TRANSIENT)) == "waiting"
    unit = ledger.get_unit(chunk_id("x", 0))
    assert unit is not None
    assert (unit.attempts, unit.seconds) == (1, 2.0)
    clock.move(30)
    run_chunks(ledger, "x", 1)
    lease = acquire(ledger, video_id("x"))
    lose(lambda: ledger.send_back(lease, [chunk_id("x", 0)]))
    unit = ledger.get_unit(video_id("x"))
    assert unit is not None
    assert unit.num_blockers == 1
    lose(lambda: ledger.add_events([Event(1.0, "info", "once", batch_id="a")]))
    assert len(ledger.list_events("a")) == 1
    lose(lambda: ledger.set_control("a", "cancelled"))
    lose(lambda: ledger.delete_batch("a"))
    assert ledger.list_batches() == []
    ledger.close()


def test_another_acquire_of_the_same_owner_is_not_a_repeated_one(
    redis_server: RedisServer, clock: Clock
) -> None:
    ledger = RedisLedger(redis_server.url, prefix=uuid4().hex, now=clock)
    begin(ledger, "x")
    acquire(ledger, plan_id("x"), "w1")
    assert ledger.acquire(plan_id("x"), "w1", lease_s=60) is None
    ledger.close()


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(server: RedisServer) -> None:
    ledger = RedisLedger(server.url)
    begin(ledger, "x", "y")
    plan(ledger, "x", 4)
    done: list[int] = []
    leases = [acquire(ledger, chunk_id("x", number)) for number in range(4)]
    started = threading.Event()

    def complete_all() -> None:
        for number, lease in enumerate(leases):
            ledger.complete(lease, UnitResult(1.0))
            done.append(number)
            started.set()

    worker = threading.Thread(target=complete_all)
    worker.start()
    assert started.wait(30)
    acknowledged = len(done)
    server.restart()  # while the worker goes on: it tries again until the server is back
    fresh = RedisLedger(server.url)
    for number in range(acknowledged):
        unit = fresh.get_unit(chunk_id("x", number))
        assert unit is not None
        assert unit.state == "done"
    worker.join(60)
    assert done == [0, 1, 2, 3]
    assert ready(fresh) == [video_id("x"), plan_id("y")]
    assert fresh.measure_stages()["chunk"].done == 4
    ledger.complete(acquire(ledger, video_id("x")), UnitResult(1.0))
    finish(ledger, "y")
    server.restart()
    assert states(ledger) == {"x": "done", "y": "done"}
    for one in (ledger, fresh):
        one.close()


def test_tokens_rise_over_a_restart_and_a_loss_of_all_data(server: RedisServer) -> None:
    ledger = RedisLedger(server.url)
    begin(ledger, "x", "y")
    first = acquire(ledger, plan_id("x")).token
    server.restart()
    second = acquire(ledger, plan_id("y")).token
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    begin(ledger, "x")
    assert acquire(ledger, plan_id("x")).token > second > first
    ledger.close()


def test_without_a_clock_the_servers_clock_counts(redis_server: RedisServer) -> None:
    ledger = RedisLedger(redis_server.url, prefix=uuid4().hex)
    begin(ledger, "x")
    before = time.time()
    lease = acquire(ledger, plan_id("x"), lease_s=100)
    assert before - 1 <= lease.expires_s - 100 <= time.time() + 1
    ledger.close()


def test_a_server_that_is_down_is_told_with_what_to_do(server: RedisServer) -> None:
    ledger = RedisLedger(server.url, num_retries=2)
    server.stop()
    began = time.monotonic()
    for call in (lambda: begin(ledger, "x"), lambda: RedisLedger(server.url, num_retries=2)):
        with pytest.raises(StoreError, match="start the Redis server") as caught:
            call()
        assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert time.monotonic() - began < 20
    server.start()
    begin(ledger, "x")
    assert states(ledger) == {"x": "waiting"}
    ledger.close()


def test_a_server_that_stands_still_is_given_up(server: RedisServer) -> None:
    ledger = RedisLedger(server.url, timeout_s=0.2, num_retries=1)
    server.freeze()
    try:
        with pytest.raises(StoreError, match="Timeout"):
            ledger.count_items("a")
    finally:
        server.thaw()
    ledger.close()


def test_passwords_are_never_shown(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(StoreError) as caught:
            RedisLedger(f"redis://anna:s3cret@127.0.0.1:{port}/1?protocol=2", num_retries=0)
    assert "s3cret" not in str(caught.value) + repr(caught.value.__cause__)
    assert "anna" not in str(caught.value)
    for url in ("redis://anna:s3cret@[::1/0", "redis://:s3cret@host/0?no_such_option=1"):
        with pytest.raises(InputError) as refused:
            RedisLedger(url)
        assert "s3cret" not in str(refused.value)


def test_a_wrong_password_is_told_at_once(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", options="--user admin on nopass ~* +@all") as server:
        with redis.Redis(port=server.port, username="admin") as admin:
            admin.acl_setuser("default", enabled=True, passwords=["+right"], reset_passwords=True)
        with pytest.raises(StoreError, match="check the user and the password") as caught:
            RedisLedger(f"redis://:wr0ng@127.0.0.1:{server.port}/0")
        assert "wr0ng" not in str(caught.value)
        ledger = RedisLedger(f"redis://:right@127.0.0.1:{server.port}/0")
        begin(ledger, "x")
        ledger.close()


def test_a_ledger_of_another_version_is_refused(redis_server: RedisServer) -> None:
    prefix = uuid4().hex
    RedisLedger(redis_server.url, prefix=prefix).close()
    with redis.Redis.from_url(redis_server.url) as client:
        client.set(f"{{{prefix}}}:version", "99")
    with pytest.raises(StoreError, match="version 99"):
        RedisLedger(redis_server.url, prefix=prefix)


def test_prefixes_are_ledgers_of_their_own(redis_server: RedisServer, clock: Clock) -> None:
    one, two = (RedisLedger(redis_server.url, prefix=uuid4().hex, now=clock) for _ in range(2))
    begin(one, "x")
    assert two.list_batches() == []
    assert ready(two) == []
    one.close()
    two.close()


def test_a_server_that_may_throw_keys_away_is_refused(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        RedisLedger(server.url).close()  # nothing is thrown away without a limit
        client.config_set("maxmemory", "100mb")
        with pytest.raises(StoreError, match="noeviction"):
            RedisLedger(server.url)
        client.config_set("maxmemory-policy", "noeviction")
        ledger = RedisLedger(server.url)
        begin(ledger, "x")
        client.config_set("maxmemory", "1")
        with pytest.raises(StoreError, match="more memory"):
            begin(ledger, "y", batch_id="b")
        client.config_set("maxmemory", "0")
        assert states(ledger) == {"x": "waiting"}
        ledger.close()


def test_a_server_without_an_append_only_file_is_told(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis.from_url(server.url) as client, caplog.at_level(logging.WARNING):
        RedisLedger(server.url).close()
        assert not caplog.records
        client.config_set("appendonly", "no")
        RedisLedger(server.url).close()
    assert "appendonly" in caplog.text


def test_a_cancelling_that_died_is_finished_by_others(redis_server: RedisServer, clock: Clock) -> None:
    ledger = RedisLedger(redis_server.url, prefix=uuid4().hex, now=clock)
    names = [f"{n:03}" for n in range(150)]
    begin(ledger, *names)
    lease = acquire(ledger, plan_id("000"))
    ledger.run("set_control", "a", "cancelled")  # and then the process dies
    assert ready(ledger) == []  # at once, and it ends a page
    assert ready(ledger) == []
    assert set(states(ledger).values()) == {"cancelled"}
    assert not ledger.holds(lease)
    ledger.run("delete_batch", "a")
    assert ledger.get_batch("a") is None
    begin(ledger, "x")
    assert states(ledger) == {"x": "waiting"}
    assert ledger.get_unit(plan_id("001")) is None
    ledger.close()


def test_deleting_leaves_no_key_behind(redis_server: RedisServer, clock: Clock) -> None:
    prefix = uuid4().hex
    ledger = RedisLedger(redis_server.url, prefix=prefix, now=clock)
    begin(ledger, "x", "y", "z", idempotency_key="k")
    finish(ledger, "x")
    plan(ledger, "y")
    ready(ledger)
    ledger.fail(acquire(ledger, chunk_id("y", 0)), TRANSIENT)
    ledger.add_events([Event(1.0, "info", "text", batch_id="a")])
    ledger.set_control("a", "cancelled")
    ledger.delete_batch("a")
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        left = {key.partition(":")[2] for key in client.scan_iter(f"{{{prefix}}}:*")}
    assert {key for key in left if not key.startswith("once:")} == {
        "version",
        "options",
        "stages",
        "totals",  # never become less
        "token",
        "arrival",
        "number",
    }
    assert ledger.measure_stages() == {}
    ledger.close()


def test_all_keys_lie_on_one_node_of_a_cluster(tmp_path: Path, clock: Clock) -> None:
    with RedisServer(tmp_path / "redis", options="--cluster-enabled yes") as server:
        with redis.Redis(port=server.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                time.sleep(0.01)
        ledger = RedisLedger(f"{server.url}?cluster=true", now=clock)
        begin(ledger, "x", "y")
        finish(ledger, "x")
        assert ready(ledger) == [plan_id("y")]
        ledger.close()
