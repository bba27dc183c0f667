"""What way an object takes, by which way it faces in its views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.describing.test_facing import make_network, make_view
from tubelet.errors import ModelError
from tubelet.model.describing.facing import HEADINGS_RAD, MIRRORED_HEADINGS, NUM_HEADINGS, face
from tubelet.model.describing.facing_reader import (
    FACING_FILE,
    NUM_NUMBERS,
    TURNS_DEG,
    FacingReader,
    mirror_way,
    read_facing,
    tell_way,
    weigh_turns,
)
from tubelet.model.describing.sights import PLACE_MIRROR, SIGHT_PX
from tubelet.model.describing.turning import WAYS
from tubelet.model.trajectory.shape import NUM_NUMBERS as NUM_SHAPE_NUMBERS
from tubelet.model.trajectory.shape import NUM_SAMPLES, mirror_shape

PATH_W = np.array([0.1, 0.3, 0.1, 0.3, 0.2], np.float32)


def see(facing_rad: np.ndarray, *, doubt: float = 0.0) -> np.ndarray:
    """Shares of headings around the true ones, some of them on the opposite one."""
    near = np.exp(20 * np.cos(facing_rad[:, None] - HEADINGS_RAD))
    shares = near / near.sum(axis=1, keepdims=True)
    turned = np.roll(shares, NUM_HEADINGS // 2, axis=1)
    return ((1 - doubt) * shares + doubt * turned).astype(np.float32)


def turn_by(degrees: float, times: np.ndarray, *, begin: float = 0.7, middle: float = 0.5) -> np.ndarray:
    """Which way something faces that turns by so much within half of the time, in radians."""
    past = (times - times[0]) / (times[-1] - times[0])
    return begin + np.radians(degrees) * np.clip((past - middle) / 0.5 + 0.5, 0, 1)


def make_reader(seed: int = 0) -> FacingReader:
    """Random weights, large enough that the ways differ."""
    generator = np.random.default_rng(seed)
    sizes = ((NUM_NUMBERS, 12), (12, len(WAYS)))
    return FacingReader(
        make_network(seed),
        tuple(generator.normal(size=size).astype(np.float32) for size in sizes),
        tuple(generator.normal(size=size[1]).astype(np.float32) for size in sizes),
    )


@given(
    st.sampled_from([-180, -90, -60, 0, 60, 90, 180]),
    st.floats(0, 2 * np.pi),
    st.floats(0.3, 0.7),
    st.integers(5, 9),
    st.floats(0, 0.3),
)
def test_the_turn_that_was_made_is_the_likeliest(
    degrees: int, begin: float, middle: float, num_views: int, doubt: float
) -> None:
    times = np.linspace(3.0, 7.0, num_views)
    turns = weigh_turns(see(turn_by(degrees, times, begin=begin, middle=middle), doubt=doubt), times)
    assert turns.sum() == pytest.approx(1, abs=1e-5)
    assert abs(int(TURNS_DEG[turns.argmax()]) - degrees) <= 30


@given(st.integers(2, 8), st.integers(0, 10_000))
def test_in_a_mirror_turns_are_mirrored(num_views: int, seed: int) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.ones(NUM_HEADINGS), num_views).astype(np.float32)
    times = np.sort(np.random.default_rng(seed).uniform(0, 5, num_views))
    turns = weigh_turns(shares, times)
    assert weigh_turns(shares[:, MIRRORED_HEADINGS], times)[::-1] == pytest.approx(turns, abs=1e-5)


def test_views_that_tell_nothing_tell_no_turn() -> None:
    even = np.full((6, NUM_HEADINGS), 1 / NUM_HEADINGS, np.float32)
    assert weigh_turns(even, np.arange(6.0)) == pytest.approx(1 / len(TURNS_DEG))
    once = weigh_turns(see(np.array([1.0])), np.array([2.0]))
    assert once.sum() == pytest.approx(1, abs=1e-5)


def test_one_view_that_errs_by_half_a_turn_does_not_make_one() -> None:
    times = np.arange(7.0)
    facing = np.full(7, 2.0)
    facing[3] += np.pi
    turns = weigh_turns(see(facing), times)
    assert TURNS_DEG[turns.argmax()] == 0


def test_what_tells_a_way_is_mirrored_with_it() -> None:
    turns = np.random.default_rng(0).dirichlet(np.ones(len(TURNS_DEG))).astype(np.float32)
    places = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    told = tell_way(PATH_W, turns, 0.3, places)
    assert told.shape == (NUM_NUMBERS,)
    mirrored_path = PATH_W[[WAYS.index(way) for way in ("right", "left", "u", "none", "still")]]
    again = tell_way(mirrored_path, turns[::-1], -0.3, places * PLACE_MIRROR)
    assert mirror_way(told) == pytest.approx(again, abs=1e-5)
    assert mirror_way(mirror_way(told)) == pytest.approx(told)


def test_a_way_is_read_and_in_a_mirror_it_is_mirrored() -> None:
    reader = make_reader()
    views = [make_view(float(time), left=5 * time) for time in range(6)]
    mirrored = [make_view(float(time), left=5 * time, mirrored=True) for time in range(6)]
    shape = np.random.default_rng(5).normal(size=NUM_SHAPE_NUMBERS).astype(np.float32)
    shape[[0, NUM_SAMPLES - 1]] = -0.2, 0.3
    one = reader.read(views, shape, PATH_W)
    swapped = PATH_W[[1, 0, 2, 3, 4]]
    other = reader.read(mirrored, mirror_shape(shape), swapped)
    assert one is not None
    assert other is not None
    assert other.name == {"left": "right", "right": "left"}.get(one.name, one.name)
    assert other.score == pytest.approx(one.score, abs=0.1)


def test_nothing_is_read_where_too_little_is_seen() -> None:
    reader, shape = make_reader(), np.zeros(NUM_SHAPE_NUMBERS, np.float32)
    view = make_view(0.0)
    assert reader.read([view], shape, PATH_W) is None
    assert reader.read([view, replace(view, frame_size=None)], shape, PATH_W) is None


def test_a_reader_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_facing(tmp_path) is None
    reader = make_reader()
    reader.write(tmp_path)
    again = read_facing(tmp_path)
    assert again is not None
    numbers = np.random.default_rng(0).normal(size=NUM_NUMBERS).astype(np.float32)
    one, other = reader.judge(numbers), again.judge(numbers)
    assert (other.name, other.score) == (one.name, pytest.approx(one.score, abs=0.02))
    pictures = np.random.default_rng(1).integers(0, 255, (3, SIGHT_PX, SIGHT_PX, 4), dtype=np.uint8)
    places = np.zeros((3, 6), np.float32)
    assert face(again.network, pictures, places) == pytest.approx(
        face(reader.network, pictures, places), abs=0.01
    )


@pytest.mark.parametrize("content", [b"", b"not tensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_holds_no_reader_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FACING_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=FACING_FILE):
        read_facing(tmp_path)


def test_a_reader_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    reader = make_reader()
    for broken in (
        replace(reader, weights=(reader.weights[0][1:], reader.weights[1])),
        replace(reader, weights=reader.weights[:1], biases=reader.biases[:1]),
        replace(reader, weights=(), biases=()),
    ):
        broken.write(tmp_path)
        with pytest.raises(ModelError, match=FACING_FILE):
            read_facing(tmp_path)
