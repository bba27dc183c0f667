"""What an object is, told by a small network from each of its views.

Shapes: N views, K categories.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tubelet.model.describing.base import ObjectView
from tubelet.model.describing.beside import reading
from tubelet.model.describing.sights import Array, SightNetwork, cut_sight, look

KINDS_FILE = "kinds.safetensors"
"""Beside a checkpoint's config.json; without it categories are told by `domain.npz` alone."""

_LAYERS = ((4, 32, 2), (32, 64, 2), (64, 96, 1), (96, 128, 2), (128, 128, 1), (128, 192, 2))
_HIDDEN = 160
_NAMES = "names"


def make_kind_network(num_kinds: int, *, normed: bool = False) -> SightNetwork:
    """One that tells so many categories apart, with random weights."""
    return SightNetwork(_LAYERS, _HIDDEN, num_kinds, normed=normed)


@dataclass(frozen=True, slots=True, eq=False)
class KindReader:
    """The network, and the K `names` that it tells apart, in the words of rows and queries."""

    names: tuple[str, ...]
    network: SightNetwork

    def weigh(self, views: Sequence[ObjectView], names: Sequence[str]) -> Array | None:
        """The logarithm of how likely each of some of the names is, the mean over the views: (len(names),).

        None where no view has a place in a frame.
        """
        sights = [cut_sight(view) for view in views if view.frame_size is not None]
        if not sights:
            return None
        pictures_NSS4 = np.stack([sight.picture for sight in sights])
        places_N6 = np.stack([sight.place_6 for sight in sights])
        logits_NK = look(self.network, pictures_NSS4, places_N6, range(len(self.names)))
        told_K: Array = logits_NK.log_softmax(dim=1).mean(dim=0).numpy()
        return told_K[[self.names.index(name) for name in names]]

    def write(self, folder: Path) -> None:
        """Write the reader beside a checkpoint, in float16."""
        parts = {name: tensor.half().contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(parts, folder / KINDS_FILE, {_NAMES: json.dumps(self.names)})


def read_kinds(folder: Path) -> KindReader | None:
    """The reader of a checkpoint, None where it has none. Raises ModelError for any other file."""
    file = folder / KINDS_FILE
    if not file.is_file():
        return None
    with reading(file, "what objects are"):
        with safe_open(file, "pt") as stored:
            names = tuple(str(name) for name in json.loads(stored.metadata()[_NAMES]))
        network = make_kind_network(len(names)).eval().requires_grad_(False)
        network.load_state_dict({name: tensor.float() for name, tensor in load_file(file).items()})
    return KindReader(names, network)
