"""Masks are drawn anew by a closer look at the picture around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.model.tracking.film_factory import Thing
from tests.model.tracking.sam2.colour_network import ColourNetwork
from tests.model.tracking.sam2.factories import make_clip, make_model
from tests.model.tracking.sam2.motionless import Motionless
from tests.model.tracking.sam2.plain_film import BLUE, RED, PlainFilm, film_plainly
from tests.model.tracking.sam2.red_judge import make_red_judge
from tests.model.tracking.sam2.red_outliner import RedOutliner
from tests.model.tracking.sam2.red_proposer import RedProposer
from tubelet.errors import ModelError
from tubelet.model.frame import Frame
from tubelet.model.masks import decode_mask, encode_mask, mask_box
from tubelet.model.tracking.base import TrackedFrame, TrackedObject
from tubelet.model.tracking.sam2.assistants import Assistants
from tubelet.model.tracking.sam2.discovery import DiscoverySettings, discover
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.masks import FrameMasks, measure_iou
from tubelet.model.tracking.sam2.network import DecodedMasks, TransformersNetwork
from tubelet.model.tracking.sam2.outlining import (
    CELLS,
    OUTLINER_FILE,
    MaskOutliner,
    crop_each,
    crop_map,
    find_windows,
    paste,
    read_outliner,
    write_outliner,
)
from tubelet.model.tracking.sam2.perceptron import write_weights
from tubelet.model.tracking.sam2.prompts import MaskPrompt
from tubelet.model.tracking.sam2.refining import RefiningSettings, refine
from tubelet.model.tracking.sam2.settings import TrackerSettings
from tubelet.model.tracking.sam2.tracker import Sam2Tracker
from tubelet.model.tracking.sam2.weights import name_checkpoint, save_model
from tubelet.records import Observation

GRID = 128
FILM = film_plainly(
    [Thing(RED, (60, 40), lambda _: (100, 90)), Thing(BLUE, (60, 40), lambda _: (230, 90))], 0.5
)
RECTANGLES = st.tuples(
    st.integers(0, GRID - 1), st.integers(0, GRID - 1), st.integers(1, GRID), st.integers(1, GRID)
)


def draw(*rectangles: tuple[int, int, int, int]) -> torch.Tensor:
    """Masks of (x, y, width, height) on a grid of GRID cells a side."""
    masks_Bhw = torch.zeros(len(rectangles), GRID, GRID, dtype=torch.bool)
    for mask_hw, (x, y, w, h) in zip(masks_Bhw, rectangles, strict=True):
        mask_hw[y : y + h, x : x + w] = True
    return masks_Bhw


@given(RECTANGLES, st.sampled_from([(180, 320), (320, 180), (96, 96)]))
def test_a_window_is_square_around_its_mask_and_has_room(
    rectangle: tuple[int, int, int, int], size: tuple[int, int]
) -> None:
    x, y, w, h = rectangle
    w, h = min(w, GRID - x), min(h, GRID - y)
    height, width = size
    [window] = find_windows(draw((x, y, w, h)), size).tolist()
    x0, y0, x1, y1 = window[0] * width, window[1] * height, window[2] * width, window[3] * height
    assert x1 - x0 == pytest.approx(y1 - y0, rel=1e-3)
    cell_x, cell_y = width / GRID, height / GRID
    assert (x0 + x1) / 2 == pytest.approx((x + w / 2) * cell_x, abs=cell_x + 0.05 * w * cell_x)
    assert (y0 + y1) / 2 == pytest.approx((y + h / 2) * cell_y, abs=cell_y + 0.05 * h * cell_y)
    assert x1 - x0 >= 1.8 * max(w * cell_x, h * cell_y)
    assert x1 - x0 <= max(2.0 * max(w * cell_x, h * cell_y), 0.0601 * max(size)) + 1e-3


def test_specks_far_off_do_not_widen_a_window() -> None:
    speckled = draw((40, 40, 20, 20))
    speckled[0, 120, 3:5] = True
    assert torch.allclose(find_windows(speckled, (96, 96)), find_windows(draw((40, 40, 20, 20)), (96, 96)))


@given(RECTANGLES)
def test_what_is_cut_out_and_pasted_back_is_what_it_was(rectangle: tuple[int, int, int, int]) -> None:
    masks_Bhw = draw(rectangle)
    windows_B4 = find_windows(masks_Bhw, (180, 320))
    pasted = paste(crop_each(masks_Bhw.float(), windows_B4) - 0.5, windows_B4, (GRID, GRID)) > 0
    wide, tall = ((windows_B4[0, 2:] - windows_B4[0, :2]) * GRID / CELLS).tolist()
    edge = 1.5 * (wide + tall)
    differs = int((pasted != masks_Bhw).sum())
    assert differs <= 2 * edge * (int(masks_Bhw.any(1).sum()) + int(masks_Bhw.any(2).sum()) + 2)


def test_one_map_is_cut_out_as_each_of_many_would_be() -> None:
    torch.manual_seed(2)
    mask_hw = torch.rand(GRID, GRID)
    windows_B4 = torch.tensor([[0.1, 0.2, 0.5, 0.6], [-0.2, 0.5, 0.4, 1.1]])
    together = crop_map(mask_hw[None, None], windows_B4, CELLS, 2)[:, 0]
    assert torch.allclose(together, crop_each(mask_hw.expand(2, -1, -1), windows_B4), atol=1e-5)
    assert torch.all(together[1, :, : CELLS // 4] == 0), "there is nothing beyond the picture's edge"


def test_a_part_and_a_blot_become_the_thing_and_nothing_stays_nothing() -> None:
    outliner = RedOutliner()
    session = FlowSession(ColourNetwork(), assistants=Assistants(outliner=outliner))
    session.advance(FILM.frames[0].image)
    red, blue = FILM.truth[0]
    half, blot = red.copy(), red.copy()
    half[:90] = False
    blot[60:120, 60:150] = True
    grid = torch.from_numpy(np.stack([half, blot, red & ~red, blue]))
    drawn = session.view.outline(grid)
    assert drawn.shape == grid.shape
    ious = measure_iou(drawn[:2] > 0, torch.from_numpy(red)[None])[:, 0]
    assert (ious > 0.9).all()
    assert not (drawn[2:] > 0).any(), "an empty mask is of nothing, and blue is not red"
    assert len(session.view.outline(grid[:0])) == 0
    [crops] = outliner.seen
    assert crops.picture.shape == (3, 3, CELLS, CELLS), "the empty mask is not looked at"
    assert crops.mask.amin() == -1
    assert crops.mask.amax() == 1


def test_masks_at_the_edge_are_drawn_in_the_picture_only() -> None:
    film = film_plainly([Thing(RED, (60, 40), lambda _: (10, 10))], 0.2)
    outliner = RedOutliner()
    session = FlowSession(ColourNetwork(), assistants=Assistants(outliner=outliner))
    session.advance(film.frames[0].image)
    truth = torch.from_numpy(film.truth[0][0])[None]
    assert float(measure_iou(session.view.outline(truth) > 0, truth)) > 0.9
    [crops] = outliner.seen
    inside = crops.inside[0, 0]
    assert 0.2 < float(inside.mean()) < 0.8
    assert torch.all(crops.picture[0][:, inside == 0] == 0)


def test_each_mask_is_drawn_as_it_would_be_alone() -> None:
    torch.manual_seed(3)
    session = Sam2Session(
        TransformersNetwork(make_model()), assistants=Assistants(outliner=MaskOutliner(32, 128, (8, 8, 8)))
    )
    session.advance(make_clip(1)[0])
    masks_Bhw = torch.cat([draw((10 * at, 5 * at, 30, 40)) for at in range(5)] * 4)
    together = session.view.outline(masks_Bhw)
    alone = torch.cat([session.view.outline(mask_hw[None]) for mask_hw in masks_Bhw])
    assert torch.allclose(together, alone, atol=1e-4)


def test_an_outliner_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_outliner(tmp_path) is None
    torch.manual_seed(1)
    written = MaskOutliner(32, 128, (8, 16, 24))
    write_outliner(tmp_path / OUTLINER_FILE, written)
    read = read_outliner(tmp_path)
    assert read is not None
    for name, tensor in written.state_dict().items():
        assert torch.equal(read.state_dict()[name], tensor.half().float()), name


def test_what_is_no_outliner_is_told(tmp_path: Path) -> None:
    (tmp_path / OUTLINER_FILE).write_bytes(b"PK no")
    with pytest.raises(ModelError, match="cannot be read"):
        read_outliner(tmp_path)
    weights = MaskOutliner(32, 128, (8, 8, 8)).state_dict()
    del weights["head.bias"]
    write_weights(tmp_path / OUTLINER_FILE, weights)
    with pytest.raises(ModelError, match=r"head\.bias"):
        read_outliner(tmp_path)


def test_the_name_of_a_checkpoint_tells_its_outliner(tmp_path: Path) -> None:
    save_model(tmp_path, make_model())
    plain = name_checkpoint(tmp_path)
    write_outliner(tmp_path / OUTLINER_FILE, MaskOutliner(32, 128, (8, 8, 8)))
    assert name_checkpoint(tmp_path) != plain


class HalfBlind(ColourNetwork):
    """Its decoder sees nothing to the right of the red thing's middle."""

    def decode_masks(self, *arguments: Any, **options: Any) -> DecodedMasks:
        decoded = super().decode_masks(*arguments, **options)
        logits_BKhw = decoded.logits_BKhw.clone()
        logits_BKhw[..., round(100 / 320 * logits_BKhw.shape[-1]) :] = -9.0
        return replace(decoded, logits_BKhw=logits_BKhw)


def open_half_blind(outliner: MaskOutliner | None, **others: Any) -> FlowSession:
    """A session on the first frame of the film whose decoder sees the left half of the red thing."""
    session = FlowSession(
        HalfBlind(), assistants=Assistants(judge=make_red_judge(), outliner=outliner, **others)
    )
    session.advance(FILM.frames[0].image)
    return session


def measure_red(masks: FrameMasks) -> list[float]:
    """IoU of each mask with the red thing."""
    red = FILM.truth[0][0]
    shown = [decode_mask(rle) for rle in masks.encode(*red.shape)]
    return [float((mask & red).sum() / (mask | red).sum()) for mask in shown]


@pytest.mark.parametrize("has_outliner", [False, True])
def test_a_half_that_the_decoder_cannot_mend_is_drawn_whole(has_outliner: bool) -> None:
    session = open_half_blind(RedOutliner() if has_outliner else None)
    red = FILM.truth[0][0]
    half = red.copy()
    half[:, 100:] = False
    session.add({7: MaskPrompt(half)})
    carried = session.advance(FILM.frames[1].image)
    [iou] = measure_red(refine(session, carried, RefiningSettings(min_agreement=0.3)).masks)
    assert iou == pytest.approx(1.0 if has_outliner else 0.5, abs=0.1)


def test_the_outliner_is_not_asked_about_what_somebody_gave_the_mask_of() -> None:
    outliner = RedOutliner()
    session = open_half_blind(outliner)
    session.add({7: MaskPrompt(FILM.truth[0][0])})
    carried = session.advance(FILM.frames[1].image)
    refine(session, carried, RefiningSettings(min_agreement=0.3), were_given=True)
    assert not outliner.seen
    refine(session, carried, RefiningSettings(min_agreement=0.3))
    assert outliner.seen


def test_a_copy_of_the_carried_mask_is_not_drawn_again() -> None:
    """The proposer proposes what is red, and so nothing for what is blue."""
    outliner = RedOutliner()
    session = open_half_blind(outliner, proposer=RedProposer())
    session.add({7: MaskPrompt(FILM.truth[0][1])})
    refine(session, session.advance(FILM.frames[1].image), RefiningSettings())
    shown = torch.cat([crops.mask for crops in outliner.seen])
    assert len(shown) >= 1
    assert len(shown.unique(dim=0)) == len(shown)


@pytest.mark.parametrize(("num_cells", "is_drawn"), [(1, False), (400, True)])
def test_what_is_much_like_another_option_is_not_drawn_again(num_cells: int, is_drawn: bool) -> None:
    """Motion sees the carried mask without some of its cells."""

    def count_drawn(moved: Callable[[FrameMasks], dict[int, Tensor]]) -> int:
        outliner = RedOutliner()
        session = open_half_blind(outliner)
        session.add({7: MaskPrompt(FILM.truth[0][0])})
        carried = session.advance(FILM.frames[1].image)
        refine(session, carried, RefiningSettings(), moved(carried))
        return sum(len(crops.mask) for crops in outliner.seen)

    def leave_out(carried: FrameMasks) -> dict[int, Tensor]:
        moved_hw = carried.binary_Bhw[0].clone()
        rows, columns = moved_hw.nonzero()[:num_cells].unbind(1)
        moved_hw[rows, columns] = False
        return {7: moved_hw}

    assert count_drawn(leave_out) - count_drawn(lambda carried: {}) == is_drawn


@pytest.mark.parametrize("has_outliner", [False, True])
def test_what_motion_sees_too_large_is_drawn_anew(has_outliner: bool) -> None:
    """Nothing red was left of the object's own mask."""
    session = open_half_blind(RedOutliner() if has_outliner else None)
    red = FILM.truth[0][0]
    session.add({7: MaskPrompt(np.roll(red, 50, axis=0))})
    carried = session.advance(FILM.frames[1].image)
    blot = torch.from_numpy(red | np.roll(red, 12, axis=1) | np.roll(red, 12, axis=0))
    moved_hw = session.fit_masks(blot[None].float())[0] > 0.5
    refined = refine(session, carried, RefiningSettings(min_agreement=0.3), {7: moved_hw})
    assert refined.suits_motion[7] is not has_outliner
    if has_outliner:
        assert measure_red(refined.masks)[0] > 0.9


@pytest.mark.parametrize("has_outliner", [False, True])
def test_what_is_discovered_is_drawn_anew(has_outliner: bool) -> None:
    session = open_half_blind(RedOutliner() if has_outliner else None, proposer=RedProposer())
    plan = DiscoverySettings(points_per_side=0, use_boxes=True, min_judged=0.1, min_judged_cut=0.1)
    [iou] = measure_red(discover(session, plan))
    assert iou == pytest.approx(1.0 if has_outliner else 0.5, abs=0.1)


def halve_left(red: np.ndarray) -> np.ndarray:
    half = red.copy()
    half[:, 100:] = False
    return half


class SeesAHalf(Motionless):
    """A motion tracker that sees no more than the left half of the red thing, from the first frame on."""

    def __init__(self, film: PlainFilm) -> None:
        self._halves = {
            frame.time_s: halve_left(red) for frame, (red, *_) in zip(film.frames, film.truth, strict=True)
        }

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        for tracked in super().track(frames, context):
            mask = encode_mask(self._halves[tracked.frame.time_s])
            seen = Observation(tracked.frame.time_s, mask_box(mask), 1.0, mask)
            yield replace(tracked, objects=(TrackedObject(0, seen),))


def test_a_part_that_becomes_the_whole_gives_way_to_what_was_the_whole_before() -> None:
    """Motion's half and the whole that was discovered are two objects, until the half is set right."""
    film = film_plainly([Thing(RED, (60, 40), lambda _: (100, 90))], 1.5)
    plan = TrackerSettings(
        follow_by="flow",
        min_score=0.0,
        refine_every=3,
        refining=RefiningSettings(min_agreement=0.3, still_bonus=0.0),
        motion_masks=True,
        max_covered=0.7,
        discovery=DiscoverySettings(points_per_side=0, use_boxes=True, min_judged=0.3, min_judged_cut=0.3),
    )
    assistants = Assistants(judge=make_red_judge(), proposer=RedProposer(), outliner=RedOutliner())
    tracker = Sam2Tracker(HalfBlind(), settings=plan, assistants=assistants, motion=SeesAHalf(film))
    shown = [
        {
            item.number: float((mask & red).sum() / (mask | red).sum())
            for item in tracked.objects
            if item.observation.mask is not None
            for mask in [decode_mask(item.observation.mask)]
        }
        for tracked, (red, *_) in zip(tracker.track(film.frames, []), film.truth, strict=True)
    ]
    [whole] = [number for number, iou in shown[0].items() if iou > 0.85]
    assert len(shown[0]) == 2
    assert list(shown[-1]) == [whole]
    assert all(masks[whole] > 0.85 for masks in shown)
