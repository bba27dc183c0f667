"""The training loop that every trainer here shares.

A trainer hands over three things: a module whose `forward(batch)` returns losses by name, a function that
makes the batch of a number, and settings. The batch is a function of its number and the settings alone, and
random generators are seeded anew for each step; so a run that was killed goes on from its last save and ends
with the same weights.

A run's folder holds

    log.jsonl     a line for each logged step and each evaluation
    curves.png    the same, drawn
    saves/        what resuming needs: weights, optimizer, average, step
    best/         the best weights so far, as `save_weights` writes them
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from torch import Tensor, nn

from tubelet.model.training.schedule import LoopSettings

Batch = TypeVar("Batch")
Made = TypeVar("Made", covariant=True)


class MakeBatch(Protocol[Made]):
    """Makes the batch of a number, 0, 1, 2…: always the same one for the same number.

    With `prefetch_workers` it runs in other processes: then it must be picklable (a frozen dataclass with
    `__call__`, or a `functools.partial` of a function) and should return NumPy arrays. With several processes
    and accumulation the loop deals the numbers out, so that no batch is seen twice.
    """

    def __call__(self, number: int) -> Made: ...


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a run ended. `best` is None where nothing was evaluated."""

    step: int
    reason: Literal["done", "time limit", "signal"]
    best: float | None
    best_step: int | None
    seconds: float


def train(
    model: nn.Module,
    make_batch: MakeBatch[Batch],
    settings: LoopSettings,
    out: Path,
    *,
    save_weights: Callable[[Path, Mapping[str, Tensor]], None],
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    resume: bool = False,
) -> TrainReport:
    """Train `model` for `settings.steps` steps, or until the time limit or SIGTERM.

    `model(batch)` returns losses by name, scalars; the one named "loss" is minimised, the others (its parts,
    detached or not) are logged. The batch arrives as `make_batch` made it: the module moves it to its own
    device. Parameter names in `settings.parts` are this module's.

    `evaluate(model)` is called every `evaluate_every` steps and at the end with this module (unwrapped, in
    evaluation mode, without gradients, holding averaged weights where there is an average) and returns
    values by name; the best by `best_by` is written by `save_weights(folder, state)`, where `state` is the
    module's `state_dict()` on the processor and `folder` is new and empty.

    With `resume` the run goes on from the last save in `out`, or begins where there is none; without, `out`
    must not hold a run. Raises SettingsError for either, ModelError when losses stop being finite,
    DependencyError where `accelerate` is missing. Several processes: start the program by
    `accelerate launch`.
    """
    raise NotImplementedError
