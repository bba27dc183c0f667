"""A real Ray cluster on the loopback address, in processes of its own, and a light model to serve there."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from tests.orchestration.celery_workers import DEADLINE_S, ROOT, SIGNS, wait_until
from tubelet.errors import ModelError
from tubelet.model.describing.attributes import AttributesCaptioner
from tubelet.model.describing.base import DescribeRequest, Description, ObjectView
from tubelet.records import Attributes, Box, Motion
from tubelet.settings import Settings

ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""What Ray reads when it is imported: a token of these tests alone, and nothing but the loopback address."""
os.environ.update(ENVIRONMENT)

BAD_QUESTION = "what does nobody know?"
FULL_STOP = "wait for the sign"


@dataclass(frozen=True, slots=True)
class RayHead:
    """Where the cluster is, and the folder for signs that its processes know."""

    address: str
    signs: Path


@contextmanager
def run_head(folder: Path, *, num_cpus: int = 8) -> Iterator[RayHead]:
    """A head; it and all that it started are gone afterwards. Processors are only numbers to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    short = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # paths of sockets must be short
    own = {"TUBELET_HOME": str(folder / "home"), SIGNS: str(folder), "PYTHONPATH": str(ROOT)}
    outside = {name: value for name, value in os.environ.items() if not name.startswith("TUBELET_")}
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    command += [f"--num-cpus={num_cpus}", "--num-gpus=0", "--include-dashboard=false", f"--temp-dir={short}"]
    with (folder / "ray.log").open("wb") as output:
        head = psutil.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**outside, **ENVIRONMENT, **own},
            cwd=folder,
        )
    family: dict[int, psutil.Process] = {}
    try:
        wait_until(lambda: "Ray runtime started" in (folder / "ray.log").read_text(), "Ray starts")
        yield RayHead(f"127.0.0.1:{port}", folder)
    finally:
        family |= {process.pid: process for process in [head, *head.children(recursive=True)]}
        head.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(list(family.values()), timeout=10)
        for process in alive:
            process.kill()
        _, alive = psutil.wait_procs(alive, timeout=DEADLINE_S)
        shutil.rmtree(short, ignore_errors=True)
        assert not alive, f"these outlive Ray: {alive}"


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
