"""Crops to the classifier's pictures."""

from __future__ import annotations

import numpy as np
import pytest

from tests.model.recognising.crop_factory import draw_crop
from tubelet.model.recognising.base import Crop
from tubelet.model.recognising.picturing import GREY, cut_window, make_picture
from tubelet.records import Box


def test_the_box_with_a_tenth_around_it_fills_the_picture() -> None:
    picture = make_picture(draw_crop(round_mask=False), 100, alone=False)
    assert picture.shape == (100, 100, 3)
    inside = np.abs(picture - (200, 30, 30)).max(axis=2) < 40
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert (len(rows), len(columns)) == pytest.approx((100 / 1.2, 100 / 1.2), abs=3)


def test_a_long_box_is_stretched_to_a_square() -> None:
    crop = draw_crop((60, 220), Box(20, 20, 200, 40), round_mask=False)
    picture = make_picture(crop, 100, alone=False)
    column = np.abs(picture[:, 50] - (200, 30, 30)).max(axis=1) < 40
    assert 25 < column.sum() < 45  # 20 rows of 56, where keeping the aspect would leave 9


def test_alone_an_object_stands_on_grey() -> None:
    crop = draw_crop()
    corner = make_picture(crop, 64, alone=True)[1, 1]
    assert corner == pytest.approx([GREY] * 3, abs=2)
    assert make_picture(crop, 64, alone=False)[1, 1] == pytest.approx([60, 120, 60], abs=2)
    middle = make_picture(crop, 64, alone=True)[32, 32]
    assert middle == pytest.approx([200, 30, 30], abs=2)


def test_a_mask_that_is_only_a_box_greys_nothing() -> None:
    crop = draw_crop(round_mask=False)
    np.testing.assert_array_equal(make_picture(crop, 64, alone=True), make_picture(crop, 64, alone=False))


@pytest.mark.parametrize("box", [Box(-40, -10, 500, 400), Box(159, 119, 160, 120), Box(50, 50, 50, 50)])
def test_boxes_at_and_over_the_edge(box: Box) -> None:
    crop = draw_crop()
    picture = make_picture(Crop(crop.image, crop.mask, box), 32, alone=True)
    assert picture.shape == (32, 32, 3)
    assert np.isfinite(picture).all()


def test_a_window_over_the_edge_repeats_it() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[:, 0] = 200
    window = cut_window(image, (0.0, 5.0), (10.0, 10.0), (20, 20))
    assert (window[:, :8] == 200).all()
    assert (window[:, 14:] == 0).all()
