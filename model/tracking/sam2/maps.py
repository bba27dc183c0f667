"""Small arithmetic on pictures, masks and ages that following and training share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
OUT_OF_SIGHT = -1024.0
MASK_PROMPT_LOGIT = 10.0


def encode_age(ages_L: Tensor, num_channels: int) -> Tensor:
    """The sine and cosine code of ages, (L, num_channels), as in "Attention Is All You Need"."""
    half = torch.arange(num_channels // 2, dtype=torch.float32, device=ages_L.device)
    wavelengths = 10000 ** (2 * (half // 2) / (num_channels // 2))
    angles = ages_L.float()[:, None] / wavelengths
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def resize(maps_B1hw: Tensor, side: int, *, antialias: bool = True) -> Tensor:
    """Bilinear, in float32, to (B, 1, side, side)."""
    if maps_B1hw.shape[-2:] == (side, side):
        return maps_B1hw
    return F.interpolate(
        maps_B1hw.float(), size=(side, side), mode="bilinear", align_corners=False, antialias=antialias
    )


def hint_at_masks(shares_B1hw: Tensor) -> Tensor:
    """Rough masks, as shares of cells (0..1), in the logits that the prompt encoder takes."""
    return (2 * shares_B1hw - 1) * MASK_PROMPT_LOGIT
