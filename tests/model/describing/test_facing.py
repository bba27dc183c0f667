"""What way an object takes, by which way it faces in its views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tubelet.errors import ModelError
from tubelet.model.describing.base import ObjectView
from tubelet.model.describing.facing import (
    FACING_FILE,
    HEADINGS_RAD,
    MIRRORED_HEADINGS,
    NUM_HEADINGS,
    NUM_NUMBERS,
    PLACE_MIRROR,
    SIGHT_PX,
    TURNS_DEG,
    FacingNetwork,
    FacingReader,
    cut_sight,
    face,
    mirror_way,
    read_facing,
    tell_way,
    weigh_turns,
)
from tubelet.model.describing.turning import WAYS
from tubelet.model.trajectory.shape import NUM_NUMBERS as NUM_SHAPE_NUMBERS
from tubelet.model.trajectory.shape import NUM_SAMPLES, mirror_shape
from tubelet.records import Box

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


def make_view(time_s: float, *, left: int = 20, mirrored: bool = False) -> ObjectView:
    """A car-like thing in a crop of 80 x 60 pixels at (100, 40) of a frame of 320 x 240."""
    generator = np.random.default_rng(int(time_s * 10))
    image = generator.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[20:40, left : left + 36] = True
    crop = Box(100, 40, 180, 100)
    if mirrored:
        image, mask = image[:, ::-1].copy(), mask[:, ::-1].copy()
        crop = Box(320 - 180, 40, 320 - 100, 100)
    return ObjectView(time_s, image, mask, crop, frame_size=(320, 240))


def make_reader(seed: int = 0) -> FacingReader:
    """Random weights, large enough that the ways differ."""
    generator = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FacingNetwork().eval().requires_grad_(False)
    sizes = ((NUM_NUMBERS, 12), (12, len(WAYS)))
    return FacingReader(
        network,
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


def test_a_mirrored_heading_is_half_a_turn_less_the_heading() -> None:
    apart = HEADINGS_RAD[MIRRORED_HEADINGS] - (np.pi - HEADINGS_RAD)
    assert np.cos(apart) == pytest.approx(1)


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


def test_the_object_is_in_the_middle_of_its_square_and_its_place_is_told() -> None:
    sight = cut_sight(make_view(0.0))
    mask = sight.picture[..., 3] > 127
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert sight.picture.shape == (SIGHT_PX, SIGHT_PX, 4)
    assert (columns[0] + columns[-1] + 1) / 2 == pytest.approx(SIGHT_PX / 2, abs=1)
    assert (rows[0] + rows[-1] + 1) / 2 == pytest.approx(SIGHT_PX / 2, abs=1)
    assert np.ptp(columns) + 1 == pytest.approx(SIGHT_PX / 1.15, abs=1.5)
    across, down, wide, high, *cut = sight.place_6.tolist()
    assert across == pytest.approx((120 + 156) / 320 - 1)
    assert down == pytest.approx((60 + 80) / 240 - 1)
    assert wide == pytest.approx(0.3 * np.log(36 / 240) + 0.5)
    assert high == pytest.approx(0.3 * np.log(20 / 240) + 0.5)
    assert cut == [0, 0]


def test_large_pictures_are_averaged() -> None:
    """A fine chequerboard becomes grey, whatever the phase of its squares."""
    image = (np.indices((600, 800)).sum(axis=0) % 2 * 255).astype(np.uint8)
    view = replace(
        make_view(0.0), image=np.repeat(image[..., None], 3, axis=2), mask=np.ones((600, 800), bool)
    )
    inside = cut_sight(view).picture[20:28, 10:38, :3]
    assert np.ptp(inside.astype(int)) <= 2
    assert inside.mean() == pytest.approx(127.5, abs=2)


@given(st.integers(0, 43))
def test_a_mirrored_view_has_the_mirrored_sight(left: int) -> None:
    one, other = (cut_sight(make_view(1.0, left=left, mirrored=mirrored)) for mirrored in (False, True))
    assert other.place_6 == pytest.approx(one.place_6 * PLACE_MIRROR, abs=1e-5)
    apart = np.abs(other.picture[:, ::-1].astype(int) - one.picture.astype(int))
    assert np.median(apart) <= 3  # half a pixel's phase differs


def test_the_network_without_its_norms_is_the_same() -> None:
    network = FacingNetwork(normed=True)
    pictures, places = torch.rand(9, 4, SIGHT_PX, SIGHT_PX), torch.rand(9, 6)
    for _ in range(3):
        network(pictures, places)  # the norms learn
    folded = network.fold()
    assert not [name for name in folded.state_dict() if "norm" in name]
    assert torch.allclose(folded(pictures, places), network.eval()(pictures, places), atol=1e-4)


def test_a_view_in_a_mirror_faces_the_mirrored_way() -> None:
    network = make_reader().network
    generator = np.random.default_rng(3)
    pictures = generator.integers(0, 255, (4, SIGHT_PX, SIGHT_PX, 4), dtype=np.uint8)
    places = generator.normal(size=(4, 6)).astype(np.float32)
    one = face(network, pictures, places)
    other = face(network, pictures[:, :, ::-1].copy(), places * PLACE_MIRROR)
    assert other[:, MIRRORED_HEADINGS] == pytest.approx(one, abs=1e-5)
    assert one.sum(axis=1) == pytest.approx(1, abs=1e-5)


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
