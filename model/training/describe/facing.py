"""Teaching which way objects face, and what way they take by that: rendered clips, seen as in indexing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from tubelet.errors import InputError
from tubelet.model.describing.facing import HEADINGS_RAD, face, make_facing_network
from tubelet.model.describing.facing_reader import FacingReader, mirror_way, tell_way, weigh_turns
from tubelet.model.describing.sights import SightNetwork
from tubelet.model.describing.turning import MIRRORED_WAYS, TurnReader
from tubelet.model.training.describe.sights import fit_sights, gather_views
from tubelet.model.training.describe.turning import Examples, fit_ways
from tubelet.model.training.describe.watching import WatchedObject
from tubelet.model.trajectory.shape import measure_drift

HEADLESS = frozenset({"ball", "box"})
"""What has no front."""

CONCENTRATION = 20.0
"""Of the von Mises distribution that is wanted around the true heading: a deviation of 13 degrees."""

WIDTH = 64
"""Of the hidden layer that tells a way."""


def fit_facing(objects: Iterable[WatchedObject], *, num_epochs: int, seed: int) -> SightNetwork:
    """A network that tells which way objects face; the same objects and seed give the same one.

    Raises InputError where none of them has a front.
    """
    chosen = [item for item in objects if item.category not in HEADLESS]
    if not chosen:
        raise InputError("No object of the clips has a front", expected="some", do="render more clips")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return fit_sights(
            make_facing_network(normed=True),
            gather_views(chosen, lambda item: item.facing_N),
            measure_loss,
            lambda facing_N: torch.pi - facing_N,
            num_epochs=num_epochs,
            name="facing",
        )


def measure_loss(logits_NH: Tensor, facing_N: Tensor) -> Tensor:
    """Cross entropy with headings spread around the true one."""
    headings_H = torch.from_numpy(HEADINGS_RAD).float()
    wanted_NH = (CONCENTRATION * torch.cos(facing_N[:, None] - headings_H)).softmax(dim=1)
    return -(wanted_NH * logits_NH.log_softmax(dim=1)).sum(dim=1).mean()


def fit_reader(
    network: SightNetwork, turns: TurnReader, objects: Iterable[WatchedObject], *, seed: int
) -> FacingReader:
    """The network with what tells a way by it, learnt from these objects' stretches."""
    return FacingReader(network, *fit_ways(gather_ways(network, turns, objects), (WIDTH,), seed=seed))


def gather_ways(network: SightNetwork, turns: TurnReader, objects: Iterable[WatchedObject]) -> Examples:
    """What tells the way of every stretch, as it is and mirrored. Raises InputError where there is none."""
    numbers, ways = [], []
    for item in objects:
        if not item.stretches:
            continue
        shares_NH = face(network, item.pictures_NSS4, item.places_N6)
        for stretch in item.stretches:
            views = list(stretch.views)
            turns_D = weigh_turns(shares_NH[views], item.times_N[views])
            path_W = turns.share(stretch.shape_F)
            told = tell_way(path_W, turns_D, measure_drift(stretch.shape_F), item.places_N6[views])
            numbers += [told, mirror_way(told)]
            ways += [stretch.way, MIRRORED_WAYS[stretch.way]]
    if not numbers:
        raise InputError("No object of the clips is seen for long enough", expected="some", do="render more")
    return np.array(numbers, np.float32), np.array(ways, np.int64)
