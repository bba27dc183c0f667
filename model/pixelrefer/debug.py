"""A small random model with a tokenizer of bytes: every real class, in seconds, with nothing to download."""

from __future__ import annotations

import dataclasses

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tubelet.model.pixelrefer.config import Paradigm, PixelReferConfig
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.prompts import TURN_END, TURN_START, PromptTokenizer

DEBUG_CONFIG = PixelReferConfig(
    paradigm="object_only",
    num_object_tokens=8,
    vision_width=32,
    vision_mlp_width=48,
    num_vision_layers=2,
    num_vision_heads=2,
    width=48,
    mlp_width=80,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    vocab_size=272,
    max_positions=4096,
    stop_ids=(257,),
)


def make_debug_tokenizer() -> PromptTokenizer:
    """One token for each byte, then `<|im_start|>` (256), `<|im_end|>` (257) and the places."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in (TURN_START, TURN_END)]
    )
    return PromptTokenizer(tokenizer)


def make_debug_network(
    *, seed: int = 0, paradigm: Paradigm = "object_only", config: PixelReferConfig = DEBUG_CONFIG
) -> PixelRefer:
    """Random weights, wider than an initialisation, so that answers differ from object to object."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PixelRefer(dataclasses.replace(config, paradigm=paradigm))
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if weight.ndim > 1:
                    torch.nn.init.normal_(weight, std=0.4 if "decoder" in name else 0.2)
    return network.requires_grad_(False).eval()
