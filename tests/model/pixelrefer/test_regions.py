"""Cutting regions: sizes, places, and every odd mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.model.pixelrefer.region_factory import make_frame, make_mask
from tubelet.errors import InputError
from tubelet.model.pixelrefer.regions import (
    LITE_CROPS,
    MAX_CROP_PX,
    VISION_OBJECT_CROPS,
    FrameBox,
    Region,
    RegionView,
    choose_starts,
    cut_region,
    cut_scene,
    fit_picture,
    fit_size,
    place_patches,
    split_patches,
    spread_cells,
)
from tubelet.records import Box


def test_small_object_is_scaled_up_until_it_fills_its_tokens() -> None:
    view = RegionView(make_frame(), make_mask(30, 50, 40, 64))
    cut = cut_region(view, 8)
    scale = math.ceil(math.sqrt(196 * 8 / 140))
    assert cut.box == FrameBox(2, 22, 67, 91)
    assert cut.crop.shape == (math.ceil(66 * scale / 14) * 14, math.ceil(70 * scale / 14) * 14, 3)
    assert cut.grid.shape == (cut.crop.shape[0] // 14, cut.crop.shape[1] // 14)
    assert (cut.grid > 0).sum() >= 8


def test_large_object_is_scaled_down_and_less_so_in_pixelrefer() -> None:
    view = RegionView(make_frame(0, 600, 800), make_mask(50, 50, 550, 750, 600, 800))
    lite = (cut_region(view, 8, LITE_CROPS).grid >= 0.5).sum()
    full = (cut_region(view, 8, VISION_OBJECT_CROPS).grid >= 0.5).sum()
    assert 50 <= lite <= 75  # sides are rounded up to whole patches
    assert 100 <= full <= 130


def test_pixelrefer_loses_the_last_row_and_column_of_its_box() -> None:
    view = RegionView(make_frame(0, 400, 400), make_mask(100, 100, 240, 240, 400, 400))
    assert cut_region(view, 8, LITE_CROPS).box == cut_region(view, 8, VISION_OBJECT_CROPS).box
    lite, full = cut_region(view, 200, LITE_CROPS), cut_region(view, 200, VISION_OBJECT_CROPS)
    assert lite.crop.shape == full.crop.shape == (392, 392, 3)
    assert not np.array_equal(lite.crop, full.crop)


def test_object_at_the_edge_is_padded_only_inside_the_frame() -> None:
    cut = cut_region(RegionView(make_frame(), make_mask(60, 120, 72, 128)), 8)
    assert cut.box == FrameBox(32, 92, 71, 127)


def test_empty_mask_gives_a_black_crop_without_cells() -> None:
    frame = make_frame()
    cut = cut_region(RegionView(frame, np.zeros((72, 128), bool)), 8)
    assert cut.crop.shape == (14, 14, 3)
    assert not cut.crop.any()
    assert cut.grid.tolist() == [[0.0]]
    assert cut.box == FrameBox(0, 0, 0, 0)
    assert (cut.frame_height, cut.frame_width) == (72, 128)
    assert cut.local.shape == (224, 224, 3)
    assert cut.local.any()
    patches, weights = spread_cells(cut.grid, 1, 1)
    assert patches.shape == weights.shape == (0, 4)


def test_full_mask_takes_the_whole_frame() -> None:
    cut = cut_region(RegionView(make_frame(), np.ones((72, 128), bool)), 8)
    assert cut.box == FrameBox(0, 0, 71, 127)
    assert (cut.grid > 0).all()


def test_one_pixel_object_has_cells() -> None:
    cut = cut_region(RegionView(make_frame(), make_mask(36, 64, 37, 65)), 32)
    assert cut.crop.shape == (4564, 4564, 3)  # 57 px scaled by 80, up to whole patches
    assert (cut.grid > 0).sum() >= 32


def test_8k_frame_is_cut_to_a_small_crop() -> None:
    frame = np.zeros((4320, 7680, 3), np.uint8)
    frame[::7] = 200
    cut = cut_region(RegionView(frame, make_mask(1000, 2000, 3000, 5000, 4320, 7680)), 32)
    scene = cut_scene(RegionView(frame, np.ones((4320, 7680), bool)))
    assert cut.crop.shape[0] * cut.crop.shape[1] < 196 * 120
    assert scene.shape == (336, 336, 3)


def test_pixels_far_apart_in_a_huge_frame_do_not_make_a_huge_crop() -> None:
    mask = np.zeros((4320, 7680), bool)
    mask[0, 0] = mask[-1, -1] = True
    cut = cut_region(RegionView(np.zeros((4320, 7680, 3), np.uint8), mask), 32)
    assert cut.crop.shape[0] * cut.crop.shape[1] <= 1.1 * MAX_CROP_PX


@pytest.mark.parametrize(
    ("image", "mask", "found"),
    [
        (np.zeros((72, 128, 3), np.uint8), np.zeros((128, 72), bool), "mask has shape"),
        (np.zeros((72, 128, 3), np.uint8), np.zeros((36, 64), bool), "mask has shape"),
        (np.zeros((72, 128), np.uint8), np.zeros((72, 128), bool), "image has shape"),
        (np.zeros((0, 128, 3), np.uint8), np.zeros((0, 128), bool), "image has shape"),
        (np.zeros((72, 128, 3), np.float32), np.zeros((72, 128), bool), "float32"),
    ],
)
def test_unfit_pictures_are_refused(image: np.ndarray, mask: np.ndarray, found: str) -> None:
    with pytest.raises(InputError, match=found):
        RegionView(image, mask)


def test_a_region_needs_frames_masks_and_times_that_pair_up() -> None:
    frame, mask = make_frame(), make_mask(1, 1, 9, 9)
    with pytest.raises(InputError, match="no frames"):
        Region.of([], [], [])
    with pytest.raises(InputError, match="2 frames, 1 masks"):
        Region.of([frame, frame], [mask], [0.0, 1.0])
    with pytest.raises(InputError, match="region of an image has 2 frames"):
        Region.of([frame, frame], [mask, mask])
    with pytest.raises(InputError, match="do not fall"):
        Region.of([frame, frame], [mask, mask], [1.0, 0.0])
    with pytest.raises(InputError, match="finite"):
        Region.of([frame], [mask], [math.nan])


def test_an_object_on_the_last_line_of_a_frame_is_not_lost() -> None:
    for mask in (make_mask(71, 10, 72, 40), make_mask(10, 127, 40, 128)):
        assert (cut_region(RegionView(make_frame(), mask), 8, VISION_OBJECT_CROPS).grid > 0).any()


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
    st.floats(0, 1),
    st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_any_mask_is_cut_to_whole_patches(
    height: int, width: int, num_tokens: int, seed: int, share: float, in_lite: bool
) -> None:
    """Masks of any size, place and raggedness, in frames down to one pixel."""
    generator = np.random.default_rng(seed)
    frame = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = generator.random((height, width)) < share**3
    cut = cut_region(RegionView(frame, mask), num_tokens, LITE_CROPS if in_lite else VISION_OBJECT_CROPS)
    rows, columns = cut.grid.shape
    assert cut.crop.shape == (14 * rows, 14 * columns, 3)
    assert 0 <= cut.box.top <= cut.box.bottom < height
    assert 0 <= cut.box.left <= cut.box.right < width
    if mask.any():
        assert mask[cut.box.top : cut.box.bottom + 1, cut.box.left : cut.box.right + 1].sum() == mask.sum()
    places = place_patches(cut.box, height, width, rows, columns)
    assert np.isfinite(places).all()
    patches, weights = spread_cells(cut.grid, rows, columns)
    assert len(patches) == (cut.grid > 0).sum()
    assert patches.size == 0 or patches.max() < rows * columns
    assert weights.sum() == pytest.approx(len(weights), rel=1e-5)
    assert in_lite or len(patches) > 0 or not mask.any()


def test_a_window_on_a_frame_is_placed_like_the_frame_itself() -> None:
    frame, mask = make_frame(0, 300, 400), make_mask(100, 150, 140, 200, 300, 400)
    whole = cut_region(RegionView(frame, mask), 8)
    window = Box(122, 72, 228, 168)
    part = RegionView(
        frame[72:168, 122:228], mask[72:168, 122:228], window=window, frame_size=(400, 300), scene=frame
    )
    cut = cut_region(part, 8)
    assert cut.box == whole.box
    assert (cut.frame_height, cut.frame_width) == (300, 400)
    assert np.array_equal(cut.crop, whole.crop)
    assert np.array_equal(cut.local, whole.local)
    assert np.array_equal(cut_scene(part), cut_scene(RegionView(frame, mask)))


def test_a_window_needs_the_size_of_its_frame() -> None:
    with pytest.raises(InputError, match="window and frame_size"):
        RegionView(make_frame(), make_mask(0, 0, 9, 9), window=Box(0, 0, 128, 72))


def test_columns_are_spread_over_rows_as_the_weights_expect() -> None:
    places = place_patches(FrameBox(10, 20, 50, 100), frame_height=201, frame_width=401, rows=2, columns=4)
    assert places.shape == (8, 2)
    across, down = places.reshape(2, 4, 2)[1, 3]
    assert across == pytest.approx((3 / 4 * (50 - 10) + 10) / 400)
    assert down == pytest.approx((1 / 2 * (100 - 20) + 20) / 200)


def test_a_frame_of_one_column_has_finite_places() -> None:
    assert np.isfinite(place_patches(FrameBox(0, 0, 5, 0), 6, 1, 1, 1)).all()


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1)
)
@settings(max_examples=60, deadline=None)
def test_cells_are_spread_as_bilinear_interpolation_does(
    rows: int, columns: int, grid_rows: int, grid_columns: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    features = torch.from_numpy(generator.normal(size=(rows, columns, 3)).astype(np.float32))
    grid = (generator.random((grid_rows, grid_columns)) > 0.4).astype(np.float32)
    patches, weights = spread_cells(grid, rows, columns)
    cells = (features.reshape(-1, 3)[patches] * torch.from_numpy(weights)[..., None]).sum(dim=1)
    spread = F.interpolate(
        features.permute(2, 0, 1)[None], size=grid.shape, mode="bilinear", align_corners=False
    )[0].permute(1, 2, 0)
    torch.testing.assert_close(cells, spread[torch.from_numpy(grid) > 0], rtol=1e-5, atol=1e-5)


def test_cells_of_an_unshrunk_crop_are_patches_exactly() -> None:
    grid = np.ones((3, 5), np.float32)
    patches, weights = spread_cells(grid, 3, 5)
    assert patches[:, 0].tolist() == list(range(15))
    assert (weights == [1, 0, 0, 0]).all()


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_fitted_sizes_keep_their_promises(height: int, width: int, num_images: int) -> None:
    max_px = 2369 * 196 // num_images
    try:
        new_height, new_width = fit_size(height, width, factor=14, min_px=196, max_px=max_px)
    except InputError:
        assert max(height, width) / min(height, width) > 200
        return
    assert new_height % 14 == new_width % 14 == 0
    assert min(new_height, new_width) >= 14
    if min(new_height, new_width) > 14:
        assert new_height * new_width <= max_px


def test_a_thread_of_a_picture_is_refused() -> None:
    with pytest.raises(InputError, match="ratio"):
        fit_size(14, 14 * 201, factor=14, min_px=196, max_px=10**6)


def test_a_fitting_picture_is_left_alone() -> None:
    frame = make_frame(0, 28, 42)
    assert fit_picture(frame, factor=14, min_px=196, max_px=10**6) is frame
    assert fit_picture(frame, factor=14, min_px=196, max_px=400).shape == (14, 14, 3)


def test_patches_are_channel_major_and_row_major() -> None:
    frame = make_frame(0, 28, 42)
    patches = split_patches(frame)
    assert patches.shape == (6, 588)
    assert np.array_equal(patches[4].reshape(3, 14, 14), frame[14:28, 14:28].transpose(2, 0, 1))


def test_merged_patches_come_in_blocks() -> None:
    frame = make_frame(0, 56, 56)
    blocks = split_patches(frame, merge_size=2)
    assert np.array_equal(blocks[5].reshape(3, 14, 14), frame[0:14, 42:56].transpose(2, 0, 1))
    assert np.array_equal(blocks[6].reshape(3, 14, 14), frame[14:28, 28:42].transpose(2, 0, 1))


def test_starts_follow_from_the_pixels_alone() -> None:
    cut = cut_region(RegionView(make_frame(), make_mask(10, 10, 40, 60)), 8)
    starts = choose_starts(cut, 40, 8)
    assert np.array_equal(starts, choose_starts(cut, 40, 8))
    assert len(set(starts.tolist())) == 8
    assert starts.max() < 40
    other = cut_region(RegionView(make_frame(1), make_mask(10, 10, 40, 60)), 8)
    assert not np.array_equal(starts, choose_starts(other, 40, 8))
