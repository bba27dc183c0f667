"""Which way a path turns, or that its object stands, as something that has seen many paths tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tubelet.model.describing.base import Naming, choose_name
from tubelet.model.trajectory.shape import mirror_shape
from tubelet.records import Turn

Way = Turn | Literal["still"]

TURNS: tuple[Turn, ...] = get_args(Turn)
WAYS: tuple[Way, ...] = (*TURNS, "still")
"""Of what moves, its turn, "none" for straight on; of what stands all the time, that it does."""

MIRRORED_WAYS = [WAYS.index({"left": "right", "right": "left"}.get(way, way)) for way in WAYS]


@dataclass(frozen=True, slots=True, eq=False)
class TurnReader:
    """A perceptron from the numbers of `model.trajectory.shape` to WAYS, rectified between its layers.

    `weights` are (numbers in, numbers out) and `biases` (numbers out,) of each layer, the first one first.
    """

    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]

    def read(self, shape_F: NDArray[np.float32]) -> Naming:
        """The likeliest of WAYS, and how likely it is."""
        return choose_name(WAYS, self.share(shape_F))

    def share(self, shape_F: NDArray[np.float32]) -> NDArray[np.float32]:
        """How likely each of WAYS is. A path in a mirror has the mirrored way, as likely."""
        seen, mirrored = (
            share_out(apply_layers(numbers, self.weights, self.biases))
            for numbers in (shape_F, mirror_shape(shape_F))
        )
        return np.asarray((seen + mirrored[MIRRORED_WAYS]) / 2, np.float32)


def apply_layers(
    numbers: NDArray[np.float32],
    weights: Sequence[NDArray[np.float32]],
    biases: Sequence[NDArray[np.float32]],
) -> NDArray[np.float32]:
    """What a perceptron makes of numbers, rectified between its layers."""
    for place, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        numbers = (np.maximum(numbers, 0) if place else numbers) @ weight + bias
    return numbers


def share_out(logits_K: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits as shares, which sum to 1."""
    odds_K = np.exp(logits_K - logits_K.max())
    shares_K: NDArray[np.float32] = odds_K / odds_K.sum()
    return shares_K
