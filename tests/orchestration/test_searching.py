"""Sentences are embedded once, however often they are asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tubelet.orchestration.searching import SentenceVectors


class CountingEmbedder:
    """A vector of the text's length; remembers what it was asked for."""

    num_dimensions = 2

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return np.array([[len(text), ord(self.name)] for text in texts], dtype=np.float32)


def test_a_sentence_is_embedded_once_by_each_embedder() -> None:
    vectors, first, other = SentenceVectors(), CountingEmbedder("a"), CountingEmbedder("b")
    for _ in range(2):
        assert vectors.get(first, "red car").tolist() == [7, ord("a")]
        assert vectors.get(other, "red car").tolist() == [7, ord("b")]
    assert first.asked == other.asked == ["red car"]
    assert not vectors.get(first, "red car").flags.writeable


def test_the_sentences_asked_longest_ago_are_dropped() -> None:
    vectors, embedder = SentenceVectors(2), CountingEmbedder("a")
    for text in ("one", "two", "one", "three", "one", "two"):
        vectors.get(embedder, text)
    assert embedder.asked == ["one", "two", "three", "two"]
