"""Says of any mask how well it outlines an object that was seen before.

What a small network lacks most is a memory of what it follows. Here an object is remembered by what
`measure_masks` said of its mask when that was last trusted, and a perceptron compares what a mask of a later
frame holds with it: the means and spreads of the image features, and where, how large and of what shape the
masks are. It is taught the IoU with that object, 0 where it is out of sight, so that it tells three
things: the object from others, a good mask of it from a bad one, and its being there from its absence.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tubelet.model.tracking.sam2.judge import NUM_SHAPES
from tubelet.model.tracking.sam2.perceptron import Perceptron, read_weights

MATCHER_FILE = "matcher.npz"
"""Beside a checkpoint's config.json; a checkpoint without it follows masks without asking whose they are."""

_SPREAD_OF_PICTURE = 0.3
"""How much of the whole picture's spread is added to an object's own, where the picture is searched."""


class ObjectMatcher(Perceptron):
    """A perceptron on what is measured of a mask, and how that differs from what was known of the object."""

    def match(self, known_BX: Tensor, measured_BX: Tensor) -> Tensor:
        """The guessed IoU of each mask with the object, (B,), by what is known of it, (B, X) or (1, X)."""
        return self.run(compare(self.even_out(known_BX), self.even_out(measured_BX)))


def compare(known_BX: Tensor, measured_BX: Tensor) -> Tensor:
    """What a mask is, and how far it is from what was known, both evened out, (B, Y).

    Of features it counts how much they differ, of the shape also which mask is larger, or higher up.
    """
    known_BX = known_BX.expand_as(measured_BX)
    num_features = (measured_BX.shape[1] - NUM_SHAPES) // 3
    inside, spread = slice(num_features), slice(2 * num_features, 3 * num_features)
    shape = slice(3 * num_features, None)
    return torch.cat(
        [
            measured_BX,
            (measured_BX[:, inside] - known_BX[:, inside]).abs(),
            (measured_BX[:, spread] - known_BX[:, spread]).abs(),
            measured_BX[:, shape] - known_BX[:, shape],
        ],
        dim=1,
    )


def find_alike(maps_CN: Tensor, known_X: Tensor, side: int, count: int) -> Tensor:
    """Where a picture looks most like the inside of a known object: cells of its grid, (P, 2), x and y.

    Each is the likest of its surroundings; P is `count`, or less where there are not so many.
    """
    num_features = len(maps_CN)
    inside_C, spread_C = known_X[:num_features], known_X[2 * num_features : 3 * num_features]
    tolerance_C = spread_C + _SPREAD_OF_PICTURE * maps_CN.std(1)
    apart_hw = ((maps_CN - inside_C[:, None]).abs() / tolerance_C[:, None].clamp(min=1e-6)).mean(0)
    apart_hw = F.avg_pool2d(apart_hw.view(1, 1, side, side), 3, 1, 1, count_include_pad=False)
    least_hw = -F.max_pool2d(-apart_hw, 5, 1, 2)
    rows, columns = (apart_hw == least_hw)[0, 0].nonzero(as_tuple=True)
    order = apart_hw[0, 0, rows, columns].argsort(stable=True)[:count]
    return torch.stack([columns[order], rows[order]], dim=1)


def read_matcher(folder: Path) -> ObjectMatcher | None:
    """The matcher in a checkpoint's folder, or None. Raises ModelError for a damaged file."""
    weights = read_weights(folder / MATCHER_FILE)
    return None if weights is None else ObjectMatcher(weights)
