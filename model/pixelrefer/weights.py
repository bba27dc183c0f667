"""Checkpoints: the published layout in, the same layout out.

A folder holds `config.json`, a tokenizer and weights, as one or several safetensors files or as
`pytorch_model.bin` files, which are unpickled as tensors and nothing else. Names must match both ways.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tubelet.errors import ModelError
from tubelet.model.pixelrefer.config import PixelReferConfig, read_config, write_config
from tubelet.model.pixelrefer.network import PixelRefer, make_empty
from tubelet.model.pixelrefer.prompts import PromptTokenizer
from tubelet.model.weight_files import (
    NameReport,
    compare_shapes,
    find_weight_files,
    iterate_tensors,
    read_json,
    read_shapes,
)

PUBLISHED_PREFIXES = (
    ("vision.", "model.vision_encoder.vision_encoder."),
    ("region_encoder.", "model.region_encoder."),
    ("scene_projector.", "model.mm_projector.readout."),
    ("lm_head.", "lm_head."),
    ("decoder.", "model."),
)
"""Our names and the published ones, most particular first."""

UNUSED_IN_BOTH = ("model.region_encoder.mask_embedding.",)
UNUSED_IN_LITE = ("model.mm_projector.",)
"""Weights that the published checkpoints carry and their forward pass never reads. They are not loaded."""

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def load_checkpoint(
    folder: Path, *, device: torch.device | str, dtype: torch.dtype, attention: str = "sdpa"
) -> tuple[PixelRefer, PromptTokenizer]:
    """Load a network, with its weights on `device` in `dtype`, and its tokenizer.

    Weights pass through one at a time, so no second copy of the model is ever in memory. Raises ModelError
    when the folder is incomplete, of an unknown kind, damaged, or its names or shapes do not match.
    """
    return load_network(folder, device=device, dtype=dtype, attention=attention), PromptTokenizer.read(folder)


def load_network(
    folder: Path, *, device: torch.device | str, dtype: torch.dtype, attention: str = "sdpa"
) -> PixelRefer:
    """As `load_checkpoint`, for a folder that needs no tokenizer."""
    device = torch.device(device)
    files = find_weight_files(folder)
    shapes = read_shapes(files)
    config = read_folder_config(folder, shapes)
    network = make_empty(config, device, attention=attention)
    report = compare_names(network, shapes)
    if not report.is_clean:
        raise ModelError(
            f"The weights in {folder} do not fit their config.json: {report}",
            expected="exactly the tensors of the published model",
            do="take config.json and weights from the same checkpoint",
        )
    own_names = {publish_name(name): name for name in network.state_dict()}
    weights: dict[str, Tensor] = {}
    stray_head: Tensor | None = None
    for name, tensor in iterate_tensors(files):
        if name in own_names:
            weights[own_names[name]] = tensor.to(device=device, dtype=dtype)
        elif name == HEAD:
            stray_head = tensor.to(device=device, dtype=dtype)
    if stray_head is not None and not torch.equal(stray_head, weights["decoder.embed_tokens.weight"]):
        raise ModelError(
            f"{HEAD} in {folder} differs from the embedding, though config.json ties them",
            expected="equal tensors, or tie_word_embeddings: false",
            do="correct tie_word_embeddings in config.json",
        )
    network.load_state_dict(weights, strict=True, assign=True)
    return network.requires_grad_(False).eval()


def save_checkpoint(folder: Path, network: PixelRefer, tokenizer: PromptTokenizer) -> None:
    """Write a folder that `load_checkpoint` reads: one safetensors file, configs and tokenizer.

    The weights are put in place last and in one step, so a folder with weights is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    published, preprocessor = write_config(network.config)
    for name, content in (("config.json", published), ("preprocessor_config.json", preprocessor)):
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    tokenizer.write(folder)
    tensors = {
        publish_name(name): tensor.detach().contiguous() for name, tensor in network.state_dict().items()
    }
    unfinished = folder / ".model.safetensors.part"
    save_file(tensors, unfinished, metadata={"format": "pt"})
    os.replace(unfinished, folder / "model.safetensors")


def publish_name(name: str) -> str:
    """The published name of one of our tensors."""
    for own, published in PUBLISHED_PREFIXES:
        if name.startswith(own):
            return published + name.removeprefix(own)
    raise AssertionError(f"{name} belongs to no part of the network")


def compare_names(network: PixelRefer, shapes: Mapping[str, tuple[int, ...]]) -> NameReport:
    """Compare the network's tensors with a checkpoint's, both ways."""
    wanted = {publish_name(name): tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    unused = UNUSED_IN_BOTH + (UNUSED_IN_LITE if network.config.is_lite else ())
    tied = {HEAD} if network.config.tied_embeddings else set()
    return compare_shapes(wanted, shapes, ignored=lambda name: name in tied or name.startswith(unused))


def digest_weights(files: list[Path], beside: Sequence[Path] = ()) -> str:
    """A version for these weights, from two small tensors that every training moves, and for what is read
    `beside` them, whole."""
    digest = hashlib.blake2b(digest_size=4)
    for wanted in ("model.region_encoder.feat_linear.2.bias", "model.norm.weight"):
        for name, tensor in iterate_tensors(files, only=wanted):
            digest.update(name.encode() + tensor.float().numpy().tobytes())
    for file in beside:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def read_folder_config(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> PixelReferConfig:
    """The config of a checkpoint folder; what its config.json leaves out comes from the weights' shapes."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"There is no config.json in {folder}",
            expected="the folder of a PixelRefer checkpoint",
            do="name the folder that holds config.json",
        )
    published = read_json(folder / "config.json")
    preprocessor = folder / "preprocessor_config.json"
    generation = folder / "generation_config.json"
    stops = [published.get("eos_token_id")]
    if generation.is_file():
        stops.append(read_json(generation).get("eos_token_id"))
    flat = [stop for found in stops for stop in (found if isinstance(found, list) else [found])]
    return read_config(
        published,
        preprocessor=read_json(preprocessor) if preprocessor.is_file() else None,
        stop_ids=tuple(dict.fromkeys(stop for stop in flat if stop is not None)),
        shapes=shapes,
    )
