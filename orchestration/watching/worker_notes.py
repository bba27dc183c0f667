"""Notes that worker processes keep of themselves while somebody looks: `HOME/metrics/HOST-PID.json`.

Whoever gathers metrics makes the folder, and workers write only where there is one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tubelet.orchestration.watching.gpu import measure_gpu_memory
from tubelet.settings import Settings

FOLDER = "metrics"


@dataclass(frozen=True, slots=True)
class WorkerNote:
    """One process: its memory, and that which it has on GPUs (`allocated`, `reserved`), in bytes."""

    pid: int
    began_s: float
    memory_bytes: int
    gpu_bytes: dict[str, dict[str, int]]


def keep_note(settings: Settings) -> None:
    """Write down how this process is, if anybody wants to know.

    A full disk, or a GPU that fails, costs only the note: that a unit's lease is renewed matters more.
    """
    folder = settings.home / FOLDER
    if not folder.is_dir():
        return
    with contextlib.suppress(OSError, RuntimeError, psutil.Error):
        process = psutil.Process()
        note = {
            "pid": process.pid,
            "began_s": process.create_time(),
            "memory_bytes": process.memory_info().rss,
            "gpu_bytes": measure_gpu_memory(),
        }
        path = folder / f"{socket.gethostname()}-{process.pid}.json"
        writing = path.with_suffix(".writing")
        writing.write_text(json.dumps(note), encoding="utf-8")
        os.replace(writing, path)


def ask_for_notes(home: Path) -> None:
    """Have the workers of a home keep notes from now on."""
    (home / FOLDER).mkdir(parents=True, exist_ok=True)


def read_notes(home: Path) -> Iterator[WorkerNote]:
    """Notes of this machine's workers that live; those of dead ones are removed."""
    for path in sorted((home / FOLDER).glob(f"{socket.gethostname()}-*.json")):
        try:
            note = WorkerNote(**json.loads(path.read_text(encoding="utf-8")))
            is_alive = psutil.Process(note.pid).create_time() == note.began_s
        except (OSError, ValueError, TypeError, psutil.Error):
            is_alive = False
        if is_alive:
            yield note
        else:
            path.unlink(missing_ok=True)
