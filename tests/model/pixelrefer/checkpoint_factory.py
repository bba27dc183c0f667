"""Folders of the published layout with small random weights.

The published checkpoints cannot be had here; what these folders copy is their layout: names, shards, index,
config fields and a byte-pair tokenizer with the added tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from tubelet.model.pixelrefer.config import PixelReferConfig, write_config
from tubelet.model.pixelrefer.debug import make_debug_network
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.weights import publish_name

SENTENCES = (
    "There is one object in the video.",
    "Please describe in detail the marked object in the video.",
    "A red car turns left at the junction and then stops behind a white van.",
)


def make_weights(network: PixelRefer) -> dict[str, Tensor]:
    """A network's tensors under their published names, with the unused ones that published files carry."""
    config = network.config
    tensors = {publish_name(name): tensor.clone() for name, tensor in network.state_dict().items()}
    if config.is_lite:
        tensors["model.region_encoder.mask_embedding.weight"] = torch.zeros(config.vision_width, 1, 1, 1)
        tensors["model.region_encoder.mask_embedding.bias"] = torch.zeros(config.vision_width)
        tensors["model.mm_projector.readout.0.weight"] = torch.zeros(config.width, config.vision_width)
        tensors["model.mm_projector.readout.0.bias"] = torch.zeros(config.width)
        tensors["model.mm_projector.readout.2.weight"] = torch.zeros(config.width, config.width)
        tensors["model.mm_projector.readout.2.bias"] = torch.zeros(config.width)
    return tensors


def make_byte_pair_tokenizer(*, added: Sequence[str] = ("<REGION>", "<image>")) -> Tokenizer:
    """A tokenizer of Qwen2's kind, trained on a few sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True) for token in ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *added)]
    )
    return tokenizer


def write_folder(
    folder: Path,
    config: PixelReferConfig,
    tensors: Mapping[str, Tensor],
    *,
    num_shards: int = 1,
    pickled: bool = False,
    config_changes: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint folder, sharded with an index where there is more than one file."""
    folder.mkdir(parents=True, exist_ok=True)
    published, preprocessor = write_config(config)
    published |= config_changes or {}
    published = {name: value for name, value in published.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(published))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    make_byte_pair_tokenizer().save(str(folder / "tokenizer.json"))
    stem, suffix = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    names = sorted(tensors)
    weight_map = {}
    for number in range(num_shards):
        shard = (
            f"{stem}.{suffix}" if num_shards == 1 else f"{stem}-{number + 1:05}-of-{num_shards:05}.{suffix}"
        )
        part = {name: tensors[name].contiguous() for name in names[number::num_shards]}
        weight_map |= dict.fromkeys(part, shard)
        if pickled:
            torch.save(part, folder / shard)
        else:
            save_file(part, folder / shard)
    if num_shards > 1:
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def make_folder(folder: Path, config: PixelReferConfig, **options: Any) -> tuple[Path, PixelRefer]:
    """A folder with the weights of a random network, and that network."""
    network = make_debug_network(config=config, paradigm=config.paradigm)
    return write_folder(folder, config, make_weights(network), **options), network
