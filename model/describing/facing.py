"""Which way an object faces in one view, told by a small network.

Shapes: N views, H headings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tubelet.model.describing.sights import Array, SightNetwork, look

NUM_HEADINGS = 24
"""Around the compass as the camera sees it: the first is to the right, the seventh away from the camera."""

HEADINGS_RAD = np.arange(NUM_HEADINGS) * 2 * np.pi / NUM_HEADINGS
MIRRORED_HEADINGS = [(NUM_HEADINGS // 2 - place) % NUM_HEADINGS for place in range(NUM_HEADINGS)]

_LAYERS = ((4, 32, 2), (32, 64, 2), (64, 64, 1), (64, 96, 2), (96, 96, 1), (96, 128, 2))
_HIDDEN = 128


def make_facing_network(*, normed: bool = False) -> SightNetwork:
    """One that tells headings, with random weights."""
    return SightNetwork(_LAYERS, _HIDDEN, NUM_HEADINGS, normed=normed)


def face(network: SightNetwork, pictures_NSS4: NDArray[np.uint8], places_N6: Array) -> Array:
    """How likely each heading is in each sight, as it is and as its mirror image tells: (N, H)."""
    logits_NH = look(network, pictures_NSS4, places_N6, MIRRORED_HEADINGS)
    shares_NH: Array = logits_NH.softmax(dim=1).numpy()
    return shares_NH
