"""A small tokenizer for models trained here: byte-level BPE with Qwen2.5's chat tokens.

Any text can be written with it: what has no token of its own is spelt in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tubelet.model.pixelrefer.prompts import (
    REGION_TOKEN,
    SCENE_TOKEN,
    TURN_END,
    TURN_START,
    PromptTokenizer,
)

VOCAB_SIZE = 4096
TEXT_END = "<|endoftext|>"
SPECIAL_TOKENS = (TEXT_END, TURN_START, TURN_END, REGION_TOKEN, SCENE_TOKEN)

PIECES = (
    r"\.\d"  # tenths of a second stay together
    r"| ?\d"
    r"|(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How text is cut before merging, after Qwen2.5: digits one by one, words with the sign before them."""


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = VOCAB_SIZE) -> PromptTokenizer:
    """Learn merges from texts; the same texts give the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PromptTokenizer(tokenizer)


def iterate_english() -> Iterator[str]:
    """General English that every Python carries: the language's own reference, paragraph by paragraph."""
    from pydoc_data.topics import topics

    for name in sorted(topics):
        for paragraph in topics[name].split("\n\n"):
            words = paragraph.split()
            is_prose = len(words) > 12 and sum(word.isalpha() for word in words) > 0.7 * len(words)
            if is_prose:
                yield " ".join(words)


def iterate_times(generator: np.random.Generator, count: int) -> Iterator[str]:
    """The times that a video's prompt holds, so that their pieces are tokens."""
    for start_s in generator.uniform(0, 600, count):
        yield f"[Time {start_s:.1f}:{REGION_TOKEN},Time {start_s + 0.5:.1f}:{REGION_TOKEN}]"
