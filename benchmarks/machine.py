"""What every benchmark table says of where and when it was made, and the files that they read."""

from __future__ import annotations

import datetime
import platform
import subprocess
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table


def describe_machine() -> str:
    """One line: date, processor, cores, memory, Python."""
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    memory_gb = psutil.virtual_memory().total / 2**30
    num_cores = len(psutil.Process().cpu_affinity() or [])
    return (
        f"{datetime.date.today().isoformat()}, {processor}, {num_cores} cores, {memory_gb:.0f} GB,"
        f" Python {platform.python_version()}"
    )


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table with the machine under it."""
    table = Table(title=title, title_justify="left", caption=describe_machine(), caption_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table, highlight=False)


def make_video(path: Path, *, seconds: int, width: int = 1920, height: int = 1080, rate: int = 30) -> Path:
    """Write H.264 as of a fixed camera: noise, and two boxes that cross a detailed background.

    Twelve seconds are encoded, then repeated without encoding again.
    """
    loop = path.with_suffix(".loop.mp4")
    size = f"{width}x{height}"
    _run_ffmpeg(
        "-f", "lavfi", "-i", f"mandelbrot=size={size}:rate={rate}:end_scale=0.3",
        "-f", "lavfi", "-i", f"color=red:size={width // 10}x{height // 12}:rate={rate}",
        "-f", "lavfi", "-i", f"color=blue:size={width // 12}x{height // 10}:rate={rate}",
        "-filter_complex",
        f"[0]trim=end_frame=1,loop=-1:1,setpts=N/{rate}/TB,format=gray,eq=contrast=0.5[still];"
        f"[still][1]overlay=x='mod(t*W/8,W+w)-w':y=H/3[one];[one][2]overlay=x='W-mod(t*W/6,W+w)':y=H/2,"
        "noise=alls=6:allf=t",
        "-t", str(min(seconds, 12)), "-c:v", "libx264", "-preset", "veryfast", "-g", str(2 * rate),
        "-pix_fmt", "yuv420p", str(loop),
    )  # fmt: skip
    _run_ffmpeg("-stream_loop", "-1", "-i", str(loop), "-t", str(seconds), "-c", "copy", str(path))
    loop.unlink()
    return path


def _run_ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)
