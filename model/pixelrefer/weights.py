"""Checkpoints: the published layout in, the same layout out.

A folder holds `config.json`, a tokenizer and weights, as one or several safetensors files or as
`pytorch_model.bin` files, which are unpickled as tensors and nothing else. Names must match both ways.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tubelet.errors import ModelError
from tubelet.model.pixelrefer.config import PixelReferConfig, read_config, write_config
from tubelet.model.pixelrefer.network import PixelRefer, make_empty
from tubelet.model.pixelrefer.prompts import PromptTokenizer

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
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class NameReport:
    """How a checkpoint's tensors differ from the network's, by published name."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        return not (self.missing or self.unexpected or self.misshapen)

    def __str__(self) -> str:
        parts = (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", self.misshapen),
        )
        return "; ".join(f"{len(names)} {kind} ({_summarise(names)})" for kind, names in parts if names)


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
    return NameReport(
        missing=tuple(sorted(wanted.keys() - shapes.keys())),
        unexpected=tuple(
            sorted(name for name in shapes.keys() - wanted.keys() - tied if not name.startswith(unused))
        ),
        misshapen=tuple(
            f"{name}: {shapes[name]} for {wanted[name]}"
            for name in sorted(wanted.keys() & shapes.keys())
            if shapes[name] != wanted[name]
        ),
    )


def find_weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, through the index where they are sharded."""
    for name in WEIGHT_FILES:
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = sorted(set(_read_json(index)["weight_map"].values()))
            missing = [shard for shard in shards if not (folder / shard).is_file()]
            if missing:
                raise ModelError(
                    f"{folder} lacks {len(missing)} of {len(shards)} weight files: {', '.join(missing)}",
                    expected=f"every file that {index.name} names",
                    do="copy or pull the checkpoint again",
                )
            return [folder / shard for shard in shards]
        if (folder / name).is_file():
            return [folder / name]
    raise ModelError(
        f"There are no weights in {folder}",
        expected="model.safetensors or pytorch_model.bin, or an index of several such files",
        do="name the folder of a checkpoint",
    )


def read_shapes(files: list[Path]) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors by name, without reading the tensors of safetensors files."""
    return {name: shape for file in files for name, shape, _ in iterate_headers(file)}


def digest_weights(files: list[Path]) -> str:
    """A version for these weights, from two small tensors that every training moves."""
    digest = hashlib.blake2b(digest_size=4)
    for wanted in ("model.region_encoder.feat_linear.2.bias", "model.norm.weight"):
        for name, tensor in iterate_tensors(files, only=wanted):
            digest.update(name.encode() + tensor.float().numpy().tobytes())
    return digest.hexdigest()


def iterate_headers(file: Path) -> Iterator[tuple[str, tuple[int, ...], torch.dtype]]:
    """Name, shape and dtype of every tensor of a file."""
    with _explain_damage(file):
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - not a dict
                    part = opened.get_slice(name)
                    yield name, tuple(part.get_shape()), SAFETENSORS_DTYPES[part.get_dtype()]
        else:
            for name, tensor in _unpickle(file).items():
                yield name, tuple(tensor.shape), tensor.dtype


def iterate_tensors(files: list[Path], *, only: str | None = None) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of every file, or `only` that of one name, on the CPU, one at a time."""
    for file in files:
        with _explain_damage(file):
            if file.suffix == ".safetensors":
                with safe_open(file, framework="pt") as opened:
                    for name in opened.keys():  # noqa: SIM118 - not a dict
                        if only in (None, name):
                            yield name, opened.get_tensor(name)
            else:
                for name, tensor in _unpickle(file).items():
                    if only in (None, name):
                        yield name, tensor


def read_folder_config(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> PixelReferConfig:
    """The config of a checkpoint folder; what its config.json leaves out comes from the weights' shapes."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"There is no config.json in {folder}",
            expected="the folder of a PixelRefer checkpoint",
            do="name the folder that holds config.json",
        )
    published = _read_json(folder / "config.json")
    preprocessor = folder / "preprocessor_config.json"
    generation = folder / "generation_config.json"
    stops = [published.get("eos_token_id")]
    if generation.is_file():
        stops.append(_read_json(generation).get("eos_token_id"))
    flat = [stop for found in stops for stop in (found if isinstance(found, list) else [found])]
    return read_config(
        published,
        preprocessor=_read_json(preprocessor) if preprocessor.is_file() else None,
        stop_ids=tuple(dict.fromkeys(stop for stop in flat if stop is not None)),
        shapes=shapes,
    )


SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def _unpickle(file: Path) -> dict[str, Tensor]:
    """Read a `pytorch_model.bin` as tensors; anything else in it is refused, never run."""
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    tensors = content if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise pickle.UnpicklingError("it holds something other than named tensors")
    return tensors


@contextmanager
def _explain_damage(file: Path) -> Iterator[None]:
    """Turn what the readers raise on a damaged file into ModelError."""
    try:
        yield
    except (SafetensorError, pickle.UnpicklingError, EOFError, OSError, RuntimeError) as error:
        raise ModelError(
            f"The weights file {file} cannot be read: {str(error).splitlines()[0]}",
            expected="a whole file that holds tensors and nothing else",
            do="copy or pull the checkpoint again",
        ) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{file} cannot be read: {error}", expected="a JSON file", do="copy or pull the checkpoint again"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(
            f"{file} holds {type(content).__name__}", expected="a JSON object", do="pull it again"
        )
    return content


def _summarise(names: tuple[str, ...], limit: int = 6) -> str:
    """Some names in full, or, where there are many, how many there are in each part."""
    if len(names) <= limit:
        return ", ".join(names)
    parts = Counter(".".join(name.split(".")[:3]) for name in names)
    shown = [f"{part}.*: {count}" for part, count in parts.most_common(limit)]
    return ", ".join(shown) + (", ..." if len(parts) > limit else "")
