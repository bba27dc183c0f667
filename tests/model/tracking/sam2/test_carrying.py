"""Masks carried along the flow land where the picture went, alone or in a session."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tests.model.tracking.sam2.factories import make_model
from tubelet.model.frame import Image
from tubelet.model.tracking.sam2.carrying import MaskCarrier
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.masks import FrameMasks
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.tracking.sam2.prompts import MaskPrompt

HEIGHT, WIDTH = 96, 160
STEP = np.array([2, 3])  # rows and columns a frame


def make_film(num_frames: int) -> tuple[list[Image], list[np.ndarray]]:
    """A textured patch that moves over a textured ground, and where it is."""
    generator = np.random.default_rng(5)
    ground = cv2.GaussianBlur(generator.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8), (0, 0), 2)
    patch = cv2.GaussianBlur(generator.integers(0, 255, (30, 36, 3)).astype(np.uint8), (0, 0), 1.5)
    film, masks = [], []
    for time in range(num_frames):
        top, left = np.array([10, 12]) + time * STEP
        image, mask = ground.copy(), np.zeros((HEIGHT, WIDTH), bool)
        image[top : top + 30, left : left + 36] = patch
        mask[top : top + 30, left : left + 36] = True
        film.append(image)
        masks.append(mask)
    return film, masks


def measure_iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def shrink(mask: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) > 0.5


def test_a_mask_goes_where_the_picture_goes() -> None:
    film, masks = make_film(6)
    carrier = MaskCarrier()
    shares = torch.from_numpy(shrink(masks[0], 64).astype(np.float32))[None]
    for time, image in enumerate(film):
        carrier.look(image)
        if time:
            shares = carrier.carry(shares)
    found = shares[0].numpy() > 0.5
    assert measure_iou(found, shrink(masks[-1], 64)) > 0.6
    assert measure_iou(shrink(masks[0], 64), shrink(masks[-1], 64)) < 0.3


def test_nothing_moves_before_the_second_frame() -> None:
    carrier = MaskCarrier()
    shares = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))
    carrier.look(make_film(1)[0][0])
    assert torch.allclose(carrier.carry(shares), shares, atol=1e-5)


def follow(max_batch: int, retired: bool = False) -> list[FrameMasks]:
    film, masks = make_film(5)
    session = FlowSession(TransformersNetwork(make_model()), max_batch=max_batch)
    seen = []
    for time, image in enumerate(film):
        seen.append(session.advance(image))
        if time == 0:
            session.add({4: MaskPrompt(masks[0]), 2: MaskPrompt(np.roll(masks[0], 60, axis=1))})
        if retired and time == 3:
            session.retire([4])
    assert session.num_memories == len(session.numbers)
    return seen


def test_a_session_by_flow_follows_and_remembers_one_mask_an_object() -> None:
    _, masks = make_film(5)
    last = follow(max_batch=8)[-1]
    assert last.numbers == (4, 2)
    assert measure_iou(last.binary_Bhw[0].numpy(), shrink(masks[-1], last.logits_Bhw.shape[-1])) > 0.7
    assert ((last.presence_B >= 0) & (last.presence_B <= 1)).all()
    assert torch.isfinite(last.logits_Bhw).all()


def test_an_object_does_not_depend_on_its_company() -> None:
    for alone, together in zip(follow(max_batch=1), follow(max_batch=8), strict=True):
        assert alone.numbers == together.numbers
        assert torch.allclose(alone.logits_Bhw, together.logits_Bhw, atol=1e-4)
        assert torch.allclose(alone.presence_B, together.presence_B, atol=1e-4)


@pytest.mark.parametrize("retired", [False, True])
def test_a_retired_object_is_gone(retired: bool) -> None:
    assert (4 in follow(max_batch=8, retired=retired)[-1].numbers) is not retired
