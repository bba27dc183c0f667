"""Weights to begin with: random ones that learn fast in a small network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import Sam2VideoModel

from tubelet.model.tracking.sam2.config import make_bundled_config
from tubelet.model.training.track.samples import TrackBatch
from tubelet.model.training.track.unroll import encode_clips

_CROSS_ATTENTION = ("cross_attn_token_to_image", "cross_attn_image_to_token", "final_attn_token_to_image")
_NUM_SHORT_WAVES = 3
_NEARNESS = 5.0


def make_network(*, seed: int, image_px: int = 256) -> Sam2VideoModel:
    """The network that ships, with random weights."""
    torch.manual_seed(seed)
    network = Sam2VideoModel(make_bundled_config(image_px=image_px))
    # One random code for the picture and for points in it. From long waves, which tell left from right, to
    # short ones; with the library's short ones alone, boxes are learnt slowly.
    code = network.shared_image_embedding.positional_embedding
    code.normal_().mul_(torch.logspace(-1.2, 0, code.shape[1]))
    network.prompt_encoder.shared_embedding.positional_embedding.copy_(code)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            # The library's 0.02 suits wide layers; these are narrow.
            nn.init.normal_(module.weight, std=0.6 / module.in_features**0.5)
    for layer in network.memory_encoder.memory_fuser.layers:
        # Born 0, which would leave the block's kernels without a gradient at first.
        nn.init.constant_(layer.scale, 0.1)  # type: ignore[arg-type]
    for name, module in network.mask_decoder.named_modules():
        if name.rpartition(".")[2] in _CROSS_ATTENTION:
            # Alike and large: a prompt looks at its own place from the first step on.
            nn.init.normal_(module.q_proj.weight, std=0.2)
            with torch.no_grad():
                module.k_proj.weight.copy_(module.q_proj.weight)
    return network


@torch.no_grad()
def start_memory(network: Sam2VideoModel, pictures: list[TrackBatch], *, seed: int) -> None:
    """Set memory attention up so that a network that knows pictures begins clips from what it knows.

    Each place looks first at the same place in the memories, and what comes out has the mean and spread,
    channel by channel, of the features of `pictures`, which is what the mask decoder is used to. From plainly
    random weights the decoder must unlearn and learn both, and hardly does.
    """
    torch.manual_seed(seed)
    attention: Any = network.memory_attention
    for module in attention.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.6 / module.in_features**0.5)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for layer in attention.layers:
        for own in (layer.self_attn.o_proj, layer.linear2):
            own.weight.mul_(0.1)
        cross = layer.cross_attn_image
        # Turned by their places, equal vectors agree best where the places are equal. Pairs of channels turn
        # together: those of the rows in the first half, of the columns in the second, short waves first.
        for projection in (cross.q_proj, cross.k_proj):
            half = projection.bias.shape[0] // 2
            for start in (0, half):
                projection.bias[start : start + 2 * _NUM_SHORT_WAVES : 2] = _NEARNESS
    features = torch.cat(
        [encode_clips(network, batch).coarse_1CHW.transpose(0, 1).flatten(1) for batch in pictures], dim=1
    )
    features = features + network.no_memory_embedding.flatten()[:, None]
    attention.layer_norm.weight.copy_(features.std(1))
    attention.layer_norm.bias.copy_(features.mean(1))
