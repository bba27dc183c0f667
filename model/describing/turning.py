"""Which way a path turns, or that its object stands, as something that has seen many paths tells it."""

from __future__ import annotations

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

_MIRRORED = [WAYS.index({"left": "right", "right": "left"}.get(way, way)) for way in WAYS]


@dataclass(frozen=True, slots=True, eq=False)
class TurnReader:
    """A perceptron from the numbers of `model.trajectory.shape` to WAYS, rectified between its layers.

    `weights` are (numbers in, numbers out) and `biases` (numbers out,) of each layer, the first one first.
    """

    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]

    def read(self, shape_F: NDArray[np.float32]) -> Naming:
        """The likeliest of WAYS, and how likely it is. A path in a mirror has the mirrored way, as likely."""
        shares = (self._share(shape_F) + self._share(mirror_shape(shape_F))[_MIRRORED]) / 2
        return choose_name(WAYS, np.asarray(shares, np.float32))

    def _share(self, shape_F: NDArray[np.float32]) -> NDArray[np.float32]:
        """How likely each of WAYS is, as the path is seen."""
        numbers = shape_F
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            numbers = (np.maximum(numbers, 0) if place else numbers) @ weight + bias
        odds = np.exp(numbers - numbers.max())
        shares: NDArray[np.float32] = odds / odds.sum()
        return shares
