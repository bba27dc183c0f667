"""Perceptrons of three layers that answer with one number, 0..1, and files of weights beside a checkpoint."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tubelet.errors import ModelError

_Module = TypeVar("_Module", bound=nn.Module)

LAYERS = ("first", "second", "last")

_NAMES = {"mean", "scale", *(f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias"))}
_MAX_DEVIATION = 6.0


class Perceptron:
    """`weights` are `mean` and `scale` of what is measured, and `weight` and `bias` of each layer.

    Raises ModelError where one is missing.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        if weights.keys() != _NAMES:
            raise ModelError(
                f"A perceptron holds {', '.join(sorted(weights))}",
                expected=", ".join(sorted(_NAMES)),
                do="train it again: tubelet train track",
            )
        self._weights = {name: tensor.float() for name, tensor in weights.items()}

    def even_out(self, measured_BX: Tensor) -> Tensor:
        """Measures as the perceptron takes them."""
        return even_out(measured_BX, self._weights["mean"], self._weights["scale"])

    def run(self, hidden_BX: Tensor) -> Tensor:
        """The answers of the last layer, (B,), 0..1."""
        for layer in LAYERS[:-1]:
            hidden_BX = F.relu(self._apply(layer, hidden_BX))
        return self._apply(LAYERS[-1], hidden_BX)[:, 0].sigmoid()

    def _apply(self, layer: str, hidden_BX: Tensor) -> Tensor:
        return F.linear(hidden_BX, self._weights[f"{layer}.weight"], self._weights[f"{layer}.bias"])


def even_out(measured_BX: Tensor, mean_X: Tensor, scale_X: Tensor) -> Tensor:
    """Measures in deviations from the mean, cut where they are far out."""
    return ((measured_BX - mean_X) / scale_X).clamp(-_MAX_DEVIATION, _MAX_DEVIATION)


def read_weights(file: Path) -> dict[str, Tensor] | None:
    """The weights in a file, or None where there is none. Raises ModelError for a damaged one."""
    if not file.exists():
        return None
    try:
        with np.load(file) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{file} cannot be read: {error}",
            expected="weights as `tubelet train track` writes them",
            do="fetch the file again",
        ) from error


def read_module(file: Path, build: Callable[[Mapping[str, Tensor]], _Module], *, kind: str) -> _Module | None:
    """The module whose weights are in a file, in evaluation mode, or None where there is no file.

    `build` makes one of their shapes; `kind` is what errors call it. Raises ModelError for a damaged file.
    """
    weights = read_weights(file)
    if weights is None:
        return None
    try:
        module = build(weights)
        module.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise ModelError(
            f"{file} does not hold {kind}: {error}",
            expected=f"the weights of {kind}, as `tubelet train track` writes them",
            do="train it again: tubelet train track",
        ) from error
    return module.eval()


def write_weights(file: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights as float16, as `read_weights` reads them."""
    arrays: dict[str, Any] = {name: tensor.half().numpy() for name, tensor in weights.items()}
    np.savez(file, **arrays)
