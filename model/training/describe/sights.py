"""Teaching a network what sights of rendered objects show: as indexing would see them, in other light, place
and size, mirrored and partly hidden."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tubelet.model.describing.sights import PLACE_MIRROR, SightNetwork
from tubelet.model.training.descent import descend
from tubelet.model.training.describe.turning import draw_batches
from tubelet.model.training.describe.watching import WatchedObject

BATCH, RATE = 256, 4e-3


@dataclass(frozen=True, slots=True, eq=False)
class Sights:
    """N views: pictures and places as in `WatchedObject`, and what is true of each, `truth_N`."""

    pictures_NSS4: Tensor
    places_N6: Tensor
    truth_N: Tensor

    def __len__(self) -> int:
        return len(self.truth_N)


def gather_views(
    objects: Iterable[WatchedObject], tell: Callable[[WatchedObject], NDArray[np.float32] | NDArray[np.int64]]
) -> Sights:
    """All views of some objects, of which there is one at least, with what `tell` says of each."""
    chosen = list(objects)
    return Sights(
        torch.from_numpy(np.concatenate([item.pictures_NSS4 for item in chosen])),
        torch.from_numpy(np.concatenate([item.places_N6 for item in chosen])),
        torch.from_numpy(np.concatenate([tell(item) for item in chosen])),
    )


def fit_sights(
    network: SightNetwork,
    sights: Sights,
    measure_loss: Callable[[Tensor, Tensor], Tensor],
    mirror: Callable[[Tensor], Tensor],
    *,
    num_epochs: int,
    name: str,
    rough_share: float = 0.0,
) -> SightNetwork:
    """The network, which has norms, when it has seen each sight so often, its norms folded.

    `measure_loss` takes logits (N, K) and what is true; `mirror` tells what is true in a mirror. A share of
    the masks, `rough_share`, is a pixel wider all around, and as many are narrower.
    """
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    num_steps = num_epochs * max(1, len(sights) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=num_steps)
    batches = draw_batches(len(sights), num_steps, BATCH)

    def measure() -> Tensor:
        pictures, places, truth = _vary(sights, next(batches), mirror, rough_share)
        return measure_loss(network(pictures, places), truth)

    descend(measure, optimizer, schedule, num_steps=num_steps, name=name)
    return network.fold()


def _vary(
    sights: Sights, chosen: Tensor, mirror: Callable[[Tensor], Tensor], rough_share: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The chosen sights, half of them mirrored, moved, in other light and colours, some partly hidden."""
    pictures = sights.pictures_NSS4[chosen].permute(0, 3, 1, 2).float() / 255
    places, truth = sights.places_N6[chosen], sights.truth_N[chosen]
    num = len(chosen)
    flipped = torch.rand(num) < 0.5
    pictures = torch.where(flipped[:, None, None, None], pictures.flip(3), pictures)
    places = torch.where(flipped[:, None], places * torch.from_numpy(PLACE_MIRROR), places)
    truth = torch.where(flipped, mirror(truth), truth)
    pictures = _move(pictures)
    colours, mask = pictures[:, :3], pictures[:, 3:]
    if rough_share:
        mask = _roughen(mask, rough_share)
    hidden = _draw_hidden(num, pictures.shape[2]) & (torch.rand(num, 1, 1, 1) < 0.25)
    varied = torch.cat([_relight(colours), mask.masked_fill(hidden, 0.0)], dim=1)
    return varied.contiguous(memory_format=torch.channels_last), places, truth


def _roughen(masks_N1SS: Tensor, share: float) -> Tensor:
    """Some masks wider, some narrower."""
    wider, narrower = F.max_pool2d(masks_N1SS, 3, 1, 1), -F.max_pool2d(-masks_N1SS, 3, 1, 1)
    drawn = torch.rand(len(masks_N1SS), 1, 1, 1)
    rough = torch.where(drawn < 2 * share, narrower, masks_N1SS)
    return torch.where(drawn < share, wider, rough)


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
