"""Peak memory of `tubelet index`, all its processes together, for a short and a long video.

python benchmarks/memory.py --minutes 3 30
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from machine import make_video, print_table

SAMPLE_S = 0.25


def measure_peak(path: Path, home: Path) -> tuple[int, float]:
    """Peak sum of proportional set sizes in bytes (shared pages counted once), and wall seconds."""
    command = [sys.executable, "-m", "tubelet", "index", "--home", str(home), str(path)]
    started = time.monotonic()
    run = psutil.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while run.poll() is None:
        peak = max(peak, sum(_read_pss(process) for process in [run, *_children(run)]))
        time.sleep(SAMPLE_S)
    if run.returncode != 0:
        raise SystemExit(f"tubelet index failed with exit code {run.returncode}")
    return peak, time.monotonic() - started


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _read_pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, nargs="+", default=[3, 30])
    parser.add_argument("--video", type=Path, help="repeat this file instead of a made one")
    options = parser.parse_args()
    rows: list[list[str]] = []
    first = 0
    with tempfile.TemporaryDirectory(prefix="tubelet-bench-") as folder:
        for minutes in options.minutes:
            path = Path(folder) / f"{minutes}.mp4"
            if options.video is None:
                make_video(path, seconds=60 * minutes)
            else:
                repeat_video(options.video, path, seconds=60 * minutes)
            peak, seconds = measure_peak(path, Path(folder) / f"home{minutes}")
            first = first or peak
            rows.append(
                [
                    f"{minutes} min",
                    f"{peak / 2**20:.0f} MiB",
                    f"{peak / first:.3f}",
                    f"{60 * minutes / seconds:.1f}x",
                ]
            )
            path.unlink()
    print_table(
        "Peak memory while indexing (goal: within 10 % whatever the length)",
        ["video", "peak, all processes", "of the first", "speed over real time"],
        rows,
    )


def repeat_video(source: Path, path: Path, *, seconds: int) -> None:
    """Repeat a file without encoding it again."""
    subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", str(source)),
            *("-t", str(seconds), "-an", "-c", "copy", str(path)),
        ],
        check=True,
    )


if __name__ == "__main__":
    main()
