"""The steps by which small networks are learnt in one go; what goes on after a kill has `loop.py`."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

logger = logging.getLogger(__name__)

_LOG_EVERY = 250


def descend(
    measure_loss: Callable[[], Tensor],
    optimizer: Optimizer,
    schedule: LRScheduler,
    *,
    num_steps: int,
    name: str,
    max_norm: float | None = None,
) -> None:
    """Take `num_steps` steps down a loss that is measured anew for each; gradients are clipped to `max_norm`.

    `name` is what the log calls it, with the mean loss since it last did.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    recent: list[float] = []
    for step in range(1, num_steps + 1):
        loss = measure_loss()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if max_norm is not None:
            clip_grad_norm_(parameters, max_norm)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % _LOG_EVERY == 0:
            logger.info("%s, step %d of %d: loss %.4f", name, step, num_steps, np.mean(recent))
            recent.clear()
