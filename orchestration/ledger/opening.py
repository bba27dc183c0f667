"""Opens the ledger that an address names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from tubelet.errors import InputError
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.redis import RedisLedger
from tubelet.orchestration.ledger.sqlite import SqliteLedger

_REDIS = ("redis", "rediss", "unix")


def open_ledger(uri: str) -> Ledger:
    """Open the ledger at a path or `sqlite:///PATH` (SQLite), or on a Redis server.

    After three slashes a relative path follows, after four an absolute one. A Redis server is named by
    `redis://HOST:PORT/DB`, `rediss://…` (TLS) or `unix:///SOCKET`; with `?cluster=true` it is a cluster.
    Raises InputError for an address of no known kind, StoreError when the ledger cannot be opened.
    """
    scheme, found, rest = uri.partition("://")
    if not found and uri:
        return SqliteLedger(Path(uri).expanduser())
    if scheme == "sqlite" and len(rest) > 1 and rest.startswith("/"):
        return SqliteLedger(Path(unquote(rest[1:])))
    if scheme in _REDIS and rest:
        return RedisLedger(uri)
    raise InputError(
        f"A ledger cannot be opened at an address that begins with {scheme!r}",
        expected="a path, sqlite:///PATH, redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///SOCKET",
        do="name the ledger in one of these ways",
    )


def is_local_ledger(uri: str) -> bool:
    """Whether a ledger's address names a file of this machine, which one run at a time works on."""
    return uri.partition("://")[0] not in _REDIS
