"""Both ledgers, and the model that they are compared with, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from tests.orchestration.ledger.model import ModelLedger
from tests.orchestration.ledger.steps import Clock
from tests.redis_server import RedisServer, has_redis
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.redis import RedisLedger
from tubelet.orchestration.ledger.sqlite import SqliteLedger

KINDS = ["model", "sqlite", pytest.param("redis", marks=pytest.mark.redis)]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that the session's tests share, each under a prefix of its own. Nobody kills this one."""
    if not has_redis():
        pytest.skip("redis-server is not installed")
    with RedisServer(tmp_path_factory.mktemp("redis"), appendfsync="no") as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is moved."""
    return Clock()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which ledger; the model passes the same tests, so that comparing with it means something."""
    name: str = request.param
    return name


@pytest.fixture
def open_again(
    kind: str, clock: Clock, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[[], Ledger]]:
    """Opens the test's ledger, once more with every call."""
    opened: list[Ledger] = []
    if kind == "redis":
        url, prefix = request.getfixturevalue("redis_server").url, uuid4().hex

        def open_one() -> Ledger:
            opened.append(RedisLedger(url, prefix=prefix, now=clock))
            return opened[-1]
    elif kind == "model":
        model = ModelLedger(clock)

        def open_one() -> Ledger:
            return model
    else:

        def open_one() -> Ledger:
            opened.append(SqliteLedger(tmp_path / "deep" / "ledger.sqlite", now=clock))
            return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()
    if kind == "redis":
        with redis.Redis.from_url(url) as client:
            client.flushdb()


@pytest.fixture
def ledger(open_again: Callable[[], Ledger]) -> Ledger:
    """A ledger with nothing in it."""
    return open_again()
