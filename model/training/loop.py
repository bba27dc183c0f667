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

import logging
import math
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tubelet.errors import DependencyError, ModelError, SettingsError
from tubelet.model.training.curves import draw_curves
from tubelet.model.training.log import TrainingLog
from tubelet.model.training.prefetch import make_ahead
from tubelet.model.training.saves import (
    Average,
    Progress,
    find_last_save,
    finish_swap,
    make_empty,
    swap_in,
)
from tubelet.model.training.schedule import LoopSettings, make_optimizers, rate_factor

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

Batch = TypeVar("Batch")
Made = TypeVar("Made", covariant=True)

_MAX_SKIPPED = 10


class MakeBatch(Protocol[Made]):
    """Makes the batch of a number, 0, 1, 2…: always the same one for the same number.

    With `prefetch_workers` it runs in other processes: then it must be picklable (a frozen dataclass with
    `__call__`, or a `functools.partial` of a function) and should return NumPy arrays. With several processes
    and accumulation the loop deals the numbers out, so that no batch is seen twice.
    """

    def __call__(self, number: int) -> Made: ...


SaveWeights = Callable[[Path, Mapping[str, Tensor]], None]
Evaluate = Callable[[nn.Module], Mapping[str, float]]
Reason = Literal["done", "time limit", "signal"]


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a run ended. `best` is None where nothing was evaluated, or no value tells the best."""

    step: int
    reason: Reason
    best: float | None
    best_step: int | None
    seconds: float


def train(
    model: nn.Module,
    make_batch: MakeBatch[Batch],
    settings: LoopSettings,
    out: Path,
    *,
    save_weights: SaveWeights,
    evaluate: Evaluate | None = None,
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
    run = _Run(model, settings, out, save_weights, evaluate, resume=resume)
    numbers = _deal_numbers(run.progress.step, settings, run.accelerator)
    with (
        _hear_sigterm() as has_signal,
        make_ahead(
            make_batch, numbers, workers=settings.prefetch_workers, depth=settings.prefetch_depth
        ) as batches,
    ):
        reason = run.go(batches, has_signal)
    run.close()
    progress = run.progress
    return TrainReport(progress.step, reason, progress.best, progress.best_step, progress.seconds)


class _Run:
    """One run, from its first or its saved step on."""

    def __init__(
        self,
        model: nn.Module,
        settings: LoopSettings,
        out: Path,
        save_weights: SaveWeights,
        evaluate: Evaluate | None,
        *,
        resume: bool,
    ) -> None:
        saves = out / "saves"
        if not resume and (saves.exists() or (out / "log.jsonl").exists()):
            raise SettingsError(
                f"{out} holds a training run already",
                expected="a new folder",
                do="resume that run, or choose another folder",
            )
        _seed(settings.seed, -1)
        self._settings, self._out = settings, out
        self._save_weights, self._evaluate_model = save_weights, evaluate
        self.progress = Progress()
        self.accelerator = _make_accelerator()
        optimizers = make_optimizers(model, settings)
        self._model, *self._optimizers = self.accelerator.prepare(model, *optimizers)
        self._trained = [p for p in self._model.parameters() if p.requires_grad]
        self._average: Average | None = None
        if settings.average_decay:
            if str(self.accelerator.distributed_type).endswith("FSDP"):
                raise SettingsError(
                    "average_decay is set in a run whose weights are sharded",
                    expected="no average with FSDP",
                    do="set average_decay to 0, or run without FSDP",
                )
            self._average = Average(self._trained, settings.average_decay)
            self.accelerator.register_for_checkpointing(self._average)
        self.accelerator.register_for_checkpointing(self.progress)
        last = find_last_save(out) if resume else None
        if last is not None:
            self.accelerator.load_state(str(last))
        if self.accelerator.is_main_process:
            out.mkdir(parents=True, exist_ok=True)
            finish_swap(out / "best")
        self.accelerator.wait_for_everyone()
        self._log = (
            TrainingLog(out / "log.jsonl", from_step=self.progress.step)
            if self.accelerator.is_main_process
            else None
        )
        self._sums: dict[str, float] = {}
        self._num_summed = 0

    def go(self, batches: Iterator[Any], has_signal: threading.Event) -> Reason:
        """Step until something says stop; then save."""
        settings, progress = self._settings, self.progress
        seconds_before, started = progress.seconds, time.monotonic()
        reason: Reason = "done"
        while progress.step < settings.steps:
            self._step(batches)
            progress.step += 1
            progress.seconds = seconds_before + time.monotonic() - started
            if progress.step % settings.log_every == 0:
                self._write_losses()
            stop = self._agree(has_signal.is_set(), time.monotonic() - started)
            if stop is not None:
                reason = stop
            is_last = stop is not None or progress.step == settings.steps
            # A signal asks to stop at once: its evaluation is left to whoever resumes.
            if (is_last and reason != "signal") or progress.step % settings.evaluate_every == 0:
                self._evaluate()
            if is_last or progress.step % settings.save_every == 0:
                self._save()
            if is_last:
                break
        return reason

    def close(self) -> None:
        """Draw the curves and let go of the processes' shared state."""
        if self.accelerator.is_main_process:
            draw_curves(self._out / "log.jsonl", self._out / "curves.png")
        self.accelerator.wait_for_everyone()

    def _step(self, batches: Iterator[Any]) -> None:
        settings, progress = self._settings, self.progress
        self._model.train(True)
        _seed(settings.seed, progress.step * self.accelerator.num_processes + self.accelerator.process_index)
        factor = rate_factor(settings, progress.step)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * group["factor"] * factor
        for place in range(settings.accumulate):
            is_last = place == settings.accumulate - 1
            with nullcontext() if is_last else self.accelerator.no_sync(self._model):
                with self._autocast():
                    losses = self._model(next(batches))
                self.accelerator.backward(losses["loss"] / settings.accumulate)
            for name, value in losses.items():
                part = float(value.detach()) / settings.accumulate
                self._sums[name] = self._sums.get(name, 0.0) + part
        norm = float(self.accelerator.clip_grad_norm_(self._trained, settings.clip_norm))
        is_finite = math.isfinite(norm)
        if is_finite:
            for optimizer in self._optimizers:
                optimizer.step()
        for optimizer in self._optimizers:
            optimizer.zero_grad()
        progress.num_skipped = 0 if is_finite else progress.num_skipped + 1
        if progress.num_skipped >= _MAX_SKIPPED:
            raise ModelError(
                f"Gradients were not finite in {_MAX_SKIPPED} steps on end, up to step {progress.step}",
                expected="numbers",
                do="lower the learning rate, or train in float32",
            )
        self._sums["gradient norm"] = self._sums.get("gradient norm", 0.0) + (norm if is_finite else 0.0)
        self._num_summed += 1
        if self._average is not None:
            self._average.update(progress.step)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.accelerator.device.type,
            dtype=torch.bfloat16,
            enabled=self._settings.precision == "bfloat16",
        )

    def _write_losses(self) -> None:
        progress = self.progress
        if self._log is not None:
            self._log.write(
                {
                    "step": progress.step,
                    "losses": {name: value / self._num_summed for name, value in self._sums.items()},
                    "learning_rate": self._settings.learning_rate
                    * rate_factor(self._settings, progress.step - 1),
                    "batches": progress.step * self._settings.accumulate * self.accelerator.num_processes,
                    "seconds": round(progress.seconds, 1),
                }
            )
        self._sums, self._num_summed = {}, 0

    def _evaluate(self) -> None:
        if self._evaluate_model is None:
            return
        if self._average is not None:
            self._average.swap()
        self._model.train(False)
        _seed(self._settings.seed, -2)
        with torch.no_grad(), self._autocast():
            values = dict(self._evaluate_model(self.accelerator.unwrap_model(self._model)))
        self._keep_best(values)
        if self._average is not None:
            self._average.swap()
        if self._log is not None:
            row = {
                "step": self.progress.step,
                "evaluation": values,
                "seconds": round(self.progress.seconds, 1),
            }
            self._log.write(row)
            logger.info("step %d: %s", self.progress.step, values)
            draw_curves(self._out / "log.jsonl", self._out / "curves.png")

    def _keep_best(self, values: Mapping[str, float]) -> None:
        settings, progress = self._settings, self.progress
        value: float | None = None
        if settings.best_by:
            if settings.best_by not in values:
                raise SettingsError(
                    f"best_by is {settings.best_by!r}", expected=f"one of {', '.join(sorted(values))}"
                )
            value = self._share(values[settings.best_by])
            sign = 1 if settings.best_is == "highest" else -1
            if not math.isfinite(value) or (progress.best is not None and sign * (value - progress.best) < 0):
                return
        progress.best, progress.best_step = value, progress.step
        state = self.accelerator.get_state_dict(self._model)
        if self.accelerator.is_main_process:
            new = make_empty(self._out / "best.new")
            self._save_weights(new, {name: tensor.detach().cpu() for name, tensor in state.items()})
            swap_in(new, self._out / "best")
        self.accelerator.wait_for_everyone()

    def _save(self) -> None:
        saves = self._out / "saves"
        folder = saves / f"step-{self.progress.step:09d}"
        new = saves / f"{folder.name}.new"
        if self.accelerator.is_main_process:
            make_empty(new)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(new), safe_serialization=False)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            swap_in(new, folder)
            for other in saves.iterdir():
                if other != folder:
                    shutil.rmtree(other)
        self.accelerator.wait_for_everyone()

    def _agree(self, is_signalled: bool, seconds: float) -> Reason | None:
        """Whether to stop now: all processes must, or none."""
        limit_s = self._settings.time_limit_s
        code = 2.0 if is_signalled else 1.0 if limit_s and seconds >= limit_s else 0.0
        if self.accelerator.num_processes > 1:
            codes = self.accelerator.gather(torch.tensor([code], device=self.accelerator.device))
            code = float(codes.max())
        return {2.0: "signal", 1.0: "time limit"}.get(code)  # type: ignore[return-value]

    def _share(self, value: float) -> float:
        """The first process's value."""
        if self.accelerator.num_processes == 1:
            return value
        values = self.accelerator.gather(torch.tensor([value], device=self.accelerator.device))
        return float(values[0])


def _make_accelerator() -> Accelerator:
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        raise DependencyError(
            "The package accelerate is not installed",
            expected="the extra `train`",
            do="pip install 'tubelet[train]'",
        ) from error
    # A batch need not use every part: single pictures leave a tracker's memory alone.
    return Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])


def _deal_numbers(step: int, settings: LoopSettings, accelerator: Accelerator) -> Iterator[int]:
    """Numbers of this process's batches, from a step on."""
    first, last = (at * settings.accumulate for at in (step, settings.steps))
    for place in range(first, last):
        yield place * accelerator.num_processes + accelerator.process_index


def _seed(seed: int, step: int) -> None:
    """Seed every global generator for one step of one process."""
    mixed = int(np.random.SeedSequence((seed, step + 2)).generate_state(1)[0])
    torch.manual_seed(mixed)
    random.seed(mixed)
    np.random.seed(mixed)


@contextmanager
def _hear_sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets; outside the main thread signals cannot be heard, and it stays unset."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGTERM, before)
