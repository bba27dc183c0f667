"""Teach a perceptron what it is to answer, by cross entropy with shares as targets."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tubelet.model.tracking.sam2.perceptron import LAYERS
from tubelet.model.training.descent import descend


class Teaching(BaseModel):
    """How a perceptron of three layers is taught."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=4000, ge=1)
    batch: int = Field(default=768, ge=1)
    hidden: int = Field(default=160, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    dropout: float = Field(default=0.3, ge=0, lt=1)


def fit_perceptron(
    draw: Callable[[], tuple[Tensor, Tensor]], num_inputs: int, plan: Teaching, *, seed: int, name: str
) -> dict[str, Tensor]:
    """`weight` and `bias` of each layer. `draw` gives evened inputs (B, X) and their targets (B,), 0..1."""
    torch.manual_seed(seed)
    sizes = (num_inputs, plan.hidden), (plan.hidden, plan.hidden), (plan.hidden, 1)
    layers = {layer: nn.Linear(*size) for layer, size in zip(LAYERS, sizes, strict=True)}
    network = nn.Sequential(
        layers["first"],
        nn.ReLU(),
        nn.Dropout(plan.dropout),
        layers["second"],
        nn.ReLU(),
        nn.Dropout(plan.dropout),
        layers["last"],
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, plan.steps)

    def measure_loss() -> Tensor:
        inputs_BX, targets_B = draw()
        return F.binary_cross_entropy_with_logits(network(inputs_BX)[:, 0], targets_B)

    descend(measure_loss, optimizer, schedule, num_steps=plan.steps, name=name)
    return {
        f"{layer}.{part}": parameter.detach()
        for layer, linear in layers.items()
        for part, parameter in (("weight", linear.weight), ("bias", linear.bias))
    }
