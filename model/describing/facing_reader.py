"""What way an object takes, seen by which way it faces in each of its views and by its path.

From a moving camera, or where an object comes towards it, boxes tell little of a turn: the path hardly bends
on the screen. But a car that turns left shows its side and then its back. Which total turn fits the headings
of all views, and the path's own odds, tell the way.

Shapes: N views, H headings, D turns, W ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from tubelet.model.describing.base import Naming, ObjectView, choose_name
from tubelet.model.describing.beside import reading
from tubelet.model.describing.facing import NUM_HEADINGS, face, make_facing_network
from tubelet.model.describing.sights import SightNetwork, cut_sight
from tubelet.model.describing.turning import MIRRORED_WAYS, WAYS, apply_layers, share_out
from tubelet.model.trajectory.shape import measure_drift

FACING_FILE = "facing.safetensors"
"""Beside a checkpoint's config.json; without it ways are read from paths alone."""

TURNS_DEG = np.arange(-240, 241, 15)
"""Total turns that are weighed, positive to the left."""

TRUST = 0.6
"""Exponent of each view's shares: two views of an object err alike."""

MIN_SHARE = 0.02
"""How much of a view's shares lies evenly on all headings: nothing is impossible."""

MIN_TURN_SHARE = 0.003

_STARTS = ((0.25, (0.2, 0.35, 0.5, 0.65, 0.8)), (0.5, (0.2, 0.35, 0.5, 0.65, 0.8)), (1.0, (0.5,)))
"""How long a turn takes, as a share of the moment, and when its middle may be."""

NUM_NUMBERS = len(WAYS) + len(TURNS_DEG) + 5

Array = NDArray[np.float32]


def weigh_turns(shares_NH: Array, times_N: NDArray[np.float64]) -> Array:
    """How likely each of TURNS_DEG is by which way an object faces at some times, rising: (D,), sum 1.

    The likelihood of a turn is the mean, over the heading it begins with and over when and how fast it comes
    about, of the product over the views of how likely each heading is that it leads through.
    """
    past_N = (times_N - times_N[0]) / max(float(times_N[-1] - times_N[0]), 1e-3)
    profiles_PN = np.array(
        [np.clip((past_N - middle) / length + 0.5, 0, 1) for length, middles in _STARTS for middle in middles]
    )
    likely_NH = TRUST * np.log(shares_NH * (1 - MIN_SHARE) + MIN_SHARE / NUM_HEADINGS)
    step_deg = 360 / NUM_HEADINGS
    begins_H1 = np.arange(NUM_HEADINGS)[:, None, None, None]
    places = (begins_H1 + TURNS_DEG[:, None, None] / step_deg * profiles_PN) % NUM_HEADINGS  # (H, D, P, N)
    below = np.floor(places).astype(np.intp)
    part = places - below
    views_N = np.arange(len(times_N))
    fits_HDP = (
        (1 - part) * likely_NH[views_N, below % NUM_HEADINGS]
        + part * likely_NH[views_N, (below + 1) % NUM_HEADINGS]
    ).sum(axis=-1)
    fits_DX = fits_HDP.transpose(1, 0, 2).reshape(len(TURNS_DEG), -1)
    likelihoods_D = np.exp(fits_DX - fits_DX.max()).mean(axis=1)
    turns_D: Array = (likelihoods_D / likelihoods_D.sum()).astype(np.float32)
    return turns_D


def tell_way(path_W: Array, turns_D: Array, drift: float, places_N6: Array) -> Array:
    """All that tells a way, (NUM_NUMBERS,): the path's odds, the headings' odds, and how it moves across the
    frame, in widths, without the camera's own movement (`drift`) and with it."""
    mean = float(turns_D @ TURNS_DEG) / 90
    spread = float(np.sqrt(turns_D @ np.square(TURNS_DEG))) / 90
    across = float(places_N6[-1, 0] - places_N6[0, 0]) / 2
    told = (
        np.log(path_W + 1e-6),
        np.log(turns_D + MIN_TURN_SHARE),
        [mean, spread, drift, across, len(places_N6) / 8],
    )
    return np.concatenate(told).astype(np.float32)


def mirror_way(numbers: Array) -> Array:
    """What `tell_way` tells of the same moment in a mirror."""
    path_W, turns_D, rest = np.split(numbers, [len(WAYS), len(WAYS) + len(TURNS_DEG)])
    mirrored: Array = np.concatenate([path_W[MIRRORED_WAYS], turns_D[::-1], rest * _REST_MIRROR])
    return mirrored


_REST_MIRROR = np.array([-1, 1, -1, -1, 1], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class FacingReader:
    """The network, and a perceptron from `tell_way` to WAYS: `weights` and `biases` as a TurnReader's."""

    network: SightNetwork
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    def read(self, views: Sequence[ObjectView], shape_F: Array, path_W: Array) -> Naming | None:
        """The likeliest of WAYS of an object with a path, whose odds by the path alone are `path_W`.

        None where fewer than two views have a place in a frame.
        """
        if len(views) < 2 or any(view.frame_size is None for view in views):
            return None
        sights = [cut_sight(view) for view in views]
        places_N6 = np.stack([sight.place_6 for sight in sights])
        shares_NH = face(self.network, np.stack([sight.picture for sight in sights]), places_N6)
        turns_D = weigh_turns(shares_NH, np.array([view.time_s for view in views]))
        return self.judge(tell_way(path_W, turns_D, measure_drift(shape_F), places_N6))

    def judge(self, numbers: Array) -> Naming:
        """The likeliest of WAYS. A moment in a mirror has the mirrored way, as likely."""
        shares_W = share_out(apply_layers(numbers, self.weights, self.biases))
        mirrored_W = share_out(apply_layers(mirror_way(numbers), self.weights, self.biases))[MIRRORED_WAYS]
        return choose_name(WAYS, np.asarray((shares_W + mirrored_W) / 2, np.float32))

    def write(self, folder: Path) -> None:
        """Write the reader beside a checkpoint, in float16."""
        parts = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            parts |= {
                f"ways.{place}.weight": torch.from_numpy(weight),
                f"ways.{place}.bias": torch.from_numpy(bias),
            }
        save_file({name: part.half().contiguous() for name, part in parts.items()}, folder / FACING_FILE)


def read_facing(folder: Path) -> FacingReader | None:
    """The reader of a checkpoint, None where it has none. Raises ModelError for any other file."""
    file = folder / FACING_FILE
    if not file.is_file():
        return None
    with reading(file, "which way objects face"):
        parts = {name: tensor.float() for name, tensor in load_file(file).items()}
        network = make_facing_network().eval().requires_grad_(False)
        network.load_state_dict(
            {
                name.removeprefix("network."): part
                for name, part in parts.items()
                if name.startswith("network.")
            }
        )
        num_layers = sum(name.startswith("ways.") for name in parts) // 2
        weights = tuple(parts[f"ways.{place}.weight"].numpy() for place in range(num_layers))
        biases = tuple(parts[f"ways.{place}.bias"].numpy() for place in range(num_layers))
        told = apply_layers(np.zeros(NUM_NUMBERS, np.float32), weights, biases)
        if told.shape != (len(WAYS),):
            raise ValueError(f"{len(told)} ways are told, not {len(WAYS)}")
    return FacingReader(network, weights, biases)
