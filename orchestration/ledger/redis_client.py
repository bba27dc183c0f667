"""Calls of the ledger's Lua script on a Redis server, with bounded retries and errors that say what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry

from tubelet.errors import InputError, StoreError, TubeletError

VERSION = "1"
TIMEOUT_S = 5.0
NUM_RETRIES = 8

_log = logging.getLogger(__name__)
_TRY_AGAIN = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.TryAgainError,
)


@cache
def read_script() -> str:
    """The Lua script: its files one after the other."""
    folder = resources.files("tubelet.orchestration.ledger").joinpath("lua")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".lua")), key=lambda file: file.name)
    assert files, "the Lua files are part of the package"
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


class RedisClient:
    """One server and one prefix of keys. Threads may share it; a forked process opens its own connections.

    A call that gets no answer within `timeout_s` is sent again, `num_retries` times with growing pauses.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "tubelet",
        now: Callable[[], float] | None = None,
        timeout_s: float = TIMEOUT_S,
        num_retries: int = NUM_RETRIES,
    ) -> None:
        self._address = hide_password(url)
        self._prefix = f"{{{prefix}}}:"  # the braces keep all keys of a prefix on one node of a cluster
        self._now = now
        self._retry = Retry(ExponentialWithJitterBackoff(cap=2.0, base=0.05), num_retries, _TRY_AGAIN)
        server, options = _split_options(url)
        kind: Any = redis.RedisCluster if options.pop("cluster", "") == "true" else redis.Redis
        try:
            self._client: Any = kind.from_url(
                server + ("?" + urlencode(options) if options else ""),
                decode_responses=True,
                encoding_errors="surrogateescape",  # names of files need not be UTF-8
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),  # tried again here, around connecting and asking together
            )
            self._script = self._client.register_script(read_script())
            self._check_server()
        except (ValueError, TypeError) as error:  # TypeError: an option that the client does not know
            raise InputError(
                f"{self._address} is not the address of a Redis server",
                expected="redis://[USER:PASSWORD@]HOST:PORT/DB, rediss://… or unix:///SOCKET",
                do="mend the address of the ledger",
            ) from error
        except redis.exceptions.RedisError as error:  # of a cluster, which connects at once
            raise self._explain(error) from error

    def close(self) -> None:
        """Give up connections. Whoever uses the ledger again opens new ones."""
        self._client.close()

    def run(self, operation: str, *arguments: object) -> Any:
        """The answer of an operation of the script; None is sent as an empty text."""
        now = "" if self._now is None else repr(self._now())
        sent = [operation, now, *map(_as_text, arguments)]
        return self._ask(lambda: self._script(keys=[self._prefix], args=sent))

    def _ask(self, ask: Callable[[], Any]) -> Any:
        def ask_once() -> Any:
            try:
                return ask()
            except redis.exceptions.AuthenticationError as error:  # a connection error that does not pass
                raise self._explain(error) from error

        try:
            return self._retry.call_with_retry(ask_once, lambda error: None)
        except redis.exceptions.RedisError as error:
            raise self._explain(error) from error

    def _check_server(self) -> None:
        """Refuse a ledger of another release, and a server that may throw keys away."""
        self._ask(lambda: self._client.set(f"{self._prefix}version", VERSION, nx=True))
        version = self._ask(lambda: self._client.get(f"{self._prefix}version"))
        if version != VERSION:
            raise StoreError(
                f"The ledger at {self._address} is of version {version}",
                expected=f"version {VERSION}",
                do="use the release of Tubelet that wrote it, or another database",
            )
        try:
            info: dict[str, Any] = self._retry.call_with_retry(self._client.info, lambda error: None)
        except redis.exceptions.RedisError:  # not every service lets a client ask
            return
        policy = str(info.get("maxmemory_policy", "noeviction"))
        if policy.startswith("allkeys") and info.get("maxmemory"):
            raise StoreError(
                f"The Redis server at {self._address} throws keys away when memory is short ({policy})",
                expected="maxmemory-policy noeviction",
                do="set it, for a ledger must not forget",
            )
        if not info.get("aof_enabled", 1):
            _log.warning(
                "The Redis server at %s writes no append-only file, so a restart may forget batches:"
                " set appendonly yes",
                self._address,
            )

    def _explain(self, error: redis.exceptions.RedisError) -> TubeletError:
        """What went wrong, without the password that an address may hold."""
        what = f"The ledger at {self._address} cannot be used: {type(error).__name__}: {error}"
        if isinstance(error, redis.exceptions.AuthenticationError | redis.exceptions.NoPermissionError):
            return StoreError(
                what, do="check the user and the password in the address, and the user's rights"
            )
        if isinstance(error, redis.exceptions.OutOfMemoryError):
            return StoreError(what, do="give the Redis server more memory and go on; nothing is lost")
        if isinstance(error, redis.exceptions.TimeoutError | redis.exceptions.ConnectionError):
            return StoreError(
                what, do="start the Redis server, or check the address and the network, and go on"
            )
        if isinstance(error, redis.exceptions.MovedError):
            return StoreError(what, do="add ?cluster=true to the address of a cluster")
        return StoreError(what, do="look into the log of the Redis server")


def _split_options(url: str) -> tuple[str, dict[str, str]]:
    server, _, query = url.partition("?")
    return server, dict(parse_qsl(query))


def hide_password(url: str) -> str:
    """An address as it may be shown: without user, password and options."""
    try:
        parts = urlsplit(url)
        where = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
        return f"{parts.scheme}://{where}{parts.path}"
    except ValueError:
        return f"{url.partition('://')[0]}://…"


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return value if isinstance(value, str) else repr(value)
