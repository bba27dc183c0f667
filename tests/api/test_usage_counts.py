"""Counts of quotas, in a file and on a Redis server: the same, whoever counts at the same time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from tests.api.conftest import StartService
from tests.api.test_server_quotas import read_used, submit
from tests.api.tiny_index import make_settings
from tests.redis_server import RedisServer, has_redis
from tubelet.api.keys import KeyFile
from tubelet.api.server import opening, usage_redis
from tubelet.api.server.usage_counts import Counts, FileCounts
from tubelet.api.server.usage_redis import RedisCounts
from tubelet.errors import StoreError
from tubelet.orchestration.ledger import redis_client
from tubelet.orchestration.ledger.opening import open_ledger

DAY = 20_000


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if not has_redis():
        pytest.skip("redis-server is not installed")
    with RedisServer(tmp_path_factory.mktemp("counts"), appendfsync="no") as server:
        yield server


@pytest.fixture(params=["file", pytest.param("redis", marks=pytest.mark.redis)])
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Counts]]:
    """Opens the test's counts, once more with every call, as another process does."""
    opened: list[Counts] = []
    url = request.getfixturevalue("redis_server").url if request.param == "redis" else ""
    prefix = uuid4().hex

    def open_one() -> Counts:
        place = tmp_path / "deep" / "usage.sqlite"
        opened.append(RedisCounts(url, prefix=prefix) if url else FileCounts(place))
        return opened[-1]

    yield open_one
    for counts in opened:
        counts.close()


def take(counts: Counts, amount: float, *, limit: float, at_least: float | None = None) -> float | None:
    least = amount if at_least is None else at_least
    return counts.take("k", DAY, "videos", amount, at_least=least, limit=limit)[1]


def test_amounts_are_counted_to_the_limit_and_given_back(open_again: Callable[[], Counts]) -> None:
    counts, other = open_again(), open_again()
    assert counts.read("k", DAY, "videos") == 0
    assert take(counts, 0.1, limit=1) == 0.1
    assert take(other, 0.2, limit=1) == 0.2
    assert counts.take("k", DAY, "videos", 1, at_least=1, limit=1) == (0.1 + 0.2, None)
    assert take(other, 5, limit=1, at_least=0.5) == 1 - (0.1 + 0.2), "what is left"
    assert take(counts, 0.1, limit=2**60 + 0.5) == 0.1
    assert counts.read("k", DAY, "videos") == 1.1
    counts.give_back("k", DAY, "videos", 0.6)
    assert other.read("k", DAY, "videos") == 1.1 - 0.6
    counts.give_back("k", DAY, "videos", 5)
    assert other.read("k", DAY, "videos") == 0, "never below"
    take(counts, 3, limit=9)
    for key, day, name in (("j", DAY, "videos"), ("k", DAY + 1, "videos"), ("k", DAY, "upload_gb")):
        assert counts.read(key, day, name) == 0, "each key, day and name by itself"


def test_batches_count_once_and_by_what_is_found(open_again: Callable[[], Counts]) -> None:
    counts, other = open_again(), open_again()
    assert counts.note_batch("b1", "k", DAY, 2)
    assert not other.note_batch("b1", "k", DAY, 2)
    assert counts.note_batch("b2", "k", DAY, 1)
    assert counts.note_batch("b3", "j", DAY, 1)
    assert sorted(other.list_batches("k", DAY)) == ["b1", "b2"]
    assert other.list_batches("k", DAY + 1) == []
    take(counts, 3, limit=100)
    for found in (1, 7, 7, 5):
        other.settle_batch("b1", DAY, found)
    assert counts.read("k", DAY, "videos") == 3 + 5
    counts.settle_batch("b2", DAY + 1, 50)
    counts.settle_batch("unknown", DAY, 50)
    assert counts.read("k", DAY, "videos") == 3 + 5, "of another day, or of nobody"


def test_who_counts_at_the_same_time_shares_one_limit(open_again: Callable[[], Counts]) -> None:
    both = [open_again(), open_again()]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda number: take(both[number % 2], 1, limit=30), range(48)))
    assert taken.count(None) == 18
    assert both[0].read("k", DAY, "videos") == 30


def test_a_file_is_made_once_and_cleared_once_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    connect = sqlite3.connect

    def listen(*arguments: object, **options: object) -> sqlite3.Connection:
        connection = connect(*arguments, **options)  # type: ignore[call-overload]
        connection.set_trace_callback(said.append)
        return connection  # type: ignore[no-any-return]

    monkeypatch.setattr(sqlite3, "connect", listen)
    counts = FileCounts(tmp_path / "usage.sqlite")
    for day in (DAY, DAY, DAY + 1, DAY + 2, DAY + 2):
        counts.take("k", day, "videos", 1, at_least=1, limit=9)
        counts.read("k", day, "videos")
    assert sum("CREATE TABLE IF NOT EXISTS used" in each for each in said) == 1
    assert sum(each.startswith("DELETE FROM used") for each in said) == 3
    assert [counts.read("k", day, "videos") for day in (DAY, DAY + 1, DAY + 2)] == [0, 1, 2]
    (tmp_path / "usage.sqlite").unlink()
    assert counts.read("k", DAY, "videos") == 0, "who removed the file finds it made anew"


@pytest.mark.redis
def test_a_call_that_is_sent_again_counts_once(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = RedisCounts(redis_server.url, prefix=uuid4().hex)
    call = uuid4()
    with monkeypatch.context() as lost:
        lost.setattr(usage_redis, "uuid4", lambda: call)
        assert [take(counts, 2, limit=3) for _ in range(2)] == [2, 2]
    assert counts.read("k", DAY, "videos") == 2
    counts.close()


@pytest.mark.redis
def test_services_with_homes_of_their_own_share_the_quotas_of_a_ledger(
    start_service: StartService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client.RedisClient.__init__, "__kwdefaults__", _hurry())
    monkeypatch.setattr(opening, "TRY_AGAIN_S", 0.0)
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("k", scopes=("search", "submit"), quotas={"videos": 4})
    with RedisServer(tmp_path / "redis", appendfsync="always") as redis:
        one, two = (
            start_service(
                make_settings(
                    tmp_path / name, ledger=redis.url, api_keys=str(keys.path), api_sources=("s3://archive",)
                ),
                is_local=False,
                key=key,
            )
            for name in ("one", "two")
        )
        submit(one, "s3://archive/a.mp4")
        batch = submit(two, "s3://archive/2026/**")
        assert read_used(one) == read_used(two) == {"videos": 2}
        ledger = open_ledger(redis.url)
        ledger.end_listing(batch["batch_id"])
        ledger.close()
        submit(one, *(f"s3://archive/{number}.mp4" for number in "bc"))
        assert submit(two, "s3://archive/d.mp4", status=429)["code"] == "quota-exceeded"
        redis.kill()
        raw = {"Content-Type": "application/octet-stream"}
        assert two.get("/v1/usage", 503)["code"] == "unavailable"
        assert two.post("/v1/batches", 503, json={"sources": ["s3://archive/d.mp4"]})["code"] == "unavailable"
        assert two.post("/v1/uploads", 415, content=b"x", headers=raw), "of bytes there is no quota"
        redis.start()
        assert read_used(two) == {"videos": 4}
    assert not list(tmp_path.rglob("usage.sqlite"))


def _hurry() -> dict[str, object]:
    given = redis_client.RedisClient.__init__.__kwdefaults__
    return {**given, "timeout_s": 0.5, "num_retries": 1}


@pytest.mark.redis
def test_a_server_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_client, "NUM_RETRIES", 0)
    with pytest.raises(StoreError, match="start the Redis server"):
        RedisCounts("redis://127.0.0.1:1/0", timeout_s=0.2, num_retries=0)
