"""A real Celery worker in processes of its own, and trackers that let tests decide when something happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tubelet.model.frame import Frame
from tubelet.model.tracking.base import TrackedFrame
from tubelet.model.tracking.motion import MotionTracker
from tubelet.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0
SIGNS = "TEST_SIGNS"
"""The environment variable with a folder in which tests and trackers leave signs for each other."""


def wait_until(condition: Callable[[], object], what: str, *, deadline_s: float = DEADLINE_S) -> None:
    """Wait until something is true, for so long as anything here may take."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"it never came to this: {what}"
        time.sleep(0.02)


@contextmanager
def run_worker(
    environment: Mapping[str, str], log: Path, *, concurrency: int = 2, queues: str = "plan,chunk,video"
) -> Iterator[psutil.Popen]:
    """A prefork worker; it and all of its children are gone afterwards."""
    command = [sys.executable, "-m", "celery", "-A", "tubelet.orchestration.celery_app", "worker"]
    command += ["--concurrency", str(concurrency), "--queues", queues, "--loglevel", "INFO"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with log.open("wb") as output:
        worker = psutil.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            cwd=ROOT,
        )
    try:
        yield worker
    finally:
        family = list_family(worker)
        for process in family:
            if process.is_running():
                process.send_signal(signal.SIGKILL)
        worker.wait(DEADLINE_S)
        psutil.wait_procs(family, timeout=DEADLINE_S)
        worker.poll()  # a test that waited for the family has reaped it: let Popen know


def list_family(worker: psutil.Popen) -> list[psutil.Process]:
    """The worker and all that it started and that is alive."""
    try:
        return [psutil.Process(worker.pid), *worker.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


class DyingTracker(MotionTracker):
    """Kills its process the first time that it is asked to track anything."""

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        try:
            (Path(os.environ[SIGNS]) / "died").touch(exist_ok=False)
        except FileExistsError:
            yield from super().track(frames, context)
        else:
            os.kill(os.getpid(), signal.SIGKILL)


class WaitingTracker(MotionTracker):
    """Begins to track, says so, and goes on when the test lets it."""

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        signs = Path(os.environ[SIGNS])
        (signs / "begun").touch()
        wait_until((signs / "go on").exists, "the tracker may go on")
        yield from super().track(frames, context)


def make_dying_tracker(settings: Settings) -> DyingTracker:
    return DyingTracker()


def make_waiting_tracker(settings: Settings) -> WaitingTracker:
    return WaitingTracker()


DYING_TRACKER = f"{__name__}:make_dying_tracker"
WAITING_TRACKER = f"{__name__}:make_waiting_tracker"
