"""Which address opens which ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.redis_server import RedisServer
from tubelet.errors import InputError
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.redis import RedisLedger
from tubelet.orchestration.ledger.sqlite import SqliteLedger


@pytest.mark.parametrize("address", ["{}", "sqlite:///{}"])
@pytest.mark.parametrize("name", ["ledger.sqlite", "a b/ü.db"])
def test_a_path_opens_a_file(tmp_path: Path, address: str, name: str) -> None:
    path = tmp_path / name
    ledger = open_ledger(address.format(path))
    assert isinstance(ledger, SqliteLedger)
    assert path.is_file()
    ledger.close()


def test_relative_paths_and_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for address in ("one.sqlite", "sqlite:///two%20words.sqlite", "~/three.sqlite"):
        open_ledger(address).close()
    for path in ("one.sqlite", "two words.sqlite", "home/three.sqlite"):
        assert (tmp_path / path).is_file()


@pytest.mark.redis
def test_redis_addresses_open_a_server(redis_server: RedisServer) -> None:
    ledger = open_ledger(f"{redis_server.url}?socket_keepalive=true")
    assert isinstance(ledger, RedisLedger)
    ledger.close()


@pytest.mark.redis
def test_a_socket_opens_a_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("s")
    with RedisServer(folder, options=f"--unixsocket {folder}/r.sock"):
        ledger = open_ledger(f"unix://{folder}/r.sock")
        assert ledger.list_batches() == []
        ledger.close()


@pytest.mark.parametrize(
    "address", ["", "postgres://anna:s3cret@host/db", "sqlite://x", "sqlite:///", "redis://"]
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(InputError, match="redis://HOST:PORT/DB") as caught:
        open_ledger(address)
    assert "s3cret" not in str(caught.value)
