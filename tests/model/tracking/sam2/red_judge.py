"""A judge that wants red things before `ColourNetwork`, and rather whole than half ones."""

from __future__ import annotations

import torch

from tubelet.model.tracking.sam2.judge import NUM_SHAPES, MaskJudge

NUM_CHANNELS = 3 + 3 + 4 + 3
"""Of the network's features, and the colours, which come last."""
_RED_INSIDE = NUM_CHANNELS - 3
_SIZE = 3 * NUM_CHANNELS
_NUM_MEASURES = 3 * NUM_CHANNELS + NUM_SHAPES


def make_red_judge() -> MaskJudge:
    """0.6 for a red mask of 4 % of the picture, 0.45 for half of it, nearly 0 for other colours."""
    weights = {
        "mean": torch.zeros(_NUM_MEASURES),
        "scale": torch.ones(_NUM_MEASURES),
        "first.weight": torch.zeros(2, _NUM_MEASURES),
        "first.bias": torch.tensor([0.0, 8.0]),
        "second.weight": torch.eye(2),
        "second.bias": torch.zeros(2),
        "last.weight": torch.ones(1, 2),
        "last.bias": torch.tensor([-19.3]),
    }
    weights["first.weight"][0, _RED_INSIDE] = 20.0
    weights["first.weight"][1, _SIZE] = 1.0
    return MaskJudge(weights)
