"""SIGKILL at any moment: the next run ends with the rows of an undisturbed one, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.orchestration.conftest import read_rows
from tests.orchestration.light_models import LIGHT

DEADLINE_S = 120
ROOT = Path(__file__).resolve().parents[2]


def _start(clip: Path, home: Path) -> psutil.Popen:
    light = {f"TUBELET_{name.upper()}": str(value) for name, value in LIGHT.items()}
    return psutil.Popen(
        [sys.executable, "-m", "tubelet", "index", "--home", str(home), "--chunk-s", "2.5", str(clip)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TUBELET_MARGIN_S": "0.5", **light},
        cwd=ROOT,
    )


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the moment to kill at never came"
        time.sleep(0.002)


def _kill_when(condition: Callable[[], bool], clip: Path, home: Path) -> None:
    """Start a run, SIGKILL it at the moment or let it end, and see that its processes are gone."""
    run = _start(clip, home)
    family: dict[int, psutil.Process] = {}

    def is_time() -> bool:
        try:
            family.update({child.pid: child for child in run.children(recursive=True)})
        except psutil.NoSuchProcess:
            return True
        return run.poll() is not None or condition()

    try:
        _wait_until(is_time)
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGKILL)
        run.wait()
    _, alive = psutil.wait_procs(list(family.values()), timeout=20)
    assert [child.cmdline() for child in alive] == []


@pytest.fixture(scope="module")
def undisturbed(short_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    home = tmp_path_factory.mktemp("undisturbed")
    assert _start(short_clip, home).wait(timeout=DEADLINE_S) == 0
    return read_rows(home)  # type: ignore[return-value]


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the ledger appears": lambda home: (home / "ledger.sqlite").exists(),
    "the first chunk is being written": lambda home: any(home.glob("work/.scratch/*/.writing-*")),
    "the first chunk is done": lambda home: any(home.glob("work/chunks/*/*/*.arrow")),
    "tubelets are committed": lambda home: any(home.glob("index/tubelets.lance/data/*")),
    "the video is committed": lambda home: any(home.glob("index/videos.lance/data/*")),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_run_resumes_to_the_same_rows(
    moment: str, short_clip: Path, tmp_path: Path, undisturbed: dict[str, list[object]]
) -> None:
    _kill_when(lambda: MOMENTS[moment](tmp_path), short_clip, tmp_path)
    assert _start(short_clip, tmp_path).wait(timeout=DEADLINE_S) == 0
    assert read_rows(tmp_path) == undisturbed
    assert list(tmp_path.glob("work/chunks/**/*")) == []


def test_a_run_killed_while_it_removed_results_leaves_no_folders(
    short_clip: Path, tmp_path: Path, undisturbed: dict[str, list[object]]
) -> None:
    """Such a run has deleted the files and not yet their folders; the next has nothing to do but tidy up."""
    assert _start(short_clip, tmp_path).wait(timeout=DEADLINE_S) == 0
    (tmp_path / "work/chunks/v1/d1").mkdir(parents=True)
    assert _start(short_clip, tmp_path).wait(timeout=DEADLINE_S) == 0
    assert list(tmp_path.glob("work/chunks/**/*")) == []
    assert read_rows(tmp_path) == undisturbed


def test_killed_over_and_over_it_still_gets_there(
    short_clip: Path, tmp_path: Path, undisturbed: dict[str, list[object]]
) -> None:
    """The runs get a chunk and three chunks far; the last one finishes."""
    for wanted in (1, 3):

        def has_come_so_far(wanted: int = wanted) -> bool:
            return len(list(tmp_path.glob("work/chunks/*/*/*.arrow"))) >= wanted

        _kill_when(has_come_so_far, short_clip, tmp_path)
    assert _start(short_clip, tmp_path).wait(timeout=DEADLINE_S) == 0
    assert read_rows(tmp_path) == undisturbed
