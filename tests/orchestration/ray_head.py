"""A real Ray cluster on the loopback address, in processes of its own, and a light model to serve there."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.orchestration.celery_workers import DEADLINE_S, ROOT, SIGNS, wait_until
from tests.orchestration.light_models import LIGHT
from tubelet.errors import ModelError
from tubelet.model.describing.attributes import AttributesCaptioner
from tubelet.model.describing.base import DescribeRequest, Description, ObjectView
from tubelet.records import Attributes, Box, Motion
from tubelet.settings import Settings, load_settings

BAD_QUESTION = "what does nobody know?"
FULL_STOP = "wait for the sign"
STORE_BYTES = 100 * 2**20
START_S = 120.0


@dataclass(frozen=True, slots=True)
class RayHead:
    """Where the cluster is, and the folder for signs that its processes know."""

    address: str
    signs: Path


@contextlib.contextmanager
def run_head(folder: Path) -> Iterator[RayHead]:
    """A head; it and all that it started are gone afterwards. Processors are only numbers to it.

    The machine may be busy: no process is started before it is asked for, and none is soon taken for dead.
    """
    port, for_clients = _find_ports()
    short = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets must be short
    patient = {"RAY_enable_worker_prestart": "0", "RAY_worker_register_timeout_seconds": "120"}
    own = {"TUBELET_HOME": str(folder / "home"), SIGNS: str(folder), "PYTHONPATH": str(ROOT)}
    outside = {name: value for name, value in os.environ.items() if not name.startswith("TUBELET_")}
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    command += ["--num-cpus=8", "--num-gpus=0", "--include-dashboard=false", f"--temp-dir={short}"]
    command += [f"--object-store-memory={STORE_BYTES}", "--no-monitor", "--include-log-monitor=false"]
    command += [f"--ray-client-server-port={for_clients}", "--min-worker-port=0", "--max-worker-port=0"]
    with (folder / "ray.log").open("wb") as output:
        head = psutil.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**outside, **patient, **own},
            cwd=folder,
        )
    try:

        def has_started() -> bool:
            told = (folder / "ray.log").read_text()
            assert head.poll() is None, f"Ray ended at once: {told}"
            return "Ray runtime started" in told

        wait_until(has_started, "Ray starts", deadline_s=START_S)
        yield RayHead(f"127.0.0.1:{port}", folder)
    finally:
        _kill_family(head)
        shutil.rmtree(short)


def make_settings(tmp_path: Path, head: RayHead, **more: Any) -> Settings:
    """Settings of a run on a head; index and chunk results lie in the folder."""
    shared = {"index_uri": str(tmp_path / "index"), "work_uri": str(tmp_path / "work")}
    values = {"home": tmp_path / "home", "executor": "ray", "ray_address": head.address, **LIGHT, **shared}
    return load_settings({**values, **more}, environment={})


def _kill_family(head: psutil.Popen) -> None:
    """Kill a head and all below it. None can start another meanwhile, for they are stopped first."""
    stopped: set[psutil.Process] = {head}
    with contextlib.suppress(psutil.NoSuchProcess):
        head.suspend()
    while head.is_running() and (new := set(head.children(recursive=True)) - stopped):
        for process in new:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        stopped |= new
    for process in stopped:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(stopped, timeout=DEADLINE_S)
    assert not alive, f"these outlive Ray: {alive}"


def _find_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


class NotingCaptioner(AttributesCaptioner):
    """`attributes` that notes how many requests came together, waits for a sign, and refuses one question."""

    answers_questions = True

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        signs = Path(os.environ[SIGNS])
        with (signs / "batches").open("a") as file:
            file.write(f"{len(requests)}\n")
        if any(request.question == FULL_STOP for request in requests):
            wait_until((signs / "go on").exists, "the captioner may go on")
        if any(request.question == BAD_QUESTION for request in requests):
            raise ModelError("Nobody knows that")
        return super().describe([replace(request, question=None) for request in requests])


def make_request(seed: int, question: str | None = None) -> DescribeRequest:
    """A plain object of a colour of its own, seen once."""
    image = np.full((40, 40, 3), 110, np.uint8)
    mask = np.zeros((40, 40), np.bool_)
    mask[5:25, 10:30] = True
    image[mask] = [(37 * seed) % 256, (91 * seed) % 256, 200]
    view = ObjectView(0.0, image, mask, Box(0, 0, 40, 40))
    still = Motion("none", None, 0.0, "none", 0.0, True, False, False)
    return DescribeRequest((view,), Attributes((f"colour {seed}",), (0.8,), "large"), still, question)


def make_noting_captioner(settings: Settings) -> NotingCaptioner:
    return NotingCaptioner()


NOTING_CAPTIONER = f"{__name__}:make_noting_captioner"
