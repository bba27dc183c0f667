"""Frames, masks and captioners for the tests of PixelRefer."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tubelet.model.frame import Image
from tubelet.model.masks import Mask
from tubelet.model.pixelrefer.captioner import PixelReferCaptioner, RegionRequest
from tubelet.model.pixelrefer.config import Paradigm
from tubelet.model.pixelrefer.debug import make_debug_network, make_debug_tokenizer
from tubelet.model.pixelrefer.regions import Region


def make_frame(seed: int = 0, height: int = 72, width: int = 128) -> Image:
    """A picture with structure at several scales, so that crops of it differ."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(rows / generator.uniform(3, 20)) + np.cos(columns / generator.uniform(3, 20)) for _ in range(3)
    ]
    picture = np.stack(waves, axis=-1) * 50 + 128 + generator.normal(0, 12, (height, width, 3))
    clipped: NDArray[np.uint8] = picture.clip(0, 255).astype(np.uint8)
    return clipped


def make_mask(top: int, left: int, bottom: int, right: int, height: int = 72, width: int = 128) -> Mask:
    """A rectangle; the far sides are exclusive."""
    mask = np.zeros((height, width), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def make_region(seed: int, num_frames: int = 2) -> Region:
    """An object of random place and size in the same few frames for every seed."""
    generator = np.random.default_rng(1000 + seed)
    masks = []
    for _ in range(num_frames):
        top, left = int(generator.integers(0, 50)), int(generator.integers(0, 100))
        masks.append(
            make_mask(top, left, top + int(generator.integers(5, 22)), left + int(generator.integers(5, 28)))
        )
    return Region.of(
        [make_frame(frame) for frame in range(num_frames)], masks, [0.5 * i for i in range(num_frames)]
    )


def make_requests(count: int, num_frames: int = 2) -> list[RegionRequest]:
    return [RegionRequest((make_region(seed, num_frames),)) for seed in range(count)]


def make_captioner(
    *,
    paradigm: Paradigm = "object_only",
    max_new_tokens: int = 12,
    batch_size: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> PixelReferCaptioner:
    return PixelReferCaptioner(
        make_debug_network(paradigm=paradigm).to(dtype),
        make_debug_tokenizer(),
        name="debug@1",
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
    )
