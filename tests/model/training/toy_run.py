"""A tiny training run as a program of its own, so that it can be killed: OUT, MODE, KILL_AT.

It learns to multiply by a fixed matrix. With KILL_AT it kills itself, by SIGKILL, as the batch of that number
is asked for.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tubelet.model.training.loop import TrainReport, train
from tubelet.model.training.schedule import LoopSettings, PartRate

WIDTH = 6
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ToyBatches:
    """Inputs and what they should become. `kill_at` ends the process as a power cut would."""

    seed: int = 3
    kill_at: int = -1

    def __call__(self, number: int) -> Pair:
        if number == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        generator = np.random.default_rng((self.seed, number))
        given = generator.normal(size=(16, WIDTH)).astype(np.float32)
        wanted = given @ np.linspace(-1, 1, WIDTH * WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH)
        return given, wanted


class Toy(nn.Module):
    """Two layers and dropout: the same step gives the same loss only if generators are seeded by step."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Linear(WIDTH, 32)
        self.second = nn.Linear(32, WIDTH)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))

    def forward(self, batch: Pair) -> dict[str, Tensor]:
        given, wanted = (torch.from_numpy(part) for part in batch)
        loss = (self.predict(given) - wanted).square().mean()
        return {"loss": loss, "root": loss.detach().sqrt()}

    def predict(self, given: Tensor) -> Tensor:
        answer: Tensor = self.second(self.dropout(self.first(given).tanh()))
        return answer


@torch.no_grad()
def evaluate(model: nn.Module) -> dict[str, float]:
    assert isinstance(model, Toy)
    given, wanted = (torch.from_numpy(part) for part in ToyBatches(seed=99)(0))
    return {"error": float((model.predict(given) - wanted).square().mean())}


def save_weights(folder: Path, state: Mapping[str, Tensor]) -> None:
    save_file(dict(state), folder / "model.safetensors")


def make_settings(**values: object) -> LoopSettings:
    return LoopSettings.model_validate(
        {
            "steps": 30,
            "learning_rate": 0.01,
            "warmup_steps": 5,
            "average_decay": 0.9,
            "accumulate": 2,
            "log_every": 2,
            "save_every": 7,
            "evaluate_every": 5,
            "best_by": "error",
            "best_is": "lowest",
            **values,
        }
    )


MODES: dict[str, dict[str, object]] = {
    "adamw": {},
    "no dropout": {},
    "no dropout, twice the batches": {"accumulate": 4},
    "muon": {"optimizer": "muon", "parts": [PartRate(pattern="second.*", factor=0.5)]},
}


def run(out: Path, *, mode: str = "adamw", kill_at: int = -1, resume: bool = True) -> TrainReport:
    return train(
        Toy(0.0 if "no dropout" in mode else 0.1),
        ToyBatches(kill_at=kill_at),
        make_settings(**MODES[mode]),
        out,
        save_weights=save_weights,
        evaluate=evaluate,
        resume=resume,
    )


if __name__ == "__main__":
    run(Path(sys.argv[1]), mode=sys.argv[2], kill_at=int(sys.argv[3]))
