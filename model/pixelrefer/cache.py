"""Keys and values of the prompts being decoded: a fixed number of rows, each filled to its own length.

B rows    S positions    H key-value heads    W head width    T new positions of a call
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tubelet.model.pixelrefer.network import PixelRefer


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """Keys and values of words that several prompts begin with, one (H, P, W) for each layer."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def num_positions(self) -> int:
        return self.keys[0].shape[1]


class RowCache:
    """The decoder's cache. `open` names the rows and positions that the next forward pass writes."""

    def __init__(self, network: PixelRefer, num_rows: int, num_positions: int) -> None:
        config = network.config
        shape = (num_rows, config.num_kv_heads, num_positions, config.head_width)
        self._keys = [
            torch.zeros(shape, dtype=network.dtype, device=network.device) for _ in range(config.num_layers)
        ]
        self._values = [torch.zeros_like(keys) for keys in self._keys]
        self._rows = slice(0, 0)
        self._span = 0
        self._write_BT: tuple[Tensor, Tensor] | None = None

    def open(self, rows: slice, position_BT: Tensor, span: int) -> None:
        """Prepare a pass over `rows` that writes at `position_BT` and sees the first `span` positions."""
        self._rows, self._span = rows, span
        self._write_BT = (torch.arange(len(position_BT), device=position_BT.device)[:, None], position_BT)

    def update(self, key_BHTW: Tensor, value_BHTW: Tensor, layer: int, **_: Any) -> tuple[Tensor, Tensor]:
        """Called by every layer of the decoder: store what is new, return all that the rows hold.

        `transformers` 5.24 also hands over the layer's own keywords, for caches that want them.
        """
        assert self._write_BT is not None, "open() comes before the forward pass"
        row_B1, position_BT = self._write_BT
        keys, values = self._keys[layer][self._rows], self._values[layer][self._rows]
        keys[row_B1, :, position_BT] = key_BHTW.transpose(1, 2).to(keys.dtype)  # autocast narrows them
        values[row_B1, :, position_BT] = value_BHTW.transpose(1, 2).to(values.dtype)
        return keys[:, :, : self._span], values[:, :, : self._span]

    def copy_prefix(self, rows: slice, prefix: SharedPrefix) -> None:
        """Begin `rows` with the keys and values of a prefix."""
        end = prefix.num_positions
        for layer, (keys, values) in enumerate(zip(prefix.keys, prefix.values, strict=True)):
            self._keys[layer][rows, :, :end] = keys
            self._values[layer][rows, :, :end] = values

    def take_prefix(self, row: int, num_positions: int) -> SharedPrefix:
        """The first positions of a row, as a prefix for others."""
        return SharedPrefix(
            tuple(keys[row, :, :num_positions].clone() for keys in self._keys),
            tuple(values[row, :, :num_positions].clone() for values in self._values),
        )

    def move_row(self, source: int, target: int, num_positions: int) -> None:
        """Overwrite row `target` with the first positions of row `source`."""
        for store in (*self._keys, *self._values):
            store[target, :, :num_positions] = store[source, :, :num_positions]


def measure_row_bytes(network: PixelRefer, num_positions: int) -> int:
    """Bytes that one row of `num_positions` takes in the cache."""
    config = network.config
    width = config.num_kv_heads * config.head_width
    return 2 * config.num_layers * width * num_positions * network.dtype.itemsize
