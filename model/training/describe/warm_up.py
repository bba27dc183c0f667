"""Stage 0, for vision encoders that start from nothing: crops with labels, before any words.

The published models start from a trained encoder. A small one made here first learns from single crops what
a thing is and its colours, through small heads that are thrown away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tubelet.model.pixelrefer.config import PATCH_PX, PixelReferConfig
from tubelet.model.pixelrefer.describer import as_region_view
from tubelet.model.pixelrefer.encoding import encode_patches
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.regions import RegionView, choose_rule, cut_region, split_patches
from tubelet.model.training.describe.features import DecodeView
from tubelet.model.training.describe.pool import Pool, PooledClip
from tubelet.model.training.world.spec import CATEGORIES, COLOURS

NO_SECOND = len(COLOURS)
SECOND_WEIGHT = 0.4

NUM_WHITENED_CROPS = 1500
WHITENING_FLOOR = 4e-3
"""Added to the variances of patches' directions before they are made equal: faint ones are noise."""

NUM_COUNTED_CLIPS = 300
MIN_CATEGORY_SHARE = 0.03
"""Categories are drawn by the root of how common they are, none taken to be rarer than this."""
MAX_BRIGHTNESS = 0.08


@dataclass(frozen=True, slots=True, eq=False)
class CropBatch:
    """Crops and what is true of each: patches (p, 588) uint8, grids, shares of patches on the object, labels.

    `labels_R3` holds category, main colour and second colour (NO_SECOND: none).
    """

    patches: tuple[NDArray[np.uint8], ...]
    grids: tuple[tuple[int, int], ...]
    inside: tuple[NDArray[np.float32], ...]
    labels_R3: NDArray[np.int64]


class WarmUpModel(nn.Module):
    """The vision encoder of a network under three linear heads over the mean of the object's patches."""

    def __init__(self, network: PixelRefer) -> None:
        super().__init__()
        self.network = network
        width = network.config.vision_width
        self.heads = nn.ModuleDict(
            {
                "category": nn.Linear(width, len(CATEGORIES)),
                "colour": nn.Linear(width, len(COLOURS)),
                "second": nn.Linear(width, len(COLOURS) + 1),
            }
        )

    def forward(self, batch: CropBatch) -> dict[str, Tensor]:
        """The heads' cross-entropies; what is minimised is their sum, the second colour's at less weight."""
        labels_R3 = torch.from_numpy(batch.labels_R3).to(self.network.device)
        losses = {
            name: F.cross_entropy(logits.float(), labels_R3[:, column])
            for column, (name, logits) in enumerate(self.judge(batch).items())
        }
        total = losses["category"] + losses["colour"] + SECOND_WEIGHT * losses["second"]
        return {"loss": total, **{name: loss.detach() for name, loss in losses.items()}}

    def judge(self, batch: CropBatch) -> dict[str, Tensor]:
        """Logits of every head: (crops, classes)."""
        features = encode_patches(self.network, batch.patches, batch.grids)
        mean_RC = torch.stack(
            [
                torch.from_numpy(share).to(feature.device, feature.dtype) @ feature
                for share, feature in zip(batch.inside, features, strict=True)
            ]
        )
        return {name: head(mean_RC) for name, head in self.heads.items()}


@dataclass(frozen=True, slots=True)
class CropBatches:
    """Makes the warm-up's batch of a number from pools on disk, mirrored and brightened at random."""

    folders: tuple[Path, ...]
    shards: tuple[int, ...]
    config: PixelReferConfig
    decode: DecodeView
    batch_size: int
    seed: int = 0
    varied: bool = True

    def __call__(self, number: int) -> CropBatch:
        generator = np.random.default_rng([self.seed, number])
        pools = [open_pool(folder, count) for folder, count in zip(self.folders, self.shards, strict=True)]
        kept = weigh_categories(self.folders[0], self.shards[0]) if self.varied else {}
        rows: list[tuple[NDArray[np.uint8], tuple[int, int], NDArray[np.float32], list[int]]] = []
        while len(rows) < self.batch_size:
            pool = pools[int(generator.integers(len(pools)))]
            clip = pool[int(generator.integers(len(pool)))]
            for owner in clip.views:
                if generator.random() >= kept.get(clip.find(owner).category, 1.0):
                    continue
                place = int(generator.integers(len(clip.views[owner])))
                row = self._cut(clip, owner, place, generator)
                if row is not None:
                    rows.append(row)
        patches, grids, inside, labels = zip(*rows[: self.batch_size], strict=True)
        return CropBatch(patches, grids, inside, np.array(labels, np.int64))

    def _cut(
        self, clip: PooledClip, owner: int, place: int, generator: np.random.Generator
    ) -> tuple[NDArray[np.uint8], tuple[int, int], NDArray[np.float32], list[int]] | None:
        truth = clip.find(owner)
        view = as_region_view(self.decode(clip.views[owner][place], clip.frame_size))
        if self.varied and generator.random() < 0.5:
            view = RegionView(view.image[:, ::-1].copy(), view.mask[:, ::-1].copy())
        else:
            view = replace(view, window=None, frame_size=None)
        cut = cut_region(view, self.config.num_object_tokens, choose_rule(self.config))
        crop = cut.crop
        if self.varied:
            factor = 1 + generator.uniform(-MAX_BRIGHTNESS, MAX_BRIGHTNESS)
            crop = np.clip(crop * factor, 0, 255).astype(np.uint8)
        share = (cut.grid > 0).astype(np.float32).ravel()
        grid = (crop.shape[0] // PATCH_PX, crop.shape[1] // PATCH_PX)
        if not share.any() or share.size != grid[0] * grid[1]:
            return None
        colours = [COLOURS.index(colour) for colour in truth.colours]
        second = colours[1] if len(colours) > 1 else NO_SECOND
        labels = [CATEGORIES.index(truth.category), colours[0], second]
        return split_patches(crop), grid, share / share.sum(), labels


@torch.inference_mode()
def measure_warm_up(model: WarmUpModel, batches: Sequence[CropBatch]) -> dict[str, float]:
    """The share of right answers of each head."""
    right = dict.fromkeys(model.heads, 0)
    total = sum(len(batch.labels_R3) for batch in batches)
    for batch in batches:
        for column, (name, logits) in enumerate(model.judge(batch).items()):
            right[name] += int((logits.argmax(dim=1).cpu().numpy() == batch.labels_R3[:, column]).sum())
    return {name: count / total for name, count in right.items()}


@torch.no_grad()
def whiten_patches(network: PixelRefer, batches: CropBatches) -> None:
    """Begin the patch embedding with the directions in which patches differ most, each as loud as the others.

    Plain pixels are nearly all brightness and colour; shape is in what is left, which a random embedding
    hardly passes on. Directions are the principal ones of patches from the pool, their signs as they come.
    """
    embedding = network.vision.embeddings.patch_embedding
    width, mean, std = network.config.vision_width, network.config.pixel_mean[0], network.config.pixel_std[0]
    pieces: list[NDArray[np.uint8]] = []
    for number in range(-(-NUM_WHITENED_CROPS // batches.batch_size)):
        pieces += batches(number).patches
    values_PX = (np.concatenate(pieces).astype(np.float64) / 255 - mean) / std
    centre_X = values_PX.mean(axis=0)
    variance_X, axes_XX = np.linalg.eigh(np.cov((values_PX - centre_X).T))
    order = np.argsort(-variance_X)[:width]
    rows_CX = axes_XX[:, order].T / np.sqrt(variance_X[order, None] + WHITENING_FLOOR)
    embedding.weight.copy_(torch.from_numpy(rows_CX).view_as(embedding.weight))
    assert embedding.bias is not None, "the encoder's patch embedding has a bias"
    embedding.bias.copy_(torch.from_numpy(-rows_CX @ centre_X))


@lru_cache(maxsize=8)
def weigh_categories(folder: Path, num_shards: int) -> Mapping[str, float]:
    """How likely an object that was drawn is kept, by its category: common ones less often."""
    pool = open_pool(folder, num_shards)
    counts = Counter(
        clip.find(owner).category
        for clip in (pool[number] for number in range(min(NUM_COUNTED_CLIPS, len(pool))))
        for owner in clip.views
    )
    total = sum(counts.values())
    shares = {name: max(counts[name] / total, MIN_CATEGORY_SHARE) for name in CATEGORIES}
    rarest = min(shares.values())
    return {name: float(np.sqrt(rarest / share)) for name, share in shares.items()}


@lru_cache(maxsize=8)
def open_pool(folder: Path, num_shards: int | None = None) -> Pool:
    """A pool, opened once in each process."""
    return Pool(folder, num_shards=num_shards)
