"""Object tokens against the model's description, computed one view at a time and written as it reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tests.model.pixelrefer.region_factory import make_frame, make_mask
from tubelet.model.masks import Mask
from tubelet.model.pixelrefer.debug import make_debug_network
from tubelet.model.pixelrefer.encoding import ScenePool, encode_pictures, encode_views, prepare_views
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.regions import RegionView, cut_region, cut_scene, fit_picture

NETWORK = make_debug_network()
NUM_TOKENS = NETWORK.config.num_object_tokens


def _see(network: PixelRefer, picture: NDArray[np.uint8], num_pictures: int) -> Tensor:
    """Features (h, w, C) of one picture of a request with so many."""
    max_px = network.config.max_request_patches * 196 // num_pictures
    fitted = fit_picture(picture, factor=14, min_px=196, max_px=max_px)
    features = encode_pictures(network, [fitted])[0]
    return features.view(fitted.shape[0] // 14, fitted.shape[1] // 14, -1)


def _cluster(cells: Tensor, starts: Tensor) -> Tensor:
    centres = cells[starts]
    for _ in range(3):
        nearest = (cells[:, None] - centres).square().sum(dim=-1).argmin(dim=1)
        moved = [
            cells[nearest == k].mean(dim=0) if (nearest == k).any() else centres[k]
            for k in range(len(starts))
        ]
        if torch.allclose(centres, torch.stack(moved), atol=1e-6):
            break
        centres = torch.stack(moved)
    return centres


def _tokenize_plainly(
    network: PixelRefer, view: RegionView, num_views: int, permutation: NDArray[np.int64] | None
) -> Tensor:
    encoder = network.region_encoder
    cut = cut_region(view, NUM_TOKENS)
    crop = _see(network, cut.crop, num_views)
    rows, columns, _ = crop.shape
    (top, left, bottom, right), height, width = cut.box, cut.frame_height, cut.frame_width
    across = (torch.arange(columns) / columns * (bottom - top) + top) / (width - 1)
    down = (torch.arange(rows) / rows * (right - left) + left) / (height - 1)
    places = torch.stack([across.expand(rows, -1), down[:, None].expand(-1, columns)], dim=-1)
    placed = (crop + encoder.pos_linear(places)).permute(2, 0, 1)[None]
    grid = torch.from_numpy(cut.grid)
    if placed.shape[2:] != grid.shape:
        placed = F.interpolate(placed, size=grid.shape, mode="bilinear", align_corners=False)
    cells = placed[0, :, grid > 0].T
    if permutation is not None:
        cells = _cluster(cells, torch.from_numpy(permutation[:NUM_TOKENS]))
    query = F.pad(cells, (0, 0, 0, NUM_TOKENS - len(cells)))[None]
    local = _see(network, cut.local, num_views).flatten(0, 1)[None]
    scene = _see(network, cut_scene(view), num_views).flatten(0, 1)[None]
    query = query + encoder.fusion_attention_local(encoder.ln_local(query), local, local)[0]
    query = query + encoder.fusion_attention_global(encoder.ln_global(query), scene, scene)[0]
    tokens: Tensor = encoder.feat_linear(query)[0]
    return tokens


def _odd_masks(height: int, width: int) -> list[Mask]:
    """Nothing, everything, a row, a column, a few pixels, a corner, and boxes."""
    masks = [np.zeros((height, width), bool), np.ones((height, width), bool)]
    size = {"height": height, "width": width}
    for box in (
        (height // 2, 0, height // 2 + 1, width),
        (0, width - 1, height, width),
        (5, 7, 9, 12),
        (height - 6, width - 9, height, width),
        (3, 4, height // 2, width // 3),
        (height // 3, 2, height, width - 5),
    ):
        masks.append(make_mask(*box, **size))
    return masks


@pytest.mark.parametrize("size", [(72, 128), (40, 33), (230, 310)])
@pytest.mark.parametrize("num_views", [1, 3, 8])
def test_tokens_are_those_of_the_description(size: tuple[int, int], num_views: int) -> None:
    """Up to eight pictures in a request, so that crops and scenes shrink to the limit they share."""
    generator = np.random.default_rng(num_views)
    masks = _odd_masks(*size)
    for start in range(0, len(masks), num_views):
        part = masks[start : start + num_views]
        views = [RegionView(make_frame(place, *size), mask) for place, mask in enumerate(part)]
        counts = [int((cut_region(view, NUM_TOKENS).grid > 0).sum()) for view in views]
        orders = [generator.permutation(count) if count > NUM_TOKENS else None for count in counts]
        with torch.inference_mode():
            prepared = prepare_views(
                views,
                NETWORK.config,
                ScenePool(NETWORK.config),
                permutations=[order for order in orders if order is not None],
            )
            packed = encode_views(NETWORK, prepared)
            for encoded, view, order in zip(packed, views, orders, strict=True):
                plain = _tokenize_plainly(NETWORK, view, len(views), order)
                torch.testing.assert_close(encoded.tokens_KD, plain, rtol=1e-4, atol=1e-4)
