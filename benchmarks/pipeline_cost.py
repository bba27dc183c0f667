"""What the pipeline itself costs: everything but decoding and models.

Planning, tracking with a tracker that does nothing, keeping pictures, joining, describing without a model
and committing run in this process; decoding runs in its own. So this process's CPU seconds are the cost.

    python benchmarks/pipeline_cost.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from machine import make_video, print_table

from tubelet.orchestration.stages import run_stage
from tubelet.orchestration.unit import Unit
from tubelet.settings import Settings
from tubelet.workers.chunk import plan_chunks
from tubelet.workers.probe import probe_video
from tubelet.workers.reopen import find_source
from tubelet.workers.s3 import S3Options


def measure(path: Path, tracker: str, home: Path) -> tuple[float, float, int]:
    """CPU seconds of this process, seconds of video, moments written."""
    settings = Settings(
        home=home,
        tracker=f"noop_models:{tracker}",
        captioner="noop_models:make_captioner",
        embedder="noop_models:make_embedder",
    )
    started = time.process_time()
    source = find_source(str(path), s3=S3Options())
    video = probe_video(path, source, timeout_s=60)
    chunks = plan_chunks(video, chunk_s=settings.chunk_s, margin_s=settings.margin_s)
    for chunk in chunks:
        run_stage(Unit("chunk", "job", source, video, (chunk,), settings))
    done = run_stage(Unit("video", "job", source, video, chunks, settings))
    return time.process_time() - started, video.duration_s, done.result.num_moments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=180, help="length of the 1080p30 file that is indexed")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="tubelet-bench-") as folder:
        path = make_video(Path(folder) / "video.mp4", seconds=seconds)
        rows = []
        measure(path, "make_empty_tracker", Path(folder) / "warm-up")
        for tracker, what in (
            ("make_empty_tracker", "no objects"),
            ("make_busy_tracker", "4 objects all the time"),
        ):
            cost_s, length_s, num_moments = measure(path, tracker, Path(folder) / tracker)
            rows.append(
                [
                    what,
                    f"{length_s:.0f} s",
                    str(num_moments),
                    f"{cost_s:.2f} s",
                    f"{100 * cost_s / length_s:.2f} %",
                ]
            )
    print_table(
        "Pipeline's own cost, 1080p30 H.264 (goal: under 5 % of real time)",
        ["scene", "video", "moments", "own CPU time", "of real time"],
        rows,
    )


if __name__ == "__main__":
    main()
