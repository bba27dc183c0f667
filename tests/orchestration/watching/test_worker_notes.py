"""Notes of workers about themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tubelet.orchestration.watching.worker_notes import ask_for_notes, keep_note, read_notes
from tubelet.settings import load_settings


def test_workers_keep_notes_when_asked_and_dead_ones_are_forgotten(tmp_path: Path) -> None:
    settings = load_settings({"home": tmp_path})
    keep_note(settings)
    assert list(tmp_path.iterdir()) == [], "nobody asked"
    ask_for_notes(tmp_path)
    keep_note(settings)
    (note,) = read_notes(tmp_path)
    assert note.pid == os.getpid()
    assert note.memory_bytes > 1e6
    path = next((tmp_path / "metrics").iterdir())
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "began_s": 1.0})
    )  # its number, another process
    assert list(read_notes(tmp_path)) == []
    assert list((tmp_path / "metrics").iterdir()) == []


def test_a_gpu_that_fails_costs_only_the_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> dict[str, dict[str, int]]:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr("tubelet.orchestration.watching.worker_notes.measure_gpu_memory", fail)
    ask_for_notes(tmp_path)
    keep_note(load_settings({"home": tmp_path}))
    assert list(read_notes(tmp_path)) == []
