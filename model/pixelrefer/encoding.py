"""From regions to object tokens: pictures prepared one by one on the CPU, then encoded packed.

A region's tokens depend on its own request alone: neither on the batch, nor on the order, nor on chance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tubelet.errors import InputError
from tubelet.model.frame import Image
from tubelet.model.pixelrefer.config import PATCH_PX, PixelReferConfig
from tubelet.model.pixelrefer.network import PixelRefer, RegionCells
from tubelet.model.pixelrefer.regions import (
    PATCH_AREA_PX,
    RegionView,
    choose_rule,
    choose_starts,
    cut_region,
    cut_scene,
    fit_picture,
    place_patches,
    split_patches,
    spread_cells,
)

MAX_PATCHES_PER_CALL = 8_192
"""Patches of one packed vision call: it bounds memory (36 KB a patch in 16 bits at the published width)."""

CHANGED_PIXEL = 0.1 / 255
"""A scene patch is kept when its normalised pixels changed by more than this, on average."""


@dataclass(frozen=True, slots=True)
class PreparedView:
    """One region-frame, ready to be packed. Pictures have sides of whole patches.

    `scene_key` is equal where the scene's pixels are. `patches` and `weights` are (cells, 4), `starts` the
    cells that k-means starts from, empty where there is nothing to cluster.
    """

    crop: Image
    local: Image
    scene: Image
    scene_key: bytes
    places: NDArray[np.float32]
    patches: NDArray[np.int64]
    weights: NDArray[np.float32]
    starts: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedView:
    """What the network makes of one region-frame.

    `tokens_KD` are its object tokens: K of them in Lite, one for each cell and K at most in PixelRefer.
    `seen_C` is the mean of the vision features of its cells, before the tokens look at what is around.
    """

    tokens_KD: Tensor
    seen_C: Tensor


class ScenePool:
    """Scenes of a batch, cut once for each frame and known by their content."""

    def __init__(self, config: PixelReferConfig) -> None:
        self._config = config
        self._by_identity: dict[tuple[int, int], tuple[Image, bytes]] = {}

    def take(self, view: RegionView, max_px: int) -> tuple[Image, bytes]:
        """The view's scene at no more than `max_px` pixels, and its key."""
        identity = (id(view.whole_frame), max_px)
        if identity not in self._by_identity:
            scene = fit_picture(
                cut_scene(view, self._config.scene_px),
                factor=PATCH_PX,
                min_px=self._config.min_image_px,
                max_px=max_px,
            )
            digest = hashlib.blake2b(scene.tobytes(), digest_size=16).digest()
            self._by_identity[identity] = scene, digest
        return self._by_identity[identity]


def prepare_views(
    views: Sequence[RegionView],
    config: PixelReferConfig,
    scenes: ScenePool,
    *,
    permutations: Iterable[NDArray[np.int64]] | None = None,
) -> list[PreparedView]:
    """Prepare all views of one request; they share its limit of pixels.

    `permutations` replaces the seeded ones, in the order in which regions with too many cells come: recorded
    cases bring their own.
    """
    max_px = config.max_request_patches * PATCH_AREA_PX // len(views)
    given = None if permutations is None else iter(permutations)
    limits = {"factor": PATCH_PX, "min_px": config.min_image_px, "max_px": max_px}
    rule = choose_rule(config)
    prepared = []
    for view in views:
        cut = cut_region(view, config.num_object_tokens, rule)
        crop = fit_picture(cut.crop, **limits)
        rows, columns = crop.shape[0] // PATCH_PX, crop.shape[1] // PATCH_PX
        patches, weights = spread_cells(cut.grid, rows, columns)
        if not config.is_lite and not len(patches):
            raise InputError(
                "A mask is empty", expected="at least one pixel of the object", do="leave that frame out"
            )
        starts = np.empty(0, np.int64)
        if len(patches) > config.num_object_tokens:
            if given is None:
                starts = choose_starts(cut, len(patches), config.num_object_tokens)
            else:
                starts = np.asarray(next(given))[: config.num_object_tokens]
        scene, scene_key = scenes.take(view, max_px)
        prepared.append(
            PreparedView(
                crop=crop,
                local=fit_picture(cut.local, **limits),
                scene=scene,
                scene_key=scene_key,
                places=place_patches(cut.box, cut.frame_height, cut.frame_width, rows, columns),
                patches=patches,
                weights=weights,
                starts=starts,
            )
        )
    return prepared


def encode_views(
    network: PixelRefer, views: Sequence[PreparedView], *, max_patches: int = MAX_PATCHES_PER_CALL
) -> list[EncodedView]:
    """Object tokens and features of each view, in order.

    In Lite a scene is encoded with the first view that needs it and kept until the last one did.
    """
    config = network.config
    last_use = {view.scene_key: place for place, view in enumerate(views)}
    scene_features: dict[bytes, Tensor] = {}
    encoded: list[EncodedView] = []
    for pack in _pack(views, max_patches, with_context=config.is_lite):
        pictures = [view.crop for view in pack]
        fresh: dict[bytes, Image] = {}
        if config.is_lite:
            fresh = {view.scene_key: view.scene for view in pack if view.scene_key not in scene_features}
            pictures += [*(view.local for view in pack), *fresh.values()]
        features = encode_pictures(network, pictures)
        scenes: list[Tensor] = []
        if config.is_lite:
            scene_features.update(zip(fresh, features[2 * len(pack) :], strict=True))
            scenes = [scene_features[view.scene_key] for view in pack]
        crops, locals_ = features[: len(pack)], features[len(pack) : 2 * len(pack)]
        tokens = make_tokens(network, pack, crops, locals_, scenes)
        encoded += map(EncodedView, tokens, map(average_cells, pack, crops))
        scene_features = {key: kept for key, kept in scene_features.items() if last_use[key] >= len(encoded)}
    return encoded


def average_cells(view: PreparedView, crop_PC: Tensor) -> Tensor:
    """The mean of the crop's features over the object's cells, over all of it where it has none: (C,)."""
    if not len(view.patches):
        return crop_PC.mean(dim=0)
    weight_P = np.bincount(view.patches.ravel(), view.weights.ravel(), minlength=len(crop_PC))
    return torch.from_numpy(weight_P / weight_P.sum()).to(crop_PC) @ crop_PC


def make_tokens(
    network: PixelRefer,
    views: Sequence[PreparedView],
    crops: Sequence[Tensor],
    locals_: Sequence[Tensor],
    scenes: Sequence[Tensor],
) -> list[Tensor]:
    """Object tokens from features of each view's pictures, (patches, C); PixelRefer needs crops only."""
    config = network.config
    cells = collect_cells(views, config.num_object_tokens, network.device)
    tokens_RKC = network.region_encoder.tokenize(torch.cat(list(crops)), cells)
    if config.is_lite:
        tokens_RKC = _infuse(network, tokens_RKC, locals_, scenes)
    tokens_RKD = network.region_encoder.project(tokens_RKC)
    num_rows = [config.num_object_tokens if config.is_lite else len(view.patches) for view in views]
    return [row_KD[:count] for row_KD, count in zip(tokens_RKD, num_rows, strict=True)]


def encode_pictures(network: PixelRefer, pictures: Sequence[Image]) -> list[Tensor]:
    """Vision features of each picture, (patches, C), all pictures packed in one call."""
    return encode_patches(
        network, [split_patches(picture) for picture in pictures], [_grid(p) for p in pictures]
    )


def encode_patches(
    network: PixelRefer,
    patches: Sequence[NDArray[np.uint8]],
    grids: Sequence[tuple[int, int]],
    merge_size: int = 1,
) -> list[Tensor]:
    """As `encode_pictures`, from patches (see `split_patches`) and grids (rows, columns)."""
    grid_I3 = torch.tensor([(1, rows, columns) for rows, columns in grids])
    merge_I = torch.full((len(grids),), merge_size)
    packed_PX = torch.from_numpy(np.concatenate(patches)).to(network.device)
    normalised_PX = normalise_patches(packed_PX, network.config).to(network.dtype)
    features_PC = network.encode_pictures(normalised_PX, grid_I3, merge_I)
    return list(torch.split(features_PC, [rows * columns // merge_size**2 for rows, columns in grids]))


def normalise_patches(patches_PX: Tensor, config: PixelReferConfig) -> Tensor:
    """Bytes to (x / 255 - mean) / std, channel by channel, float32."""
    mean_X = torch.tensor(config.pixel_mean, device=patches_PX.device).repeat_interleave(PATCH_AREA_PX)
    std_X = torch.tensor(config.pixel_std, device=patches_PX.device).repeat_interleave(PATCH_AREA_PX)
    # In place: a batch's patches are the largest tensor there is, and copies of it cost more than the sums.
    return patches_PX.float().div_(255).sub_(mean_X).div_(std_X)


def encode_scene_tokens(network: PixelRefer, frames: Sequence[Image], *, is_video: bool) -> list[Tensor]:
    """Scene tokens of PixelRefer, one (tokens, D) for each frame.

    An image keeps every patch. Video frames merge blocks of patches, and a block that hardly changed since
    the previous frame is dropped; of an unchanged frame the first block stays.
    """
    config = network.config
    merge_size = config.spatial_merge_size if is_video else 1
    max_px = config.max_request_patches * merge_size**2 * PATCH_AREA_PX // len(frames)
    fitted = [
        fit_picture(frame, factor=PATCH_PX * merge_size, min_px=config.min_image_px, max_px=max_px)
        for frame in frames
    ]
    patches = [split_patches(picture, merge_size) for picture in fitted]
    features = encode_patches(network, patches, [_grid(picture) for picture in fitted], merge_size)
    tokens = [network.project_scene(feature) for feature in features]
    if len(frames) == 1:
        return tokens
    kept = [np.ones(len(tokens[0]), dtype=bool)]
    std_X = np.repeat(np.asarray(config.pixel_std, np.float32), PATCH_AREA_PX)
    for before, after in pairwise(patches):
        if before.shape != after.shape:
            raise InputError(
                "The frames of a request have different sizes",
                expected="frames of one video, all of one size",
                do="resize them, or ask about one frame",
            )
        change = np.abs(after.astype(np.float32) - before.astype(np.float32)) / 255 / std_X
        changed = change.reshape(-1, merge_size**2 * change.shape[1]).mean(axis=1) > CHANGED_PIXEL
        changed[0] |= not changed.any()
        kept.append(changed)
    return [rows[torch.from_numpy(keep).to(rows.device)] for rows, keep in zip(tokens, kept, strict=True)]


def collect_cells(views: Sequence[PreparedView], num_tokens: int, device: torch.device) -> RegionCells:
    """Number the cells of packed views, whose crops lie one after another in the features."""
    first_patch = np.cumsum([0, *(len(view.places) for view in views)])
    counts = [len(view.patches) for view in views]
    first_cell = np.cumsum([0, *counts])
    cell_RM = np.full((len(views), max(num_tokens, *counts)), -1, np.int64)
    start_RK = np.zeros((len(views), num_tokens), np.int64)
    for row, view in enumerate(views):
        cell_RM[row, : counts[row]] = np.arange(first_cell[row], first_cell[row + 1])
        start_RK[row, : len(view.starts)] = view.starts
    patch_N4 = np.concatenate([view.patches + first for view, first in zip(views, first_patch, strict=False)])
    return RegionCells(
        patch_N4=torch.from_numpy(patch_N4).to(device),
        weight_N4=torch.from_numpy(np.concatenate([view.weights for view in views])).to(device),
        position_P2=torch.from_numpy(np.concatenate([view.places for view in views])).to(device),
        cell_RM=torch.from_numpy(cell_RM).to(device),
        start_RK=torch.from_numpy(start_RK).to(device),
    )


def _infuse(
    network: PixelRefer, tokens_RKC: Tensor, locals_: Sequence[Tensor], scenes: Sequence[Tensor]
) -> Tensor:
    """OCI for views whose pictures may differ in size between requests: one call for each size."""
    infused_RKC = torch.empty_like(tokens_RKC)
    sizes = [(len(local), len(scene)) for local, scene in zip(locals_, scenes, strict=True)]
    by_size = sorted(range(len(sizes)), key=lambda row: sizes[row])
    for _, group in groupby(by_size, key=lambda row: sizes[row]):
        rows = list(group)
        infused_RKC[rows] = network.region_encoder.infuse(
            tokens_RKC[rows],
            torch.stack([locals_[row] for row in rows]),
            torch.stack([scenes[row] for row in rows]),
        )
    return infused_RKC


def _pack(
    views: Sequence[PreparedView], max_patches: int, *, with_context: bool
) -> Iterator[list[PreparedView]]:
    """Cut the views into runs of at most `max_patches`, or of one view that is larger.

    Context is the local picture, and a scene that no view before had.
    """
    pack: list[PreparedView] = []
    num_packed = 0
    scene_keys: set[bytes] = set()
    for view in views:
        num_patches = _count_patches(view.crop)
        if with_context:
            num_patches += _count_patches(view.local)
            num_patches += 0 if view.scene_key in scene_keys else _count_patches(view.scene)
            scene_keys.add(view.scene_key)
        if pack and num_packed + num_patches > max_patches:
            yield pack
            pack, num_packed = [], 0
        pack.append(view)
        num_packed += num_patches
    if pack:
        yield pack


def _count_patches(picture: Image) -> int:
    return picture.size // (3 * PATCH_AREA_PX)


def _grid(picture: Image) -> tuple[int, int]:
    return picture.shape[0] // PATCH_PX, picture.shape[1] // PATCH_PX
