"""What an executor costs a chunk, and how throughput grows from one local worker to two.

    python benchmarks/executors.py [cost] [growth]

Cost: chunks whose results are in the work store already, so that a unit is nothing but its way through the
ledger, the executor and back. Growth: a stage that keeps one core busy, without threads of its own; it needs
two cores that nothing else uses. Both are read from the times in the batch's log, from the first chunk to the
last, so that starting processes does not count.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from machine import make_video, print_table
from plan_scale import open_server

from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.pipeline import index_sources
from tubelet.settings import load_settings

OPTIONS: dict[str, Any] = {
    "captioner": "noop_models:make_captioner",
    "embedder": "noop_models:make_embedder",
    "recogniser": "none",
    "chunk_s": 1.0,
    "margin_s": 0.0,
    "sample_fps": 1.0,
    "keep_chunks": True,
}
STOP_S = 60.0
WORKER_OPTIONS = ("-Q", "plan,chunk,video", "-c", "1", "--without-gossip", "--without-mingle")


def index(home: Path, video: Path, **options: Any) -> float:
    """Index a video; seconds from chunk to chunk, over all of them."""
    settings = load_settings({**OPTIONS, "home": home, **options}, environment={})
    report = index_sources([str(video)], settings=settings)
    assert not report.failed, report.failed
    with closing(open_ledger(settings.ledger_location)) as ledger:
        (batch,) = ledger.list_batches()
        events = ledger.list_events(batch.batch_id, limit=10_000)
    times_s = sorted(event.time_s for event in events if event.unit_id.startswith("chunk:"))
    return (times_s[-1] - times_s[0]) / (len(times_s) - 1)


@contextmanager
def run_celery(home: Path, ledger: str, work: Path) -> Iterator[None]:
    """A Celery worker of one process."""
    place = {"HOME": home, "LEDGER": ledger, "WORK_URI": work, "INDEX_URI": home / "index"}
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tubelet.orchestration.celery_app", "worker", *WORKER_OPTIONS],
        env={**os.environ, **{f"TUBELET_{name}": str(value) for name, value in place.items()}},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(STOP_S)


def measure_cost(folder: Path, video: Path) -> None:
    """Print what a chunk costs that has nothing to do."""
    work = folder / "work"
    quick = {"tracker": "noop_models:make_empty_tracker", "work_uri": str(work), "workers": 1}
    index(folder / "first", video, **quick)
    rows = []
    for executor, ledger in (("local", "sqlite"), ("local", "redis"), ("celery", "redis"), ("ray", "redis")):
        home = folder / f"{executor}-{ledger}"
        home.mkdir()
        with ExitStack() as stack:
            location = stack.enter_context(open_server(ledger, home))
            if executor == "celery":
                stack.enter_context(run_celery(home, location, work))
            place = {"executor": executor, "ledger": location, "index_uri": str(home / "index")}
            cost_s = index(home, video, **quick, **place)
        rows.append([executor, ledger, f"{1000 * cost_s:.1f} ms"])
    print_table(
        "Orchestration of a chunk (goals: local 50 ms, Celery and Ray 100 ms)",
        ["executor", "ledger", "a chunk"],
        rows,
    )


def measure_growth(folder: Path, video: Path) -> None:
    """Print chunks a second of one local worker and of two."""
    os.environ["OMP_NUM_THREADS"] = "1"
    rates = {}
    for workers in (1, 2):
        home = folder / f"workers-{workers}"
        rates[workers] = 1 / index(home, video, tracker="noop_models:make_working_tracker", workers=workers)
        shutil.rmtree(home)
    rows = [
        [str(workers), f"{rate:.2f} chunks/s", f"{rate / rates[1]:.2f}"] for workers, rate in rates.items()
    ]
    print_table("Local workers, one core each (goal: 1.7 for two)", ["workers", "throughput", "of one"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("cost", "growth"), help="one of the two measurements")
    parser.add_argument("--seconds", type=int, default=120, help="length of the video, in chunks of a second")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # workers of Celery and Ray import the models there
    with tempfile.TemporaryDirectory(prefix="tubelet-bench-") as name:
        folder = Path(name)
        video = make_video(folder / "video.mp4", seconds=arguments.seconds, width=320, height=180)
        if arguments.only != "growth":
            measure_cost(folder, video)
        if arguments.only != "cost":
            measure_growth(folder, video)


if __name__ == "__main__":
    main()
