"""Files of weights, as checkpoints are published: safetensors or `pytorch_model.bin`, whole or sharded.

Pickles are read as tensors and nothing else. What differs between a file and a network is told by name.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tubelet.errors import ModelError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")

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


def compare_shapes(
    wanted: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    *,
    ignored: Callable[[str], bool] = lambda _: False,
) -> NameReport:
    """Compare a network's tensors with a checkpoint's by name and shape, both ways."""
    return NameReport(
        missing=tuple(sorted(wanted.keys() - found.keys())),
        unexpected=tuple(sorted(name for name in found.keys() - wanted.keys() if not ignored(name))),
        misshapen=tuple(
            f"{name}: {found[name]} for {wanted[name]}"
            for name in sorted(wanted.keys() & found.keys())
            if found[name] != wanted[name]
        ),
    )


def find_weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, through the index where they are sharded."""
    for name in WEIGHT_FILES:
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = sorted(set(read_json(index)["weight_map"].values()))
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


def _unpickle(file: Path) -> dict[str, Tensor]:
    """Read a pickled file of tensors; anything else in it is refused, never run."""
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
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
            f"The weights file {file} cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}",
            expected="a whole file that holds tensors and nothing else",
            do="copy or pull the checkpoint again",
        ) from error


def read_json(file: Path) -> dict[str, Any]:
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
