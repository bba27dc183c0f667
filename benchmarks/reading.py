"""How fast sampled frames are read, against the ffmpeg program doing the same work.

Makes a 1080p30 H.264 file, then alternates between `ffmpeg -threads 2 -vf fps,scale -f null` and `Frames`, so
that both see the same machine. Run: python benchmarks/reading.py [--seconds 60] [--rounds 5] [--keyint 250]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tubelet.records import Source, Video
from tubelet.workers.frames import DECODERS, Frames
from tubelet.workers.probe import probe_video

SAMPLE_FPS = 6
SIZE_PX = 512
NUM_THREADS = 2
GOAL = 0.8


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="length of the video that is made")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side runs")
    parser.add_argument("--keyint", type=int, default=250, help="most frames from a key frame to the next")
    parser.add_argument("--decoder", choices=DECODERS, default=DECODERS[0], help="who decodes for Frames")
    parser.add_argument("--video", type=Path, help="read this file instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tubelet-bench-") as folder:
        path = arguments.video or make_video(Path(folder) / "in.mp4", arguments.seconds, arguments.keyint)
        video = probe_video(path, Source(str(path), "blake2b:0", path.stat().st_size), timeout_s=60)
        sides: dict[str, Callable[[], int]] = {
            "ffmpeg": lambda: read_with_ffmpeg(path),
            "Frames": lambda: read_with_frames(path, video, arguments.decoder),
        }
        times_s: dict[str, list[float]] = {name: [] for name in sides}
        counts: dict[str, int] = {}
        for _ in range(arguments.rounds):
            for name, read in sides.items():
                start_s = time.perf_counter()
                counts[name] = read()
                times_s[name].append(time.perf_counter() - start_s)
    print_table(video, times_s, counts)


def make_video(path: Path, seconds: int, keyint: int) -> Path:
    """Moving shapes with sensor noise, 1920 x 1080, 30 frames a second, at x264's usual quality."""
    source = f"testsrc2=size=1920x1080:rate=30:duration={seconds},noise=alls=6:allf=t"
    codec = ("-c:v", "libx264", "-preset", "medium", "-crf", "23", "-g", str(keyint), "-pix_fmt", "yuv420p")
    run_ffmpeg("-f", "lavfi", "-i", source, *codec, str(path))
    return path


def read_with_ffmpeg(path: Path) -> int:
    filters = f"fps={SAMPLE_FPS},scale={SIZE_PX}:-2"
    run_ffmpeg("-threads", str(NUM_THREADS), "-i", str(path), "-vf", filters, "-f", "null", "-")
    return 0


def read_with_frames(path: Path, video: Video, decoder: str) -> int:
    with Frames(
        path,
        video,
        sample_fps=SAMPLE_FPS,
        frame_size_px=SIZE_PX,
        timeout_s=60,
        num_threads=NUM_THREADS,
        decoder=decoder,
    ) as frames:
        return sum(1 for _ in frames.read(0, video.duration_s))


def run_ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments], check=True)


def print_table(video: Video, times_s: dict[str, list[float]], counts: dict[str, int]) -> None:
    """Show both sides and the ratio of their speeds; the median of the rounds' own ratios is the result."""
    machine = f"{platform.machine()}, {platform.processor() or platform.system()}, {date.today().isoformat()}"
    table = Table(
        title=f"Reading {video.width}x{video.height} {video.codec}, {video.duration_s:.0f} s ({machine})"
    )
    for column in ("side", "frames", "median s", "fastest s", "times real time"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for name, values in times_s.items():
        median_s = statistics.median(values)
        speed = video.duration_s / median_s
        table.add_row(name, str(counts[name] or "-"), f"{median_s:.2f}", f"{min(values):.2f}", f"{speed:.1f}")
    ratios = [a / b for a, b in zip(times_s["ffmpeg"], times_s["Frames"], strict=True)]
    console = Console()
    console.print(table)
    console.print(
        f"Frames runs at {statistics.median(ratios):.2f} of ffmpeg's speed, median of {len(ratios)} rounds "
        f"({min(ratios):.2f} to {max(ratios):.2f}); goal {GOAL}"
    )


if __name__ == "__main__":
    main()
