"""The README's example of a service runs, against `tubelet serve` as a person starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.orchestration.light_models import LIGHT_EMBEDDER

README = Path(__file__).resolve().parents[2] / "README.md"
ADDRESS = "http://127.0.0.1:8000"


def test_the_example_indexes_searches_and_cuts_clips(tmp_path: Path, clip: Path) -> None:
    (block,) = re.findall(r"^```python with a service\n(.*?)^```", README.read_text(), re.M | re.S)
    home = tmp_path / "home"
    home.mkdir()
    light = f'profile = "quick"\nrecogniser = "none"\nworkers = 1\nembedder = "{LIGHT_EMBEDDER}"\n'
    (home / "tubelet.toml").write_text(light)
    (tmp_path / "junction.mp4").write_bytes(clip.read_bytes())
    command = [sys.executable, "-m", "tubelet", "serve", "--port", "0", "--home", str(home)]
    environment = {**os.environ, "PYTHONPATH": str(README.parent)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        address = ""
        for line in process.stderr:
            if found := re.search(r"running on (http://[\d.:]+)", line):
                address = found[1]
                break
        assert address, "the service does not start"
        with urllib.request.urlopen(f"{address}/readyz", timeout=30) as answer:
            assert answer.status == 200
        assert ADDRESS in block
        done = subprocess.run(
            [sys.executable, "-c", block.replace(ADDRESS, address)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        assert "done 1 of 1" in done.stdout
        assert "turns left" in done.stdout
        assert list(tmp_path.glob("o*.mp4"))
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=90)
        assert process.returncode in (0, -signal.SIGTERM), errors
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.communicate()
