"""What chaos strikes: an archive on S3, and a deployment of real processes that index it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from unittest.mock import patch

import boto3
import psutil

from tests.orchestration.celery_workers import ROOT, list_family
from tests.orchestration.light_models import LIGHT
from tests.redis_server import RedisServer
from tests.s3_server import FaultyS3, start_s3_server
from tubelet.api.demo_scene import render_scene
from tubelet.errors import StoreError
from tubelet.index.store import IndexStore
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.pipeline import index_sources
from tubelet.orchestration.unit import read_digest
from tubelet.settings import Settings, load_settings

T = TypeVar("T")
Rows = dict[str, list[dict[str, Any]]]
Kind = Literal["local", "celery", "ray"]

BUCKET = "archive"
CLIPS_S = (2.0, 2.5)
ASK_S = 20.0
DISK_MB = 96
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
}
OPTIONS: dict[str, Any] = {
    **LIGHT,
    "chunk_s": 1.0,
    "margin_s": 0.5,
    "max_attempts": 100,  # faults come thicker than anywhere else, and none of them is the videos'
    "retry_base_s": 0.2,
    "lease_s": 3.0,
    "s3_region": "us-east-1",
}


class SlowS3(FaultyS3):
    """Fails requests that it is told to, and answers some late."""

    delay_s = 0.0

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        time.sleep(self.delay_s)
        super()._handle(request)


def read_rows_in_force(index: Path) -> tuple[Rows, set[str]]:
    """Every row in force, in order of its id, without the name and fence of its write; and the options."""
    snapshot = IndexStore.open(str(index)).snapshot()
    rows: Rows = {}
    for name, key in (("videos", "video_id"), ("tubelets", "object_id"), ("moments", "moment_id")):
        found = snapshot.keep_visible(getattr(snapshot.tables, name).to_arrow())
        found = found.drop_columns(
            [column for column in ("generation", "fence") if column in found.column_names]
        )
        rows[name] = sorted(found.to_pylist(), key=lambda row: str(row[key]))
    return rows, {read_digest(name) for name in snapshot.generations.values()}


def _is_worker(process: psutil.Process, kind: Kind) -> bool:
    """Whether units run in a process: decoders, and what else workers start, are left out."""
    try:
        command = " ".join(process.cmdline())
        if kind == "celery":
            return "celery" in command
        if kind == "ray":
            return "UnitActor" in command
        return "spawn_main" in command and "tubelet" in (psutil.Process(process.ppid()).cmdline() or [""])
    except psutil.Error:
        return False


class Archive:
    """A few clips on an S3 server of their own, and the rows that an undisturbed run makes of them."""

    address = f"s3://{BUCKET}/2026/**"
    num_videos = len(CLIPS_S)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.rows: Rows = {}
        self.s3_url = ""

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        self._stack.enter_context(patch.dict(os.environ, CREDENTIALS))
        self.s3_url = self._stack.enter_context(start_s3_server())
        client = boto3.client("s3", endpoint_url=self.s3_url, region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        for number, length_s in enumerate(CLIPS_S):
            path = self._folder / f"clip-{number}.mp4"
            render_scene(path, duration_s=length_s)
            client.upload_file(str(path), BUCKET, f"2026/{path.name}")
        home = self._folder / "undisturbed"
        settings = load_settings(
            {"home": home, "workers": 1, "s3_endpoint_url": self.s3_url, **OPTIONS}, environment={}
        )
        report = index_sources([self.address], settings=settings)
        assert [video.state for video in report.videos] == ["indexed"] * self.num_videos
        self.rows, _ = read_rows_in_force(home / "index")
        assert all(self.rows.values())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class Deployment:
    """Planner, workers and servers around one home, which lies on a small disk where one can be mounted."""

    def __init__(self, kind: Kind, archive: Archive, folder: Path) -> None:
        self.kind = kind
        self.archive = archive
        self._folder = folder
        self._home = folder / "home"
        self._stack = ExitStack()
        self.has_small_disk = False
        self.planner: psutil.Popen | None = None
        self.worker: psutil.Popen | None = None
        self.redis: RedisServer | None = None

    def __enter__(self) -> Self:
        self._home.mkdir(parents=True)
        self._mount()
        self.s3 = SlowS3(self.archive.s3_url)
        self._stack.callback(self.s3.close)
        place: dict[str, Any] = {"home": self._home, "workers": 2, "executor": self.kind}
        place["s3_endpoint_url"] = self.s3.url
        if self.kind == "celery":
            self.redis = RedisServer(self._folder / "redis", appendfsync="always")
            self._stack.enter_context(self.redis)
            place["ledger"] = self.redis.url
        self.settings: Settings = load_settings({**place, **OPTIONS}, environment={})
        if self.kind == "ray":
            self._stack.enter_context(patch.dict(os.environ, self._keep_ray_apart()))
        values = {**place, **OPTIONS}
        self._environment = {
            **os.environ,
            **{f"TUBELET_{name.upper()}": str(value) for name, value in values.items()},
        }
        self.ledger = self._stack.enter_context(closing(open_ledger(self.settings.ledger_location)))
        self._stack.callback(self._stop)
        self.start_what_died()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start_what_died(self) -> None:
        """What whatever runs the processes does when they end."""
        if self.planner is None or self.planner.poll() is not None:
            self.planner = self._start("planner.log", "-m", "tubelet", "work", "--verbose")
        if self.kind == "celery" and (self.worker is None or self.worker.poll() is not None):
            self.worker = self._start(
                "worker.log",
                *(
                    "-m",
                    "celery",
                    "-A",
                    "tubelet.orchestration.celery_app",
                    "worker",
                    "-Q",
                    "plan,chunk,video",
                ),
                *("-c", "2", "--without-gossip", "--without-mingle", "--without-heartbeat"),
            )

    def list_workers(self) -> list[psutil.Process]:
        """Processes in which units run, or will."""
        parent = self.worker if self.kind == "celery" else self.planner
        assert parent is not None
        children = list_family(parent)[1:]
        return [child for child in children if _is_worker(child, self.kind)]

    @property
    def home(self) -> Path:
        """Where everything lies that this machine keeps."""
        return self._home

    def ask(self, what: Callable[[], T]) -> T:
        """Ask the ledger, again while it is away."""
        give_up = time.monotonic() + ASK_S
        while True:
            try:
                return what()
            except StoreError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)

    def mend(self) -> None:
        """Leave nothing broken for the next batch."""
        self.s3.delay_s = 0.0
        self.s3.heal()
        (self._home / "filler").unlink(missing_ok=True)
        self.start_what_died()

    def read_rows(self) -> tuple[Rows, set[str]]:
        """Rows of the videos in force, and the options that they were made with."""
        return read_rows_in_force(self._home / "index")

    def _start(self, log: str, *arguments: str) -> psutil.Popen:
        with (self._folder / log).open("ab") as output:
            return psutil.Popen(
                [sys.executable, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                cwd=ROOT,
            )

    def _keep_ray_apart(self) -> dict[str, str]:
        """Where the clusters of planners keep their files: paths of sockets must be short."""
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp"))
        return {"RAY_TMPDIR": folder, "RAY_enable_worker_prestart": "0"}

    def _mount(self) -> None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(self._home)]
        if shutil.which("mount") and subprocess.run(command, capture_output=True).returncode == 0:
            self.has_small_disk = True
            unmount = ["umount", "--lazy", str(self._home)]
            self._stack.callback(subprocess.run, unmount, check=True, timeout=ASK_S)

    def _stop(self) -> None:
        """End all processes that were started here, and theirs."""
        started = [process for process in (self.planner, self.worker) if process is not None]
        family = [member for process in started for member in list_family(process)]
        for member in family:
            if member.is_running():
                member.send_signal(signal.SIGKILL)
        for process in started:
            process.wait(ASK_S)
        psutil.wait_procs(family, timeout=ASK_S)
