"""Whether an object looks like what a captioner was trained on, and what it is called there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.model.describing.test_facing import make_view
from tests.model.describing.test_facing_reader import make_reader as make_facing
from tests.model.describing.test_kinds import make_kinds
from tubelet.errors import InputError, ModelError
from tubelet.model.describing.base import Looks, Naming
from tubelet.model.describing.colour import COLOUR_NAMES
from tubelet.model.describing.domain import (
    DOMAIN_FILE,
    SIGHT_TRUST,
    Domain,
    Judgement,
    list_shares,
    read_domain,
)
from tubelet.model.describing.turning import WAYS, TurnReader
from tubelet.model.training.describe.domains import SeenObjects, fit_domain, fit_namer
from tubelet.model.trajectory.shape import NUM_NUMBERS
from tubelet.records import Attributes

NAME = "eyes@1"
AXES = np.eye(20, dtype=np.float32)[:4]
NUM_FEATURES = 3
RED = Attributes(("red",), (0.7,), "medium")


def draw(count: int, seed: int, *, off: float = 0.05) -> np.ndarray:
    """Vectors near four axes of twenty."""
    generator = np.random.default_rng(seed)
    near = generator.normal(size=(count, 4)) @ AXES
    return (near + generator.normal(scale=off, size=(count, 20))).astype(np.float32)


def see(count: int, seed: int) -> np.ndarray:
    """What the captioner's encoder makes of as many objects."""
    return np.random.default_rng([seed, 1]).normal(size=(count, NUM_FEATURES)).astype(np.float32)


def name(vectors: np.ndarray, seen: np.ndarray) -> tuple[str, ...]:
    """What is called what: by where it lies along the first axis, and by the first feature."""
    return tuple(
        ("cat", "dog", "cow")[(x > 0) * (1 + (y > 0))] for x, y in zip(vectors[:, 0], seen[:, 0], strict=True)
    )


def paint(seen: np.ndarray, shares: np.ndarray) -> tuple[str, ...]:
    """Red where red was measured, else by the second feature."""
    red = COLOUR_NAMES.index("red")
    return tuple(
        "red" if share > 0.5 else "blue" if x > 0 else "white"
        for x, share in zip(seen[:, 1], shares[:, red], strict=True)
    )


def measure(count: int, seed: int) -> np.ndarray:
    """Shares of colours: half of the objects are red."""
    shares = np.zeros((count, len(COLOUR_NAMES)), np.float32)
    shares[:, COLOUR_NAMES.index("red")] = np.random.default_rng([seed, 2]).integers(0, 2, count) * 0.8
    return shares


def draw_objects(count: int, seed: int) -> SeenObjects:
    vectors, seen, shares = draw(count, seed), see(count, seed), measure(count, seed)
    return SeenObjects(NAME, vectors, seen, shares, name(vectors, seen), paint(seen, shares))


@pytest.fixture
def domain() -> Domain:
    return fit_domain(draw_objects(400, 0), draw(99, 1), make_reader(), num_axes=4)


def make_reader() -> TurnReader:
    """Says left where a shape's first number is positive, else right."""
    first = np.zeros((NUM_NUMBERS, 2), np.float32)
    first[0] = (1, -1)
    last = np.zeros((2, len(WAYS)), np.float32)
    last[0, WAYS.index("left")] = last[1, WAYS.index("right")] = 9
    biases = (np.zeros(2, np.float32), np.zeros(2, np.float32), np.zeros(len(WAYS), np.float32))
    return TurnReader((first, np.eye(2, dtype=np.float32), last), biases)


def look(vector: np.ndarray) -> Looks:
    return Looks(NAME, tuple(vector.tolist()))


def judge_all(domain: Domain, objects: SeenObjects) -> list[Judgement]:
    """What the domain makes of each object."""
    judged = []
    for vector, seen, shares in zip(objects.looks_ND, objects.seen_NC, objects.shares_NP, strict=True):
        own = [(word, float(share)) for word, share in zip(COLOUR_NAMES, shares, strict=True) if share]
        attributes = Attributes(tuple(word for word, _ in own), tuple(share for _, share in own), "small")
        told = domain.judge(look(vector), seen, attributes, None)
        assert told is not None
        judged.append(told)
    return judged


def rank(domain: Domain, vectors: np.ndarray) -> np.ndarray:
    return np.array([domain.rank(look(vector)) for vector in vectors])


def test_ranks_are_uniform_at_home_and_least_elsewhere(domain: Domain) -> None:
    at_home = rank(domain, draw(400, 2))
    assert np.quantile(at_home, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.12)
    assert rank(domain, draw(50, 3, off=0.5)) == pytest.approx(0.01)  # one in a hundred: less than all 99
    assert rank(domain, domain.mean_D[None]) == pytest.approx(1.0)


def test_what_is_like_no_one_thing_is_less_familiar(domain: Domain) -> None:
    objects = draw_objects(50, 6)
    for vector, judged in zip(objects.looks_ND, judge_all(domain, objects), strict=True):
        assert judged.familiarity == pytest.approx(rank(domain, vector[None])[0] * judged.category.score)


def test_nothing_is_said_of_what_another_recogniser_saw(domain: Domain) -> None:
    seen = see(1, 0)[0]
    for looks in (None, Looks("other@1", (1.0, 2.0))):
        assert domain.judge(looks, seen, RED, None) is None
        assert domain.rank(looks) is None


def test_a_turn_is_read_from_the_path_where_there_is_one(domain: Domain) -> None:
    for value, name in ((2.0, "left"), (-2.0, "right")):
        judged = domain.judge(look(domain.mean_D), see(1, 0)[0], RED, np.full(NUM_NUMBERS, value, np.float32))
        assert judged is not None
        assert judged.way is not None
        assert judged.way.name == name
        assert judged.way.score > 0.99
    judged = domain.judge(look(domain.mean_D), see(1, 0)[0], RED, None)
    assert judged is not None
    assert judged.way is None


def test_a_way_is_seen_where_the_domain_can_see_it(domain: Domain, tmp_path: Path) -> None:
    """By views and path together, by the path alone where there are no views; it is kept with the domain."""
    seeing = replace(domain, facing=make_facing())
    seeing.write(tmp_path)
    read = read_domain(tmp_path)
    assert read is not None
    assert read.facing is not None
    shape = np.full(NUM_NUMBERS, 2.0, np.float32)
    views = [make_view(float(time)) for time in range(3)]
    for own in (seeing, read):
        told = [
            judged.way
            for given in ((), views)
            if (judged := own.judge(look(domain.mean_D), see(1, 0)[0], RED, shape, given)) is not None
        ]
        assert told[0] == domain.turns.read(shape) or own is read
        assert told[0] is not None
        assert told[0].name == "left"
        assert told[1] is not None
        assert told[1] != told[0]
        assert told[1].name == (make_facing().read(views, shape, domain.turns.share(shape)) or told[0]).name


def test_a_category_is_seen_where_the_domain_can_see_it(domain: Domain, tmp_path: Path) -> None:
    """By looks, features and sights together; familiarity is by looks and features alone."""
    names = domain.categories.names
    seeing = replace(domain, kinds=make_kinds(names, seed=3))
    seeing.write(tmp_path)
    read = read_domain(tmp_path)
    views = [make_view(float(time)) for time in range(3)]
    alone = domain.judge(look(domain.mean_D), see(1, 0)[0], RED, None, views)
    assert alone is not None
    for own in (seeing, read):
        assert own is not None
        assert own.kinds is not None
        judged = own.judge(look(domain.mean_D), see(1, 0)[0], RED, None, views)
        assert judged is not None
        assert judged.familiarity == pytest.approx(alone.familiarity, abs=0.02)
        weighed = domain.categories.weigh(np.concatenate([domain.mean_D, see(1, 0)[0]]))
        told = own.kinds.weigh(views, names)
        assert told is not None
        assert judged.category.name == names[int((weighed + SIGHT_TRUST * told).argmax())]
    assert seeing.judge(look(domain.mean_D), see(1, 0)[0], RED, None) == domain.judge(
        look(domain.mean_D), see(1, 0)[0], RED, None
    )


def test_kinds_that_lack_a_category_of_the_domain_are_refused(domain: Domain, tmp_path: Path) -> None:
    replace(domain, kinds=make_kinds(("submarine",))).write(tmp_path)
    with pytest.raises(ModelError, match="submarine"):
        read_domain(tmp_path)


def test_shares_are_told_of_every_name() -> None:
    assert sum(list_shares(RED)) == pytest.approx(0.7)
    assert list_shares(RED)[COLOUR_NAMES.index("red")] == pytest.approx(0.7)
    assert list_shares(Attributes((), (), "small")) == [0.0] * len(COLOUR_NAMES)


def test_a_domain_is_read_as_it_was_written(domain: Domain, tmp_path: Path) -> None:
    assert read_domain(tmp_path) is None
    domain.write(tmp_path)
    read = read_domain(tmp_path)
    assert read is not None
    assert (read.recogniser, read.num_features) == (NAME, NUM_FEATURES)
    objects = draw_objects(60, 4)
    assert rank(read, objects.looks_ND) == pytest.approx(rank(domain, objects.looks_ND), abs=0.011)
    for first, second in zip(judge_all(read, objects), judge_all(domain, objects), strict=True):
        for one, other in ((first.category, second.category), (first.colour, second.colour)):
            assert one.name == other.name or one.score < 0.6
            assert one.score == pytest.approx(other.score, abs=0.02)


def test_things_are_named_as_what_looks_like_them_and_scores_are_honest(domain: Domain) -> None:
    objects = draw_objects(500, 5)
    judged = judge_all(domain, objects)
    told: list[tuple[list[Naming], tuple[str, ...]]] = [
        ([own.category for own in judged], objects.categories),
        ([own.colour for own in judged], objects.colours),
    ]
    for given, wanted in told:
        right = [naming.name == word for naming, word in zip(given, wanted, strict=True)]
        assert np.mean(right) > 0.85
        assert np.mean([naming.score for naming in given]) == pytest.approx(np.mean(right), abs=0.15)


def test_names_do_not_depend_on_the_numbers_scale() -> None:
    """A number that is a thousand times as large, or moved, tells as much."""
    objects = draw_objects(300, 7)
    plain = fit_namer(objects.looks_ND, objects.categories)
    scaled = fit_namer(objects.looks_ND * 1000 + 50, objects.categories)
    for vector in draw(40, 8):
        first, second = plain.name(vector), scaled.name(vector * 1000 + 50)
        assert first.score == pytest.approx(second.score, abs=0.02)


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
    for change in (
        {"mean": parts["mean"][:7]},
        {"categories": parts["categories"][:2]},
        {"colour_weights": parts["colour_weights"][:5]},
        {"turn_weights_1": parts["turn_weights_1"][:, :1]},
    ):
        np.savez(tmp_path / DOMAIN_FILE, **{**parts, **change})
        with pytest.raises(ModelError, match="do not fit together"):
            read_domain(tmp_path)


def test_too_few_objects_are_refused() -> None:
    with pytest.raises(InputError, match="4 objects"):
        fit_domain(draw_objects(4, 0), draw(9, 1), make_reader(), num_axes=4)
