"""What a training run is told: how many steps, how fast, which parts, how often to save."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from tubelet.errors import SettingsError
from tubelet.model.training.muon import Muon

Kind = TypeVar("Kind", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PartRate(_Strict):
    """The learning rate of the parameters whose names match `pattern` (as of shell file names).

    `factor` multiplies the run's rate; 0 freezes them. The first rule that matches a parameter counts.
    """

    pattern: str
    factor: float = Field(default=1.0, ge=0)


class LoopSettings(_Strict):
    """One training run. All but `steps` have defaults that suit a small model trained from scratch."""

    steps: int = Field(ge=1)
    """Optimizer steps from the first to the last, over all resumes."""
    seed: int = 0

    optimizer: Literal["adamw", "muon"] = "adamw"
    """Muon turns matrices by their orthogonalised momentum, at AdamW's rate, and leaves the rest to AdamW."""
    learning_rate: float = Field(default=5e-4, gt=0)
    parts: tuple[PartRate, ...] = ()
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = Field(default=100, ge=0)
    final_factor: float = Field(default=0.02, ge=0, le=1)
    """What the cosine ends at, as a share of the learning rate."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of matrices and kernels; biases, norms and single vectors have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = Field(default=1.0, gt=0)
    accumulate: int = Field(default=1, ge=1)
    """Batches for one optimizer step, on each process."""
    precision: Literal["float32", "bfloat16"] = "float32"
    average_decay: float = Field(default=0.0, ge=0, lt=1)
    """Exponential moving average of the weights, evaluated and kept in place of the last; 0 is none."""

    prefetch_workers: int = Field(default=0, ge=0)
    """Processes that make batches ahead; `make_batch` must then be picklable. 0 makes them in place."""
    prefetch_depth: int = Field(default=4, ge=1)
    """Batches made ahead."""

    log_every: int = Field(default=20, ge=1)
    evaluate_every: int = Field(default=500, ge=1)
    save_every: int = Field(default=500, ge=1)
    best_by: str = ""
    """The evaluated value that tells the best weights; empty keeps the weights of every evaluation."""
    best_is: Literal["highest", "lowest"] = "highest"
    time_limit_s: float = Field(default=0.0, ge=0)
    """Stop, saved, after so many seconds of this process; 0 is no limit."""


def parse_settings(kind: type[Kind], values: Mapping[str, object]) -> Kind:
    """Settings from plain values, as read from TOML. Raises SettingsError that names what is wrong."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"The training setting {place or kind.__name__!r} is wrong: {first['msg']}",
            expected=f"one of {', '.join(kind.model_fields)}" if first["type"] == "extra_forbidden" else "",
        ) from error


def rate_factor(settings: LoopSettings, step: int) -> float:
    """What the learning rate of a step, counted from 0, is multiplied by: a ramp, then half a cosine."""
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    if settings.schedule == "constant":
        return 1.0
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    wave = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return settings.final_factor + (1 - settings.final_factor) * wave


def group_parameters(model: nn.Module, settings: LoopSettings) -> list[dict[str, Any]]:
    """AdamW's parameter groups, one for each factor with and without decay; freezes what has factor 0.

    Each group holds `factor` beside what AdamW reads. Raises SettingsError when a pattern matches nothing or
    nothing is left to train.
    """
    matched = dict.fromkeys((rule.pattern for rule in settings.parts), False)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = 1.0
        for rule in settings.parts:
            if fnmatch.fnmatchcase(name, rule.pattern):
                matched[rule.pattern] = True
                factor = rule.factor
                break
        parameter.requires_grad_(factor > 0)
        if factor > 0:
            # Learned vectors are stored as (1, 1, C): what counts is whether more than one axis is long.
            is_matrix = sum(side > 1 for side in parameter.shape) > 1
            groups.setdefault((factor, is_matrix), []).append(parameter)
    unused = [pattern for pattern, is_matched in matched.items() if not is_matched]
    if unused:
        raise SettingsError(
            f"The pattern {unused[0]!r} comes first for no parameter",
            expected="patterns of parameter names, the narrow ones before the wide",
            do=f"names look like {next(iter(dict(model.named_parameters())), 'nothing')!r}",
        )
    if not groups:
        raise SettingsError("Every parameter is frozen", expected="something to train")
    return [
        {
            "params": parameters,
            "factor": factor,
            "lr": settings.learning_rate * factor,
            "weight_decay": settings.weight_decay if is_matrix else 0.0,
        }
        for (factor, is_matrix), parameters in groups.items()
    ]


def make_optimizers(model: nn.Module, settings: LoopSettings) -> list[torch.optim.Optimizer]:
    """AdamW over everything that is trained or, with Muon, over what is not a plain matrix."""
    groups = group_parameters(model, settings)
    if settings.optimizer == "adamw":
        return [torch.optim.AdamW(groups, betas=settings.betas, fused=True)]
    matrices: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for group in groups:
        for chosen, is_plain in ((matrices, True), (others, False)):
            params = [p for p in group["params"] if (p.ndim == 2 and min(p.shape) > 1) == is_plain]
            if params:
                chosen.append({**group, "params": params})
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        optimizers.append(Muon(matrices))
    if others:
        optimizers.append(torch.optim.AdamW(others, betas=settings.betas, fused=True))
    return optimizers
