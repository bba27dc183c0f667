"""Whether an object looks like what a captioner was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tubelet.errors import InputError, ModelError
from tubelet.model.describing.base import Looks
from tubelet.model.describing.domain import DOMAIN_FILE, Domain, fit_domain, read_domain

NAME = "eyes@1"
AXES = np.eye(20, dtype=np.float32)[:4]


def draw(count: int, seed: int, *, off: float = 0.05) -> np.ndarray:
    """Vectors near four axes of twenty."""
    generator = np.random.default_rng(seed)
    near = generator.normal(size=(count, 4)) @ AXES
    return (near + generator.normal(scale=off, size=(count, 20))).astype(np.float32)


def name(vectors: np.ndarray) -> list[str]:
    """What is called what: by where it lies along the first two axes."""
    return [("cat", "dog", "cow")[(x > 0) * (1 + (y > 0))] for x, y, *_ in vectors]


@pytest.fixture
def domain() -> Domain:
    return fit_domain(NAME, draw(200, 0), name(draw(200, 0)), draw(99, 1), num_axes=4)


def look(vector: np.ndarray) -> Looks:
    return Looks(NAME, tuple(vector.tolist()))


def rank(domain: Domain, vectors: np.ndarray) -> np.ndarray:
    return np.array([domain.rank(look(vector)) for vector in vectors])


def test_ranks_are_uniform_at_home_and_least_elsewhere(domain: Domain) -> None:
    at_home = rank(domain, draw(400, 2))
    assert np.quantile(at_home, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.12)
    assert rank(domain, draw(50, 3, off=0.5)) == pytest.approx(0.01)  # one in a hundred: less than all 99
    assert rank(domain, domain.mean_D[None]) == pytest.approx(1.0)


def test_what_is_like_no_one_thing_is_less_familiar(domain: Domain) -> None:
    for vector in draw(50, 6):
        naming = domain.name(look(vector))
        assert naming is not None
        assert domain.measure(look(vector)) == pytest.approx(rank(domain, vector[None])[0] * naming.score)


def test_nothing_is_said_of_what_another_recogniser_saw(domain: Domain) -> None:
    assert domain.measure(None) is None
    assert domain.measure(Looks("other@1", (1.0, 2.0))) is None
    assert domain.name(None) is None
    assert domain.name(Looks("other@1", (1.0, 2.0))) is None


def test_a_domain_is_read_as_it_was_written(domain: Domain, tmp_path: Path) -> None:
    assert read_domain(tmp_path) is None
    domain.write(tmp_path)
    read = read_domain(tmp_path)
    assert read is not None
    assert read.recogniser == NAME
    vectors = draw(60, 4, off=0.06)
    assert rank(read, vectors) == pytest.approx(rank(domain, vectors), abs=0.011)
    for vector in vectors:
        first, second = (own.name(look(vector)) for own in (read, domain))
        assert first is not None
        assert second is not None
        assert first.category == second.category or first.score < 0.6
        assert first.score == pytest.approx(second.score, abs=0.02)


def test_things_are_named_as_what_looks_like_them_and_scores_are_honest(domain: Domain) -> None:
    vectors = draw(500, 5)
    namings = [domain.name(look(vector)) for vector in vectors]
    given = [naming for naming in namings if naming is not None]
    right = [naming.category == wanted for naming, wanted in zip(given, name(vectors), strict=True)]
    assert np.mean(right) > 0.85
    assert np.mean([naming.score for naming in given]) == pytest.approx(np.mean(right), abs=0.15)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_domain_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / DOMAIN_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=DOMAIN_FILE):
        read_domain(tmp_path)


def test_arrays_that_do_not_fit_are_refused(domain: Domain, tmp_path: Path) -> None:
    domain.write(tmp_path)
    with np.load(tmp_path / DOMAIN_FILE) as arrays:
        parts = dict(arrays)
    np.savez(tmp_path / DOMAIN_FILE, **{key: part for key, part in parts.items() if key != "mean"})
    with pytest.raises(ModelError, match="mean"):
        read_domain(tmp_path)
    for change in ({"mean": parts["mean"][:7]}, {"categories": parts["categories"][:2]}):
        np.savez(tmp_path / DOMAIN_FILE, **{**parts, **change})
        with pytest.raises(ModelError, match=r"\(4, 20\)"):
            read_domain(tmp_path)


def test_too_few_objects_are_refused() -> None:
    with pytest.raises(InputError, match="4 objects"):
        fit_domain(NAME, draw(4, 0), ["cat"] * 4, draw(9, 1), num_axes=4)
