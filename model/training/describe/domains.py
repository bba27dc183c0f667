"""The domain that a trained checkpoint is written with: see `tubelet.model.describing.domain`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from tubelet.errors import InputError
from tubelet.model.categories import WORDS
from tubelet.model.describing.attributes import measure_attributes
from tubelet.model.describing.base import Looks, ObjectView
from tubelet.model.describing.domain import Domain, Namer, list_shares
from tubelet.model.describing.turning import TurnReader
from tubelet.model.pixelrefer.describer import as_region_view
from tubelet.model.pixelrefer.encoding import ScenePool, average_cells, encode_pictures, prepare_views
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.training.describe.features import DecodeView
from tubelet.model.training.describe.pool import Pool
from tubelet.model.training.world.spec import ObjectTruth
from tubelet.records import View

LookAt = Callable[[Sequence[Sequence[View]]], Sequence[Looks]]
"""How each of some objects, given by their views, looks to a recogniser."""

NUM_AXES = 100
RIDGE = 0.01
"""Of the classifiers' weights, for numbers of equal spread."""

MIN_SPREAD = 1e-3
OBJECTS_A_CALL = 16


@dataclass(frozen=True, slots=True, eq=False)
class SeenObjects:
    """N objects: the recogniser's vectors, the captioner's mean features, the measured colours' shares.

    `categories` are in the words of rows and queries, `colours` the main ones.
    """

    recogniser: str
    looks_ND: NDArray[np.float32]
    seen_NC: NDArray[np.float32]
    shares_NP: NDArray[np.float32]
    categories: tuple[str, ...]
    colours: tuple[str, ...]


def make_domain(
    seen: Pool,
    held_out: Pool,
    look_at: LookAt,
    decode: DecodeView,
    network: PixelRefer,
    turns: TurnReader,
    *,
    num_axes: int = NUM_AXES,
) -> Domain:
    """The domain of a pool's objects, compared with those of the held-out one."""
    usual = look_at_objects(held_out, look_at, decode, network)
    objects = look_at_objects(seen, look_at, decode, network)
    return fit_domain(objects, usual.looks_ND, turns, num_axes=num_axes)


def look_at_objects(pool: Pool, look_at: LookAt, decode: DecodeView, network: PixelRefer) -> SeenObjects:
    """Every object of the pool that has views, as indexing would look at it."""
    truths: list[ObjectTruth] = []
    looks: list[Looks] = []
    seen, shares = [], []
    objects = _iterate_objects(pool, decode)
    while batch := list(islice(objects, OBJECTS_A_CALL)):
        truths += [truth for truth, _, _ in batch]
        looks += look_at([views for _, views, _ in batch])
        for _, _, decoded in batch:
            seen.append(see_object(network, decoded))
            shares.append(list_shares(measure_attributes(decoded, mean_area_share=0.0)))
    if not truths:
        raise InputError("No object of the pool has a view", expected="at least one", do="render more clips")
    return SeenObjects(
        looks[0].recogniser,
        np.array([own.vector for own in looks], np.float32),
        np.array(seen, np.float32),
        np.array(shares, np.float32),
        tuple(WORDS[truth.category] for truth in truths),
        tuple(truth.colours[0] for truth in truths),
    )


@torch.inference_mode()
def see_object(network: PixelRefer, views: Sequence[ObjectView]) -> NDArray[np.float32]:
    """The mean vision feature of an object's cells over its views, as in describing: (C,)."""
    prepared = prepare_views(
        [as_region_view(view) for view in views], network.config, ScenePool(network.config)
    )
    crops = encode_pictures(network, [view.crop for view in prepared])
    cells = [average_cells(view, crop) for view, crop in zip(prepared, crops, strict=True)]
    seen_C: NDArray[np.float32] = torch.stack(cells).mean(dim=0).float().cpu().numpy()
    return seen_C


def fit_domain(
    seen: SeenObjects, held_out_ND: NDArray[np.float32], turns: TurnReader, *, num_axes: int = NUM_AXES
) -> Domain:
    """The domain of what a captioner was trained on; the vectors of held-out objects say what is usual."""
    num_seen = len(seen.looks_ND)
    if num_seen <= num_axes or not len(held_out_ND):
        raise InputError(
            f"There are {num_seen} objects to fit a domain to and {len(held_out_ND)} to compare with",
            expected=f"more than {num_axes}, and at least one",
            do="render more clips",
        )
    # As they are read back, in 16 bits: distances must be those that will be measured.
    mean_D = _round(seen.looks_ND.mean(axis=0))
    axes_KD = _round(np.linalg.svd(seen.looks_ND - mean_D, full_matrices=False)[2][:num_axes])
    categories = fit_namer(np.hstack([seen.looks_ND, seen.seen_NC]), seen.categories)
    colours = fit_namer(np.hstack([seen.seen_NC, seen.shares_NP]), seen.colours)
    axes = Domain(seen.recogniser, mean_D, axes_KD, np.zeros(0, np.float32), categories, colours, turns)
    return replace(axes, distances_N=np.sort(axes.measure_distances(held_out_ND)))


def fit_namer(seen_NF: NDArray[np.float32], names_N: Sequence[str]) -> Namer:
    """Multinomial logistic regression, its weights ridged for numbers of equal spread."""
    from scipy.optimize import minimize  # only training fits

    names = tuple(sorted(set(names_N)))
    mean_F = seen_NF.mean(axis=0, dtype=np.float64)
    spread_F = np.maximum(seen_NF.std(axis=0, dtype=np.float64), MIN_SPREAD)
    even_NF = (seen_NF - mean_F) / spread_F
    true_NK = np.eye(len(names))[[names.index(name) for name in names_N]]
    num, num_numbers = even_NF.shape

    def measure(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The loss and its slopes, at weights followed by biases."""
        parts = flat.reshape(num_numbers + 1, -1)
        logits_NK = even_NF @ parts[:-1] + parts[-1]
        logits_NK -= logits_NK.max(axis=1, keepdims=True)
        logits_NK -= np.log(np.exp(logits_NK).sum(axis=1, keepdims=True))
        excess_NK = (np.exp(logits_NK) - true_NK) / num
        slopes = np.concatenate([even_NF.T @ excess_NK + RIDGE * parts[:-1], excess_NK.sum(axis=0)[None]])
        loss = -(logits_NK * true_NK).sum() / num + RIDGE / 2 * np.square(parts[:-1]).sum()
        return float(loss), slopes.ravel()

    start = np.zeros((num_numbers + 1) * len(names))
    parts = minimize(measure, start, jac=True, method="L-BFGS-B").x.reshape(num_numbers + 1, -1)
    weights_FK = parts[:-1] / spread_F[:, None]
    return Namer(names, weights_FK.astype(np.float32), (parts[-1] - mean_F @ weights_FK).astype(np.float32))


def _round(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values.astype(np.float16).astype(np.float32)


def _iterate_objects(
    pool: Pool, decode: DecodeView
) -> Iterator[tuple[ObjectTruth, tuple[View, ...], list[ObjectView]]]:
    """What is true of each object, its views as they are kept, and with their pixels."""
    for number in range(len(pool)):
        clip = pool[number]
        for own, views in sorted(clip.views.items()):
            if views:
                yield clip.find(own), views, [decode(view, clip.frame_size) for view in views]
