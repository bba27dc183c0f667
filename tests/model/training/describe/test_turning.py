"""Which way a path takes, learnt from traced clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.model.training.describe.conftest import PLAN, SPEC
from tubelet.errors import InputError
from tubelet.model.describing.turning import WAYS
from tubelet.model.training.describe.pool import PoolPlan
from tubelet.model.training.describe.turning import Examples, fit_turns, gather_turns
from tubelet.model.training.world import ClipSpec, trace_clip
from tubelet.model.trajectory.shape import NUM_SAMPLES, mirror_shape

TRACED = ClipSpec(num_frames=16, frame_rate=4.0, width=320, height=180, theme="traffic")


@pytest.fixture(scope="module")
def examples() -> Examples:
    return gather_turns(PoolPlan(120, (TRACED,), first_seed=7), trace_clip)


def test_every_stretch_is_told_with_its_mirror_image(examples: Examples) -> None:
    shapes, ways = examples
    names = [WAYS[turn] for turn in ways]
    mirrored = {"left": "right", "right": "left"}
    assert [mirrored.get(name, name) for name in names[::2]] == names[1::2]
    assert names.count("left") == names.count("right") > 10
    first, second = shapes[::2], shapes[1::2]
    assert np.array([mirror_shape(shape) for shape in first]) == pytest.approx(second, abs=1e-2)
    assert first[:, :NUM_SAMPLES] == pytest.approx(-second[:, :NUM_SAMPLES], abs=1e-3)  # across
    assert first[:, NUM_SAMPLES : 2 * NUM_SAMPLES] == pytest.approx(
        second[:, NUM_SAMPLES : 2 * NUM_SAMPLES], abs=1e-3
    )  # down


def test_turns_are_learnt(examples: Examples) -> None:
    """Unseen paths are told better than by always saying straight; the same seed gives the same reader."""
    few = examples[0][:200], examples[1][:200]
    one, again = (fit_turns(few, seed=1) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one.weights, again.weights, strict=True))
    reader = fit_turns(examples, seed=1)
    shapes, ways = gather_turns(PoolPlan(30, (TRACED,), first_seed=7000), trace_clip)
    told = np.array([WAYS.index(reader.read(shape).name) for shape in shapes])
    straight = np.mean(ways == WAYS.index("none"))
    assert np.mean(told == ways) > straight + 0.4 * (1 - straight)
    mirrored = {"left": "right", "right": "left"}
    for shape in shapes[:40]:
        way, other = reader.read(shape), reader.read(mirror_shape(shape))
        assert other.name == mirrored.get(way.name, way.name)
        assert other.score == pytest.approx(way.score, abs=1e-5)
    scores = [reader.read(shape).score for shape in shapes]
    assert min(scores) >= 0.25
    assert max(scores) <= 1


def test_clips_in_which_nothing_moves_for_long_are_refused() -> None:
    short = replace(PLAN, num_clips=2, specs=(replace(SPEC, num_frames=1),))
    with pytest.raises(InputError, match="moves for long enough"):
        gather_turns(short, trace_clip)
