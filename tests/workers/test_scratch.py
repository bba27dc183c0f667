"""Locks and temporary folders that end with their process, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tubelet.workers.file_locks import Flock, lock_file
from tubelet.workers.scratch import Scratch

HOLDER = """
import sys
from pathlib import Path
from tubelet.workers.scratch import Scratch
with Scratch(Path(sys.argv[1])).make_folder() as folder:
    (folder / "half").write_text("half done")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that works in a scratch folder, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "scratch")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


def test_a_folder_lives_as_long_as_its_use(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch")
    with scratch.make_folder() as first, scratch.make_folder() as second:
        assert first != second
        (first / "file").write_text("x")
        scratch.clear()
        assert (first / "file").exists()
        assert second.is_dir()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_a_killed_process_left_is_cleared(holder: tuple[subprocess.Popen[str], Path]) -> None:
    process, folder = holder
    scratch = Scratch(folder.parent)
    scratch.clear()
    assert (folder / "half").exists()
    process.kill()
    process.wait()
    assert (folder / "half").exists()
    scratch.clear()
    assert list(scratch.folder.iterdir()) == []


def test_what_another_machine_holds_is_cleared_when_it_is_old(tmp_path: Path) -> None:
    """Locks of other machines cannot always be seen."""
    lock, folder = tmp_path / "elsewhere.1.lock", tmp_path / "elsewhere.1"
    lock.touch()
    folder.mkdir()
    Scratch(tmp_path).clear()
    assert folder.exists()
    os.utime(lock, (0, 0))
    Scratch(tmp_path).clear()
    assert list(tmp_path.iterdir()) == []


def test_clearing_where_nothing_is(tmp_path: Path) -> None:
    Scratch(tmp_path / "none").clear()


def test_shared_locks_go_together_and_exclude_an_exclusive_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    with lock_file(path, shared=True), lock_file(path, shared=True):
        other = Flock(path)
        assert not other.take(wait=False)
        assert other.take(shared=True, wait=False)
        other.close()
    with lock_file(path):
        other = Flock(path)
        assert not other.take(shared=True, wait=False)
        other.close()


def test_a_lock_whose_file_was_removed_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    late = Flock(path)
    with lock_file(path) as lock:
        lock.remove()
    assert late.take(wait=False)
    assert path.exists()
    other = Flock(path)
    assert not other.take(wait=False)
    late.close()
    other.close()
