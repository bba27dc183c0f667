"""A matcher that knows things by their colour before `ColourNetwork`."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.model.tracking.sam2.red_judge import NUM_CHANNELS
from tubelet.model.tracking.sam2.judge import NUM_SHAPES
from tubelet.model.tracking.sam2.matching import ObjectMatcher

_NUM_MEASURES = 3 * NUM_CHANNELS + NUM_SHAPES


def make_colour_matcher() -> ObjectMatcher:
    """0.98 for a mask of the same colour, less than 0.1 for the other colours of plain films."""
    return ObjectMatcher(make_colour_weights())


def make_colour_weights() -> dict[str, Tensor]:
    """The weights of that matcher."""
    weights = {
        "mean": torch.zeros(_NUM_MEASURES),
        "scale": torch.ones(_NUM_MEASURES),
        "first.weight": torch.zeros(1, _NUM_MEASURES + 2 * NUM_CHANNELS + NUM_SHAPES),
        "first.bias": torch.zeros(1),
        "second.weight": torch.eye(1),
        "second.bias": torch.zeros(1),
        "last.weight": torch.tensor([[-20.0]]),
        "last.bias": torch.tensor([4.0]),
    }
    colours = slice(_NUM_MEASURES + NUM_CHANNELS - 3, _NUM_MEASURES + NUM_CHANNELS)
    weights["first.weight"][0, colours] = 1.0
    return weights
