"""Teaching what objects are by their sights: those of rendered clips, as in indexing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tubelet.model.categories import WORDS
from tubelet.model.describing.kinds import KindReader, make_kind_network
from tubelet.model.training.describe.sights import fit_sights, gather_views
from tubelet.model.training.describe.watching import WatchedObject

LABEL_SMOOTHING, ROUGH_SHARE = 0.02, 0.15


def fit_kinds(objects: Iterable[WatchedObject], *, num_epochs: int, seed: int) -> KindReader:
    """What tells the categories of these objects, of which there is one at least; the same objects and seed
    give the same."""
    chosen = list(objects)
    names = tuple(sorted({WORDS[item.category] for item in chosen}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = fit_sights(
            make_kind_network(len(names), normed=True),
            gather_views(
                chosen, lambda item: np.full(len(item.times_N), names.index(WORDS[item.category]), np.int64)
            ),
            _measure_loss,
            lambda kinds_N: kinds_N,
            num_epochs=num_epochs,
            name="kinds",
            rough_share=ROUGH_SHARE,
        )
    return KindReader(names, network)


def _measure_loss(logits_NK: Tensor, kinds_N: Tensor) -> Tensor:
    return F.cross_entropy(logits_NK, kinds_N, label_smoothing=LABEL_SMOOTHING)
