"""Run every benchmark that this machine can run, one after another. Results are kept in docs/benchmarks.md.

make bench
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = (
    ("reading.py",),
    ("pipeline_cost.py",),
    ("plan_scale.py",),
    ("executors.py",),
    ("memory.py",),
    ("describe.py",),
    ("track.py", "objects"),
    ("track.py", "memory"),
)


def main() -> None:
    folder = Path(__file__).parent
    failed = [
        " ".join(command)
        for command in BENCHMARKS
        if subprocess.run([sys.executable, str(folder / command[0]), *command[1:]]).returncode
    ]
    if failed:
        raise SystemExit(f"Failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
