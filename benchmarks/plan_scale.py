"""A plan of many videos: how long listing and planning take, what memory they need, how quick `status` stays.

    python benchmarks/plan_scale.py [--videos 10000] [--ledgers sqlite redis]

Tiny files are listed and hashed as ever; the prober is made up, since opening real videos measures the
decoder. Listing runs in a thread beside planning, as under `tubelet work`, and another process asks for the
status all the while.
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import redis
from machine import print_table

from tubelet.orchestration.batches import submit_batch
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Lease, UnitResult
from tubelet.orchestration.listing import list_batch
from tubelet.orchestration.progress import measure_batch
from tubelet.orchestration.resources import make_s3_options, open_index
from tubelet.orchestration.unit import cut_units
from tubelet.records import Video
from tubelet.settings import Settings, load_settings

VIDEO_S = 60.0
STATUS_EVERY_S = 0.25
PAGE = 500
SERVER_OPTIONS = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]


def make_files(folder: Path, num_videos: int) -> None:
    """Files with the names of videos, each of another content."""
    folder.mkdir()
    for number in range(num_videos):
        (folder / f"{number:06d}.mp4").write_text(str(number))


def plan(ledger: Ledger, settings: Settings, listing: threading.Thread) -> int:
    """Run plan units until all are done; how many. The chunks that follow are taken, and left."""
    num_planned = 0
    while True:
        was_listed = not listing.is_alive()
        ready = ledger.take_ready(PAGE, redispatch_s=3600.0)
        for unit in ready:
            if unit.kind != "plan":
                continue
            lease = ledger.acquire(unit.unit_id, "bench", lease_s=60.0)
            assert lease is not None
            then = cut_units(unit.job_id, make_up_video(lease), settings)
            ledger.complete(lease, UnitResult(0.0, duration_s=VIDEO_S), then)
            num_planned += 1
        if not ready:
            if was_listed:
                return num_planned
            time.sleep(0.01)


def make_up_video(lease: Lease) -> Video:
    """What a prober would say."""
    job = lease.job
    num_frames = round(VIDEO_S * 30)
    return Video(
        *(job.video_id, job.uri, job.identity, VIDEO_S, 30.0, 30.0, num_frames),
        *(1920, 1080, 0, "h264", False),
    )


class StatusAsker:
    """A process that asks for the progress of a batch again and again, as `tubelet status --watch` does."""

    def __init__(self, location: str, batch_id: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_ask_status, args=(location, batch_id, theirs), daemon=True)
        self.answers_ms: list[float] = []

    def __enter__(self) -> StatusAsker:
        self._process.start()
        self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self.answers_ms = self._pipe.recv()
        self._process.join()


def _ask_status(location: str, batch_id: str, pipe: Connection) -> None:
    answers_ms: list[float] = []
    with closing(open_ledger(location)) as ledger:
        pipe.send(None)
        while not pipe.poll(STATUS_EVERY_S):
            started = time.perf_counter()
            batch = ledger.get_batch(batch_id)
            assert batch is not None
            measure_batch(batch, ledger)
            answers_ms.append(1000 * (time.perf_counter() - started))
    pipe.send(answers_ms)


@contextmanager
def open_server(kind: str, folder: Path) -> Iterator[str]:
    """The address of a ledger that holds nothing yet."""
    if kind == "sqlite":
        yield str(folder / "ledger.sqlite")
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), *SERVER_OPTIONS, "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        with redis.Redis(port=port) as client:
            while not _answers(client):
                time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.kill()
        server.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.RedisError:
        return False


def measure(kind: str, archive: Path, folder: Path, num_videos: int) -> list[str]:
    """One row of the table."""
    folder.mkdir()
    with open_server(kind, folder) as location, closing(open_ledger(location)) as ledger:
        settings = load_settings(
            {"home": folder, "ledger": location, "tracker": "motion", "recogniser": "none"}, environment={}
        )
        index = open_index(settings, create=True)
        batch = submit_batch([str(archive)], settings=settings, ledger=ledger)
        process = psutil.Process()
        before_mib = process.memory_info().rss / 2**20
        started, started_cpu_s = time.perf_counter(), time.process_time()
        listed_s = []

        def list_all() -> None:
            list_batch(batch, ledger=ledger, index=index, s3=make_s3_options(settings))
            listed_s.append(time.perf_counter() - started)

        listing = threading.Thread(target=list_all)
        with StatusAsker(location, batch.batch_id) as status:
            listing.start()
            num_planned = plan(ledger, settings, listing)
        planned_s = time.perf_counter() - started
        listing.join()
        cpu_s = time.process_time() - started_cpu_s
        grown_mib = process.memory_info().rss / 2**20 - before_mib
        counts = ledger.count_items(batch.batch_id)
        stages = ledger.measure_stages(batch.batch_id)
        assert num_planned == counts.found == stages["plan"].done == stages["video"].waiting == num_videos
    return [
        kind,
        f"{num_videos:,}",
        f"{listed_s[0]:.1f} s",
        f"{planned_s:.1f} s",
        f"{cpu_s:.1f} s",
        f"{np.median(status.answers_ms):.0f} ms",
        f"{max(status.answers_ms):.0f} ms",
        f"{grown_mib:.0f} MiB",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--ledgers", nargs="+", choices=("sqlite", "redis"), default=["sqlite", "redis"])
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="tubelet-bench-") as name:
        for num_videos in arguments.videos:
            archive = Path(name) / f"archive-{num_videos}"
            make_files(archive, num_videos)
            rows += [
                measure(kind, archive, Path(name) / f"{kind}-{num_videos}", num_videos)
                for kind in arguments.ledgers
            ]
    print_table(
        "Plan of many videos (goal for 10,000: under a minute, status under 100 ms)",
        ["ledger", "videos", "listed", "planned", "own CPU time", "status, median", "longest", "memory grew"],
        rows,
    )


if __name__ == "__main__":
    main()
