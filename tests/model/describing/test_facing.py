"""Which way an object faces in one view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tubelet.model.describing.base import ObjectView
from tubelet.model.describing.facing import HEADINGS_RAD, MIRRORED_HEADINGS, face, make_facing_network
from tubelet.model.describing.sights import PLACE_MIRROR, SIGHT_PX, SightNetwork, cut_sight
from tubelet.records import Box


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


def make_network(seed: int = 0) -> SightNetwork:
    """Random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_facing_network().eval().requires_grad_(False)


def test_a_mirrored_heading_is_half_a_turn_less_the_heading() -> None:
    apart = HEADINGS_RAD[MIRRORED_HEADINGS] - (np.pi - HEADINGS_RAD)
    assert np.cos(apart) == pytest.approx(1)


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
    network = make_facing_network(normed=True)
    pictures, places = torch.rand(9, 4, SIGHT_PX, SIGHT_PX), torch.rand(9, 6)
    for _ in range(3):
        network(pictures, places)  # the norms learn
    folded = network.fold()
    assert not [name for name in folded.state_dict() if "norm" in name]
    assert torch.allclose(folded(pictures, places), network.eval()(pictures, places), atol=1e-4)


def test_a_view_in_a_mirror_faces_the_mirrored_way() -> None:
    network = make_network()
    generator = np.random.default_rng(3)
    pictures = generator.integers(0, 255, (4, SIGHT_PX, SIGHT_PX, 4), dtype=np.uint8)
    places = generator.normal(size=(4, 6)).astype(np.float32)
    one = face(network, pictures, places)
    other = face(network, pictures[:, :, ::-1].copy(), places * PLACE_MIRROR)
    assert other[:, MIRRORED_HEADINGS] == pytest.approx(one, abs=1e-5)
    assert one.sum(axis=1) == pytest.approx(1, abs=1e-5)
