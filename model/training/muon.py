"""Muon in the precision that the device is fast at.

`torch.optim.Muon` orthogonalises in bfloat16 always. On processors without instructions for it that is
slow: a step of `tubelet train track --recipe small` at 256 px took 5 s, and 1.0 s with this one, which works
in float32 there (2-core AMD EPYC, 2026-11-29). The steps are the same but for rounding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.775, 2.0315)
_NUM_ITERATIONS = 5
_RMS = 0.2
"""What AdamW's steps have as their root mean square, more or less; this one's are made to match."""


class Muon(torch.optim.Optimizer):
    """Steps along the orthogonalised momentum of matrices, with Nesterov's look ahead.

    Jordan et al. (2024), with the weight decay and the step size 0.2 sqrt(max(rows, columns)) of Liu et al.,
    "Muon is scalable" (2025). Every parameter has to be a matrix.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        for group in self.param_groups:
            assert all(param.ndim == 2 for param in group["params"]), "Muon steps matrices only"

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every parameter that has a gradient."""
        assert closure is None, "nothing here evaluates a loss anew"
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for param in group["params"]:
                if param.grad is not None:
                    alike[param.shape].append(param)
            for params in alike.values():
                self._step_alike(params, **{key: group[key] for key in ("lr", "weight_decay", "momentum")})
        return None

    def _step_alike(self, params: list[Tensor], *, lr: float, weight_decay: float, momentum: float) -> None:
        """Step parameters of one shape, which are orthogonalised together."""
        looks = []
        for param in params:
            grad = param.grad
            assert grad is not None, "chosen by its gradient"
            kept = self.state[param].setdefault("momentum_buffer", torch.zeros_like(grad))
            kept.lerp_(grad, 1 - momentum)
            looks.append(grad.lerp(kept, momentum))
        step = lr * _RMS * max(params[0].shape) ** 0.5
        for param, turned in zip(params, orthogonalise(torch.stack(looks)), strict=True):
            param.mul_(1 - lr * weight_decay)
            param.add_(turned, alpha=-step)


def orthogonalise(matrices_BMN: Tensor) -> Tensor:
    """U V' of each matrix U S V', nearly: singular values end between 0.7 and 1.2.

    Five Newton-Schulz iterations with the coefficients of Jordan et al.; in bfloat16 on a GPU.
    """
    dtype = torch.bfloat16 if matrices_BMN.is_cuda else torch.float32
    is_tall = matrices_BMN.shape[1] > matrices_BMN.shape[2]
    wide = (matrices_BMN.mT if is_tall else matrices_BMN).to(dtype)
    wide = wide / wide.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    a, b, c = _COEFFICIENTS
    for _ in range(_NUM_ITERATIONS):
        gram = wide @ wide.mT
        wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return (wide.mT if is_tall else wide).to(matrices_BMN.dtype)
