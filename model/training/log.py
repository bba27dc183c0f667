"""The log of a training run, one JSON object a line: what was lost, and what evaluations said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_log(file: Path) -> list[Row]:
    """The rows of a log; a last line cut short by a kill is left out."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


class TrainingLog:
    """Appends rows to a file; on resume, rows after the step resumed from are dropped first."""

    def __init__(self, file: Path, *, from_step: int) -> None:
        kept = [row for row in read_log(file) if row["step"] <= from_step] if from_step else []
        new = file.with_name(file.name + ".new")
        new.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        new.replace(file)
        self._file = file

    def write(self, row: Mapping[str, Any]) -> None:
        with self._file.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(row) + "\n")
