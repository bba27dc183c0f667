"""A real Redis server on a free port of the loopback address, for tests that stop, kill and restart it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import redis

# the shell ends the server when this process closes its input, by intention or by dying
_SUPERVISOR = """
redis-server "$@" >/dev/null & server=$!
echo $server
read -r _
kill -KILL $server 2>/dev/null
wait $server 2>/dev/null
"""
_START_S = 20.0


def has_redis() -> bool:
    """Whether `redis-server` is installed."""
    return shutil.which("redis-server") is not None


class RedisServer:
    """One server with an append-only file in `folder`; the port stays the same over restarts.

    `appendfsync="always"` acknowledges a write only when it is on the disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        appendfsync: Literal["always", "everysec", "no"] = "everysec",
        options: str = "",
    ) -> None:
        self._folder = folder
        self._options = ["--appendfsync", appendfsync, *options.split()]
        self._supervisor: subprocess.Popen[bytes] | None = None
        self.pid = 0
        self.port = 0

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers; what its append-only file holds is there again."""
        assert self._supervisor is None, "the server runs already"
        self._folder.mkdir(parents=True, exist_ok=True)
        port_is_chosen = bool(self.port)
        for _ in range(5):
            if not port_is_chosen:
                self.port = _free_port()
            if self._start_once():
                return
            assert not port_is_chosen, f"redis-server does not start again on port {self.port}"
        raise AssertionError("redis-server does not start")

    def kill(self) -> None:
        """End the server at once, as a crash does."""
        assert self._supervisor is not None, "the server does not run"
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._reap()

    def restart(self) -> None:
        """Kill the server and start it again."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End the server if it runs."""
        if self._supervisor is not None:
            self._reap()

    def freeze(self) -> None:
        """Let the server stand still: it accepts connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_once(self) -> bool:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        arguments += ["--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction", *self._options]
        self._supervisor = subprocess.Popen(
            ["sh", "-c", _SUPERVISOR, "sh", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._supervisor.stdout is not None
        self.pid = int(self._supervisor.stdout.readline())
        give_up = time.monotonic() + _START_S
        with redis.Redis(port=self.port, socket_timeout=_START_S) as client:
            while time.monotonic() < give_up and _is_alive(self.pid):
                try:
                    if client.info("server")["process_id"] == self.pid:
                        return True
                    break  # somebody else's server took the port
                except redis.exceptions.RedisError:  # not listening yet, or loading its file
                    time.sleep(0.01)
        self._reap()
        return False

    def _reap(self) -> None:
        assert self._supervisor is not None
        self._supervisor.communicate()  # closes its input, so it kills the server, and waits for it
        self._supervisor = None
        self.pid = 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
