"""What the tests themselves take away behind them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from tests.conftest import end_users

WAIT = "import sys; sys.stdin.read()"


def test_processes_that_use_a_folder_are_ended(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    with (
        subprocess.Popen([sys.executable, "-c", WAIT, f"{mine}/session"], stdin=subprocess.PIPE) as stays,
        subprocess.Popen([sys.executable, "-c", WAIT, f"{other}/session"], stdin=subprocess.PIPE) as others,
    ):
        end_users(mine, patience_s=0.5)
        assert not psutil.pid_exists(stays.pid)
        assert others.poll() is None
