"""Teaching which way objects face, and what way they take by that: rendered clips, seen as in indexing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tubelet.errors import InputError
from tubelet.model.describing.facing import HEADINGS_RAD, PLACE_MIRROR, FacingNetwork, face
from tubelet.model.describing.facing_reader import FacingReader, mirror_way, tell_way, weigh_turns
from tubelet.model.describing.turning import MIRRORED_WAYS, TurnReader
from tubelet.model.training.descent import descend
from tubelet.model.training.describe.turning import Examples, draw_batches, fit_ways
from tubelet.model.training.describe.watching import WatchedObject
from tubelet.model.trajectory.shape import measure_drift

HEADLESS = frozenset({"ball", "box"})
"""What has no front."""

CONCENTRATION = 20.0
"""Of the von Mises distribution that is wanted around the true heading: a deviation of 13 degrees."""

BATCH, RATE = 256, 4e-3
WIDTH = 64
"""Of the hidden layer that tells a way."""


@dataclass(frozen=True, slots=True, eq=False)
class Sights:
    """N views of objects that have a front. Shapes and units as in `WatchedObject`."""

    pictures_NSS4: Tensor
    places_N6: Tensor
    facing_N: Tensor

    def __len__(self) -> int:
        return len(self.facing_N)


def gather_sights(objects: Iterable[WatchedObject]) -> Sights:
    """All views of objects with a front. Raises InputError where there are none."""
    chosen = [item for item in objects if item.category not in HEADLESS]
    if not chosen:
        raise InputError("No object of the clips has a front", expected="some", do="render more clips")
    return Sights(
        torch.from_numpy(np.concatenate([item.pictures_NSS4 for item in chosen])),
        torch.from_numpy(np.concatenate([item.places_N6 for item in chosen])),
        torch.from_numpy(np.concatenate([item.facing_N for item in chosen])),
    )


def fit_facing(sights: Sights, *, num_epochs: int, seed: int) -> FacingNetwork:
    """A network that tells which way objects face; the same sights and seed give the same one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FacingNetwork(normed=True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
        num_steps = num_epochs * max(1, len(sights) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=num_steps)
        batches = draw_batches(len(sights), num_steps, BATCH)
        descend(
            lambda: measure_loss(network, *_vary(sights, next(batches))),
            optimizer,
            schedule,
            num_steps=num_steps,
            name="facing",
        )
    folded: FacingNetwork = network.fold()
    return folded


def measure_loss(
    network: FacingNetwork, pictures_N4SS: Tensor, places_N6: Tensor, facing_N: Tensor
) -> Tensor:
    """Cross entropy with headings spread around the true one."""
    headings_H = torch.from_numpy(HEADINGS_RAD).float()
    wanted_NH = (CONCENTRATION * torch.cos(facing_N[:, None] - headings_H)).softmax(dim=1)
    likely_NH: Tensor = network(pictures_N4SS, places_N6).log_softmax(dim=1)
    return -(wanted_NH * likely_NH).sum(dim=1).mean()


def fit_reader(
    network: FacingNetwork, turns: TurnReader, objects: Iterable[WatchedObject], *, seed: int
) -> FacingReader:
    """The network with what tells a way by it, learnt from these objects' stretches."""
    return FacingReader(network, *fit_ways(gather_ways(network, turns, objects), (WIDTH,), seed=seed))


def gather_ways(network: FacingNetwork, turns: TurnReader, objects: Iterable[WatchedObject]) -> Examples:
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


def _vary(sights: Sights, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The chosen sights, half of them mirrored, moved, in other light and colours, some partly hidden."""
    pictures = sights.pictures_NSS4[chosen].permute(0, 3, 1, 2).float() / 255
    places, facing = sights.places_N6[chosen], sights.facing_N[chosen]
    num = len(chosen)
    flipped = torch.rand(num) < 0.5
    pictures = torch.where(flipped[:, None, None, None], pictures.flip(3), pictures)
    places = torch.where(flipped[:, None], places * torch.from_numpy(PLACE_MIRROR), places)
    facing = torch.where(flipped, torch.pi - facing, facing)
    pictures = _move(pictures)
    colours, mask = pictures[:, :3], pictures[:, 3:]
    hidden = _draw_hidden(num, pictures.shape[2]) & (torch.rand(num, 1, 1, 1) < 0.25)
    varied = torch.cat([_relight(colours), mask.masked_fill(hidden, 0.0)], dim=1)
    return varied.contiguous(memory_format=torch.channels_last), places, facing


def _move(pictures_NCSS: Tensor) -> Tensor:
    """Turned by some degrees, scaled and shifted."""
    num = len(pictures_NCSS)
    scale, turn = _draw(num, 0.85, 1.15), _draw(num, -0.08, 0.08)
    shift = _draw(2 * num, -0.12, 0.12).reshape(2, num)
    rows = (
        torch.stack([scale * turn.cos(), -scale * turn.sin(), shift[0]], dim=1),
        torch.stack([scale * turn.sin(), scale * turn.cos(), shift[1]], dim=1),
    )
    grid = F.affine_grid(torch.stack(rows, dim=1), list(pictures_NCSS.shape), align_corners=False)
    return F.grid_sample(pictures_NCSS, grid, align_corners=False)


def _relight(colours_N3SS: Tensor) -> Tensor:
    """Brighter or darker, tinted, more or less saturated, and with other hues."""
    num = len(colours_N3SS)
    gain, tint = _draw(num, 0.6, 1.5), _draw(3 * num, -0.08, 0.08)
    grey = colours_N3SS.mean(dim=1, keepdim=True)
    saturated = grey + (colours_N3SS - grey) * _draw(num, 0.3, 1.3)[:, None, None, None]
    lit = saturated * gain[:, None, None, None] + tint.reshape(num, 3, 1, 1)
    return lit.clamp(0, 1)[:, torch.randperm(3)]


def _draw_hidden(num: int, side: int) -> Tensor:
    """One side of each picture, a fifth to two fifths of it: (num, 1, side, side)."""
    reach = _draw(num, 0.2, 0.4)[:, None, None, None] * side
    left = (torch.arange(side) < reach).expand(num, 1, side, side)
    either = torch.where(torch.rand(num, 1, 1, 1) < 0.5, left, left.flip(3))
    return torch.where(torch.rand(num, 1, 1, 1) < 0.3, either.transpose(2, 3), either)


def _draw(num: int, low: float, high: float) -> Tensor:
    return torch.empty(num).uniform_(low, high)
