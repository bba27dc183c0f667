"""Rough masks are worn copies of the true one, and teach the network that is shown them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.training.track.polygons import PolygonClips
from tubelet.model.training.track.roughening import misplace, roughen
from tubelet.model.training.track.samples import SampleSettings, TrackBatches
from tubelet.model.training.track.start import make_network
from tubelet.model.training.track.unroll import TrackTraining

SIDE = 64


def make_mask() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:44, 16:40] = True
    return mask


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_rough_mask_still_lies_on_its_object(seed: int) -> None:
    rough = roughen(make_mask(), np.random.default_rng(seed), SIDE)
    assert rough.shape == (SIDE, SIDE)
    assert rough.min() >= 0
    assert rough.max() <= 1
    assert (rough > 0.5)[make_mask()].any()
    again = roughen(make_mask(), np.random.default_rng(seed), SIDE)
    assert np.array_equal(rough, again)


def test_rough_masks_differ_from_the_true_one_as_frames_do() -> None:
    mask, generator = make_mask(), np.random.default_rng(3)
    found = [roughen(mask, generator, SIDE) > 0.5 for _ in range(200)]
    ious = [(rough & mask).sum() / (rough | mask).sum() for rough in found]
    assert 0.5 < np.mean(ious) < 0.85
    assert np.std(ious) > 0.05


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_misplaced_mask_meets_no_object(seed: int) -> None:
    labels = make_mask().astype(np.uint8)
    assert not (misplace(labels, np.random.default_rng(seed)) & make_mask()).any()


def test_no_object_and_no_room_give_empty_masks() -> None:
    generator = np.random.default_rng(1)
    assert not misplace(np.zeros((SIDE, SIDE), np.uint8), generator).any()
    assert not misplace(np.ones((SIDE, SIDE), np.uint8), generator).any()
    assert not roughen(np.zeros((SIDE, SIDE), bool), generator, 16).any()


def test_rough_masks_reach_the_prompt_encoder() -> None:
    samples = SampleSettings(image_px=SIDE, clips_per_batch=2, prompts={"rough": 1.0}, background_roughs=1)
    batch = TrackBatches(PolygonClips(side=SIDE), samples, seed=2)(0)
    rough = next(group for group in batch.groups if group.kind == "rough")
    assert rough.masks_Rhw is not None
    assert rough.masks_Rhw.shape == (len(rough.rows), SIDE // 4, SIDE // 4)
    assert any(batch.targets_TBGG[0, row].any() for row in rough.rows)
    assert any(not batch.targets_TBGG[0, row].any() for row in rough.rows)
    network = make_network(seed=1, image_px=SIDE)
    losses = TrackTraining(network.train())(batch)
    losses["loss"].backward()
    embed = network.prompt_encoder.mask_embed
    assert torch.isfinite(losses["loss"])
    assert any(weight.grad is not None and weight.grad.abs().max() > 0 for weight in embed.parameters())
