"""An object's tokens as data: small enough to store beside an index, enough to answer later without video.

float16 holds what a model in bfloat16 computes exactly, and what one in float32 computes to 3 digits; int8
keeps one scale a row (the row's largest magnitude over 127) and halves the bytes. The bytes are one
safetensors block, so that any tool can open them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tubelet.errors import InputError
from tubelet.model.pixelrefer.prompts import RegionRows

Precision = Literal["float16", "int8"]

FORMAT = "tubelet-object-tokens-1"


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTokens:
    """T_O of one object: `rows` holds one (tokens, D) a frame; `times_s` is None for an image.

    `model` names the checkpoint that made them: no other one understands them. `seen_C` is the mean vision
    feature of the object's cells over all frames; it is not stored, and None in tokens that were.
    """

    rows: tuple[Tensor, ...]
    times_s: tuple[float, ...] | None
    model: str
    seen_C: Tensor | None = None

    @property
    def vector(self) -> tuple[float, ...]:
        """The mean of all tokens, scaled to length 1: how the object looks, for comparing objects."""
        mean = torch.cat(self.rows).float().mean(dim=0)
        return tuple(torch.nn.functional.normalize(mean, dim=0).tolist())

    def as_rows(self, device: torch.device, dtype: torch.dtype) -> RegionRows:
        """What a prompt is built from, where the model is."""
        return RegionRows(tuple(rows.to(device, dtype) for rows in self.rows), self.times_s)

    def to_cpu(self) -> ObjectTokens:
        """The same tokens, holding no memory of a GPU."""
        seen_C = None if self.seen_C is None else self.seen_C.cpu()
        return ObjectTokens(tuple(rows.cpu() for rows in self.rows), self.times_s, self.model, seen_C)

    def to_bytes(self, precision: Precision = "float16") -> bytes:
        """Pack the tokens: 2 bytes a number, or 1 and 2 a row."""
        tokens = torch.cat(self.rows).float().cpu()
        if precision == "float16":
            tensors = {"tokens": tokens.half()}
        else:
            scale = tokens.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127
            tensors = {"tokens": (tokens / scale).round().to(torch.int8), "scale": scale}
        facts = {
            "format": FORMAT,
            "model": self.model,
            "tokens_a_frame": json.dumps([len(rows) for rows in self.rows]),
            "times_s": json.dumps(self.times_s),
        }
        return save(tensors, metadata=facts)

    @classmethod
    def from_bytes(cls, packed: bytes) -> ObjectTokens:
        """Unpack what `to_bytes` made. Raises InputError for anything else."""
        try:
            tensors = load(packed)
            facts = _read_facts(packed)
            tokens = tensors["tokens"].float()
            if "scale" in tensors:
                tokens = tokens * tensors["scale"]
            counts = json.loads(facts["tokens_a_frame"])
            times_s = json.loads(facts["times_s"])
            rows = tuple(torch.split(tokens, counts))
            if facts["format"] != FORMAT:
                raise ValueError(f"its format is {facts['format']!r}")
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise InputError(
                f"Stored object tokens cannot be read: {error}",
                expected=f"bytes made by ObjectTokens.to_bytes ({FORMAT})",
                do="describe the object again",
            ) from error
        return cls(rows, None if times_s is None else tuple(times_s), facts["model"])


def _read_facts(packed: bytes) -> dict[str, str]:
    """The metadata of a safetensors block: a length in 8 bytes, then a JSON header that holds it."""
    length = int.from_bytes(packed[:8], "little")
    header = json.loads(packed[8 : 8 + length])
    facts: dict[str, str] = header["__metadata__"]
    return facts
