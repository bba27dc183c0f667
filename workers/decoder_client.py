"""The parent's end of a decoder child: start it, ask it, wait in bounds, never leave it behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tubelet import errors
from tubelet.errors import DecodeTimeoutError, SourceError, VideoTruncatedError

Json = dict[str, Any]

NUM_SLOTS = 2
"""Batches in shared memory: one being read by the parent while the next is decoded."""

_OPEN_BYTES_PER_S = 20e6
_START_S = 20.0
_REPLY_BYTES = 1 << 16
_TAIL_BYTES = 400


class DecoderProcess:
    """One decoder child for one local file. Use as a context manager; every way out ends the child.

    `timeout_s` is how long one answer may take. Opening scans the whole file, so it gets more time with the
    file's size. Raises the `SourceError` that the child found, `DecodeTimeoutError` when it stops answering,
    `VideoTruncatedError` when it dies.
    """

    def __init__(self, path: Path, container_name: str, *, timeout_s: float, num_threads: int = 2) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._buffer = b""
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        flags = fcntl.fcntl(self._messages, fcntl.F_GETFL)
        fcntl.fcntl(self._messages, fcntl.F_SETFL, flags | os.O_APPEND)
        self._memory_fd = _make_memory_file()
        module = "tubelet.workers.decoder_process"
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                module,
                str(path),
                container_name,
                str(num_threads),
                str(os.getpid()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            pass_fds=[self._memory_fd],
        )
        try:
            self.receive(extra_s=_START_S + path.stat().st_size / _OPEN_BYTES_PER_S)
        except BaseException:
            self.close()
            raise

    @property
    def memory_fd(self) -> int:
        """The file behind the shared memory; it has no name, so it goes away with both processes."""
        return self._memory_fd

    @property
    def process_id(self) -> int:
        return self._process.pid

    def send(self, command: Json) -> None:
        """Send one command; a child that is gone shows in the next `receive`."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self, *, extra_s: float = 0.0) -> Json:
        """Wait for one reply, at most the time limit and `extra_s`."""
        assert self._process.stdout is not None
        limit_s = self._timeout_s + extra_s
        deadline_s = time.monotonic() + limit_s
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready:
                self.close()
                raise DecodeTimeoutError(
                    f"the decoder gave no answer for {limit_s:.0f} s on {self._path}",
                    expected="a picture in time",
                    do="raise the decode time limit if the machine is slow; otherwise convert the file",
                )
            data = os.read(descriptor, _REPLY_BYTES)
            if not data:
                raise self._explain_death()
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        reply: Json = json.loads(line)
        if "error" in reply:
            kind = getattr(errors, reply["error"])
            assert issubclass(kind, SourceError)
            raise kind(reply["found"], expected=reply["expected"], do=reply["do"])
        return reply

    def _explain_death(self) -> SourceError:
        self._process.wait()
        size = os.fstat(self._messages.fileno()).st_size
        tail = os.pread(self._messages.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode(
            errors="replace"
        )
        code = self._process.returncode
        self.close()
        return VideoTruncatedError(
            f"the decoder ended with code {code} on {self._path}: {tail.strip() or 'no message'}",
            expected="a file that decodes to its end",
            do="check the file in a player, or convert it",
        )

    def close(self) -> None:
        """End the child and give back everything; safe to call again."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._messages.close()
        if self._memory_fd >= 0:
            os.close(self._memory_fd)
            self._memory_fd = -1

    def __enter__(self) -> DecoderProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _make_memory_file() -> int:
    """A file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("tubelet-pictures")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
