"""What a training run keeps between steps, and the folders that it writes whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn


@dataclass(slots=True)
class Progress:
    """Where a run stands; saved with it."""

    step: int = 0
    best: float | None = None
    best_step: int | None = None
    seconds: float = 0.0
    num_skipped: int = 0

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


class Average:
    """Exponential moving average of what is trained; young averages forget faster."""

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self._decay = decay
        self._averages = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, [p.detach() for p in self._parameters], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Put the average into the model and the model's weights here; a second call undoes it."""
        for parameter, average in zip(self._parameters, self._averages, strict=True):
            held = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(held)

    def state_dict(self) -> dict[str, Any]:
        return {"averages": self._averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for average, saved in zip(self._averages, state["averages"], strict=True):
            average.copy_(saved)


def find_last_save(out: Path) -> Path | None:
    """The last whole save of a run, or None."""
    saves = out / "saves"
    whole = sorted(place for place in saves.iterdir() if place.suffix == "") if saves.is_dir() else []
    return whole[-1] if whole else None


def make_empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def swap_in(new: Path, folder: Path) -> None:
    """Put a whole new folder in the place of an old one; `finish_swap` repairs a kill in between."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def finish_swap(folder: Path) -> None:
    old = folder.with_name(folder.name + ".old")
    if old.exists() and not folder.exists():
        old.rename(folder)
