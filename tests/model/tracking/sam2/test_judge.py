"""A judge sees what is inside and around a mask, is kept in a file, and has the last word in discovery."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.tracking.film_factory import Thing
from tests.model.tracking.sam2.colour_network import ColourNetwork
from tests.model.tracking.sam2.factories import make_clip, make_model
from tests.model.tracking.sam2.plain_film import BLUE, RED, film_plainly
from tests.model.tracking.sam2.red_judge import make_red_judge
from tubelet.errors import ModelError, SettingsError
from tubelet.model.masks import decode_mask
from tubelet.model.tracking.sam2.assistants import Assistants
from tubelet.model.tracking.sam2.discovery import DiscoverySettings, discover
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.judge import (
    GRID,
    JUDGE_FILE,
    MaskJudge,
    measure_masks,
    read_judge,
)
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.tracking.sam2.perceptron import write_weights
from tubelet.model.tracking.sam2.settings import TrackerSettings
from tubelet.model.tracking.sam2.tracker import Sam2Tracker
from tubelet.model.tracking.sam2.weights import name_checkpoint, save_model

NUM_MEASURES = 3 * (16 + 32 + 128 + 3) + 10
"""Three of each channel of the test network's features and of the colours, and the shape."""


def make_weights(seed: int = 3) -> dict[str, torch.Tensor]:
    """Of a judge with random weights."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {"first": (8, NUM_MEASURES), "second": (8, 8), "last": (1, 8)}
    weights = {"mean": torch.zeros(NUM_MEASURES), "scale": torch.ones(NUM_MEASURES)}
    for name, size in sizes.items():
        weights[f"{name}.weight"] = torch.randn(size, generator=generator) / size[1] ** 0.5
        weights[f"{name}.bias"] = torch.randn(size[0], generator=generator)
    return weights


def make_session(judge: MaskJudge | None) -> FlowSession:
    session = FlowSession(TransformersNetwork(make_model()), assistants=Assistants(judge=judge))
    session.advance(make_clip(1)[0])
    return session


def test_inside_and_ring_are_measured_where_they_lie() -> None:
    maps_CN = torch.zeros(2, GRID, GRID)
    maps_CN[0, 10:20, 10:20] = 4.0
    maps_CN[1] = 1.0
    mask_1hw = torch.zeros(1, GRID, GRID, dtype=torch.bool)
    mask_1hw[0, 10:20, 10:20] = True
    measured = measure_masks(maps_CN.flatten(1), mask_1hw)[0]
    assert measured[:2].tolist() == pytest.approx([4.0, 1.0])
    assert measured[2:4].tolist() == pytest.approx([0.0, 1.0]), "the ring lies outside"
    assert measured[4:6].tolist() == pytest.approx([0.0, 0.0], abs=1e-3), "one value, no spread"
    size, y, x, width, height, filled, *touched = measured[6:].tolist()
    assert size == pytest.approx(np.log(100 / GRID**2 + 1e-4), abs=1e-4)
    assert (y, x) == pytest.approx((15 / GRID, 15 / GRID))
    assert (width, height, filled) == pytest.approx((10 / GRID, 10 / GRID, 1.0))
    assert touched == [0, 0, 0, 0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 50)] * 2, *[st.integers(1, 14)] * 2), min_size=1, max_size=6))
def test_a_mask_is_measured_alike_alone_and_among_others_and_on_a_finer_grid(
    boxes: list[tuple[int, int, int, int]],
) -> None:
    maps_CN = torch.randn(5, GRID * GRID, generator=torch.Generator().manual_seed(1))
    masks = torch.zeros(len(boxes), GRID, GRID, dtype=torch.bool)
    for mask, (x, y, w, h) in zip(masks, boxes, strict=True):
        mask[y : y + h, x : x + w] = True
    together = measure_masks(maps_CN, masks)
    assert torch.isfinite(together).all()
    for place in range(len(masks)):
        assert torch.allclose(measure_masks(maps_CN, masks[place : place + 1])[0], together[place], atol=1e-5)
    finer = masks.repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert torch.allclose(measure_masks(maps_CN, finer), together, atol=1e-5)


def test_an_empty_mask_is_measured_without_dividing_by_nothing() -> None:
    nothing = torch.zeros(1, GRID, GRID, dtype=torch.bool)
    assert torch.isfinite(measure_masks(torch.ones(3, GRID * GRID), nothing)).all()
    assert make_session(MaskJudge(make_weights())).view.judge(nothing[:0]).shape == (0,)


def test_a_judge_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_judge(tmp_path) is None
    write_weights(tmp_path / JUDGE_FILE, make_weights())
    halves = {name: tensor.half() for name, tensor in make_weights().items()}
    masks = torch.rand(140, GRID, GRID, generator=torch.Generator().manual_seed(2)) > 0.5
    read = read_judge(tmp_path)
    assert read is not None
    expected, found = (make_session(judge).view.judge(masks) for judge in (MaskJudge(halves), read))
    assert torch.equal(expected, found)
    assert ((found > 0) & (found < 1)).all()


def test_what_is_no_judge_is_told(tmp_path: Path) -> None:
    (tmp_path / JUDGE_FILE).write_bytes(b"PK no")
    with pytest.raises(ModelError, match="cannot be read"):
        read_judge(tmp_path)
    weights = make_weights()
    del weights["last.bias"]
    with pytest.raises(ModelError, match=r"last\.bias"):
        MaskJudge(weights)


def test_the_name_of_a_checkpoint_tells_its_judge(tmp_path: Path) -> None:
    save_model(tmp_path, make_model())
    names = [name_checkpoint(tmp_path)]
    for seed in (1, 2):
        write_weights(tmp_path / JUDGE_FILE, make_weights(seed))
        names.append(name_checkpoint(tmp_path))
    assert len(set(names)) == 3


def test_discovery_keeps_and_ranks_by_the_judge() -> None:
    things = [
        Thing(RED, (40, 24), lambda _: (70, 60)),
        Thing(BLUE, (60, 40), lambda _: (200, 100)),
        Thing(RED, (60, 40), lambda _: (260, 150)),
    ]
    film = film_plainly(things, 0.2)
    session = FlowSession(ColourNetwork(), assistants=Assistants(judge=make_red_judge()))
    session.advance(film.frames[0].image)
    found = discover(session, DiscoverySettings(min_judged=0.3))
    covers = [film.truth[0][2], film.truth[0][0]]
    assert len(found) == 2, "the blue one is nothing to this judge"
    for rle, cover in zip(found.encode(180, 320), covers, strict=True):
        mask = decode_mask(rle)
        assert (mask & cover).sum() > 0.8 * (mask | cover).sum()
    assert found.iou_B.tolist() == pytest.approx(session.view.judge(found.binary_Bhw).tolist(), abs=1e-5)
    assert len(discover(session, DiscoverySettings(min_judged=0.65))) == 0


def test_what_lies_at_sides_of_the_picture_needs_more() -> None:
    things = [Thing(RED, (60, 40), lambda _: (30, 20)), Thing(RED, (60, 40), lambda _: (200, 100))]
    film = film_plainly(things, 0.2)
    session = FlowSession(ColourNetwork(), assistants=Assistants(judge=make_red_judge()))
    session.advance(film.frames[0].image)
    lenient = DiscoverySettings(min_judged=0.3, min_judged_cut=0.3)
    strict = DiscoverySettings(min_judged=0.3, min_judged_cut=0.9)
    assert len(discover(session, lenient)) == 2
    [rle] = discover(session, strict).encode(180, 320)
    assert (decode_mask(rle) & film.truth[0][1]).any(), "the one in the corner touches two sides"


def test_refining_is_refused_without_a_judge() -> None:
    plan = TrackerSettings(refine_every=3, follow_by="flow")
    network = TransformersNetwork(make_model())
    with pytest.raises(SettingsError, match=r"judge\.npz"):
        Sam2Tracker(network, settings=plan)
    Sam2Tracker(network, settings=plan, assistants=Assistants(judge=MaskJudge(make_weights())))
