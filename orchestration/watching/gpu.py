"""What this process has of a GPU: its share, for what work costs, and the memory it takes there."""

from __future__ import annotations

import sys
from typing import Any

from tubelet.orchestration.ledger.records import UnitKind

_share = 1.0


def set_gpu_share(share: float) -> None:
    """Say which part of a GPU is this process's, where others share it."""
    global _share
    _share = share


def count_gpu_seconds(kind: UnitKind, seconds: float) -> float:
    """Seconds of a whole GPU that a unit cost: none where this process has none, or only opened a video."""
    return seconds * _share if kind != "plan" and _find_cuda() is not None else 0.0


def measure_gpu_memory() -> dict[str, dict[str, int]]:
    """Bytes by device that this process has in use (`allocated`) and keeps (`reserved`)."""
    cuda = _find_cuda()
    if cuda is None:
        return {}
    return {
        f"cuda:{number}": {
            "allocated": cuda.memory_allocated(number),
            "reserved": cuda.memory_reserved(number),
        }
        for number in range(cuda.device_count())
        if cuda.memory_reserved(number)
    }


def _find_cuda() -> Any:
    """PyTorch's CUDA, if this process uses it already: asking must neither load nor start anything."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
