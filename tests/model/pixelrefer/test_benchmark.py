"""The benchmark runs on any machine, and says what it could not run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[3]


def test_a_small_run_gives_the_same_answers_batched() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "describe.py"), "--objects", "3", "--frames", "1"],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert "3 of 3" in done.stdout
    assert torch.cuda.is_available() or "Not run: the true 2B shape" in done.stdout
