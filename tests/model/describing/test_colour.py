"""Colour names on painted scenes and on real cars and people."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from decord import VideoReader
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tubelet.model.describing.cells import convert_to_oklab, decode_srgb
from tubelet.model.describing.colour import COLOUR_NAMES, aggregate_colours, name_colours
from tubelet.model.frame import Image
from tubelet.model.masks import Mask

ASPHALT = (96, 96, 98)

SWATCHES = {
    "black": [(12, 12, 14), (30, 30, 30)],
    "grey": [(128, 128, 128), (90, 92, 95), (192, 192, 192)],
    "white": [(250, 250, 250), (235, 238, 240)],
    "red": [(200, 20, 20), (220, 20, 60), (128, 0, 0), (178, 34, 34), (100, 20, 40)],
    "orange": [(255, 140, 0), (230, 126, 34)],
    "brown": [(101, 67, 33), (139, 69, 19), (160, 82, 45)],
    "beige": [(210, 180, 140), (245, 222, 179)],
    "yellow": [(250, 230, 30), (255, 200, 0), (245, 190, 20)],
    "green": [(20, 150, 40), (0, 80, 20), (120, 230, 40), (85, 107, 47)],
    "teal": [(0, 128, 128), (64, 224, 208), (0, 255, 255)],
    "blue": [(30, 60, 200), (0, 0, 128), (20, 25, 60), (135, 206, 235), (60, 80, 120)],
    "purple": [(128, 0, 128), (140, 80, 200), (75, 0, 130)],
    "pink": [(255, 192, 203), (255, 105, 180)],
}


def paint_scene(ground: tuple[int, int, int] = ASPHALT) -> Image:
    return np.full((160, 120, 3), ground, dtype=np.uint8)


def fill(image: Image, x: slice, y: slice, colour: tuple[int, int, int]) -> Mask:
    """Paint a rectangle and return where it is."""
    mask = np.zeros(image.shape[:2], dtype=bool)
    mask[y, x] = True
    image[mask] = colour
    return mask


def paint_car(colour: tuple[int, int, int]) -> tuple[Image, Mask]:
    """A car from above: paint, dark glass, a shine, a shadow, and a mask that takes in shadow and road."""
    image = paint_scene()
    fill(image, slice(20, 100), slice(30, 150), tuple(int(c * 0.62) for c in ASPHALT))  # type: ignore[arg-type]
    fill(image, slice(25, 85), slice(25, 140), colour)
    fill(image, slice(32, 78), slice(50, 68), (35, 38, 40))
    fill(image, slice(34, 76), slice(112, 128), (60, 64, 66))
    fill(image, slice(40, 70), slice(78, 84), (252, 252, 252))
    mask = np.zeros(image.shape[:2], dtype=bool)
    mask[22:145, 20:96] = True
    return image, mask


@pytest.mark.parametrize(("name", "rgb"), [(name, rgb) for name, many in SWATCHES.items() for rgb in many])
def test_plain_things_have_their_basic_name(name: str, rgb: tuple[int, int, int]) -> None:
    image = paint_scene((150, 150, 150))
    mask = fill(image, slice(30, 90), slice(30, 130), rgb)
    names, shares = name_colours(image, mask)
    assert names == (name,)
    assert shares[0] > 0.95


@pytest.mark.parametrize("name", ["red", "orange", "green", "teal", "blue", "purple"])
@pytest.mark.parametrize("exposure", [0.35, 0.6, 0.8])
def test_hue_survives_exposure(name: str, exposure: float) -> None:
    """A darker picture of the same scene; orange in the dark is what people call brown."""
    light = decode_srgb(np.array([SWATCHES[name][0]], dtype=np.uint8)) * exposure
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    rgb = tuple(int(value) for value in (code[0] * 255).round())
    image = paint_scene((60, 60, 60))
    mask = fill(image, slice(30, 90), slice(30, 130), rgb)  # type: ignore[arg-type]
    names, _ = name_colours(image, mask)
    assert names == (name,) or (name, names) == ("orange", ("brown",))


@pytest.mark.parametrize(
    ("name", "rgb"),
    [
        ("red", (190, 25, 30)),
        ("white", (240, 240, 240)),
        ("blue", (30, 60, 160)),
        ("yellow", (240, 200, 20)),
        ("green", (20, 110, 50)),
    ],
)
def test_glass_shine_shadow_and_road_do_not_name_a_car(name: str, rgb: tuple[int, int, int]) -> None:
    assert name_colours(*paint_car(rgb))[0] == (name,)


def test_a_black_car_is_black_or_dark_grey() -> None:
    assert name_colours(*paint_car((18, 18, 20)))[0][0] == "black"


def test_two_colours_when_two_are_there() -> None:
    image = paint_scene((170, 160, 150))
    top = fill(image, slice(40, 80), slice(20, 90), (14, 14, 16))
    trousers = fill(image, slice(40, 80), slice(90, 140), (40, 70, 150))
    names, shares = name_colours(image, top | trousers)
    assert names == ("black", "blue")
    assert shares == pytest.approx((7 / 12, 5 / 12), abs=0.06)


def test_a_small_neutral_part_is_no_second_colour() -> None:
    image = paint_scene((170, 160, 150))
    coat = fill(image, slice(40, 80), slice(20, 120), (190, 30, 30))
    hair = fill(image, slice(40, 80), slice(10, 20), (25, 22, 20))
    boots = fill(image, slice(40, 80), slice(120, 135), (25, 22, 20))
    assert name_colours(image, coat | hair | boots)[0] == ("red",)


def test_a_loose_mask_does_not_add_the_background() -> None:
    image = paint_scene((40, 120, 40))
    mask = fill(image, slice(30, 90), slice(30, 130), (200, 20, 20))
    loose: Mask = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert name_colours(image, loose)[0] == ("red",)


def test_a_knit_is_one_grey() -> None:
    image = paint_scene((150, 110, 70))
    mask = fill(image, slice(20, 100), slice(10, 150), (0, 0, 0))
    stitches = np.random.default_rng(0).choice([60, 190], size=int(mask.sum()))
    image[mask] = stitches[:, None]
    assert name_colours(image, mask)[0] == ("grey",)


def test_pale_paint_is_told_from_white_by_the_hue_it_shares() -> None:
    """What a phone camera makes of a silver-green car: no pixel is teal on its own."""
    assert name_colours(*paint_car((196, 210, 214)))[0] == ("teal",)
    assert name_colours(*paint_car((206, 207, 208)))[0] != ("teal",)


def test_one_bad_view_does_not_change_the_name() -> None:
    good = paint_car((190, 25, 30))
    image, mask = paint_car((20, 200, 40))
    assert aggregate_colours([good, good, (image, mask), good])[0] == ("red",)


def test_an_empty_mask_and_no_views_are_refused() -> None:
    with pytest.raises(ValueError, match="mask is empty"):
        name_colours(paint_scene(), np.zeros((160, 120), dtype=bool))
    with pytest.raises(ValueError, match="no views"):
        aggregate_colours([])
    with pytest.raises(ValueError, match="must be"):
        name_colours(paint_scene(), np.ones((3, 3), dtype=bool))


@settings(deadline=None, derandomize=True)
@given(st.data())
def test_any_picture_has_one_or_two_names(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    image = data.draw(arrays(np.uint8, (height, width, 3)))
    mask = data.draw(arrays(np.bool_, (height, width)))
    mask[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))] = True
    names, shares = name_colours(image, mask)
    assert 1 <= len(names) <= 2
    assert set(names) <= set(COLOUR_NAMES)
    assert list(shares) == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1 + 1e-9
    assert name_colours(image, mask) == (names, shares)


def test_oklab_agrees_with_its_author() -> None:
    """White, and pure red, as given with the definition of OKLab."""
    lab = convert_to_oklab(decode_srgb(np.array([[255, 255, 255], [255, 0, 0]], dtype=np.uint8)))
    np.testing.assert_allclose(lab, [[1, 0, 0], [0.628, 0.225, 0.126]], atol=1e-3)


@pytest.mark.parametrize(
    ("clip", "empty_s", "times_s", "columns", "names"),
    [
        ("car-detection.mp4", 2.0, (5.5, 6.0, 6.5), (0, 768), ("white",)),
        ("car-detection.mp4", 12.0, (15.5, 16.0, 16.5), (0, 290), ("teal",)),
        ("car-detection.mp4", 12.0, (16.0, 16.5, 17.0), (300, 768), ("red",)),
        ("car-detection.mp4", 12.0, (26.0, 26.5), (0, 768), ("white",)),
        ("person-detection.mp4", 1.0, (12.0, 16.0), (330, 560), ("grey",)),
        ("person-detection.mp4", 1.0, (28.0, 36.0), (330, 560), ("black",)),
        ("person-detection.mp4", 1.0, (100.0, 112.0), (330, 560), ("grey", "black")),
        ("person-detection.mp4", 1.0, (128.0, 132.0), (330, 560), ("grey", "blue")),
    ],
)
def test_real_cars_and_people_have_the_colours_one_sees(
    real_videos: Path,
    clip: str,
    empty_s: float,
    times_s: tuple[float, ...],
    columns: tuple[int, int],
    names: tuple[str, ...],
) -> None:
    """Rough masks, by difference against an empty frame: they take in shadows and the mask's edge."""
    reader = VideoReader(str(real_videos / clip), num_threads=1)
    rate = reader.get_avg_fps()
    empty = reader[int(empty_s * rate)].asnumpy().astype(np.float32)
    views = []
    for time_s in times_s:
        image: Image = reader[int(time_s * rate)].asnumpy()
        gain = np.median((empty.mean(axis=2) + 1) / (image.mean(axis=2) + 1))
        changed = np.abs(image * gain - empty).max(axis=2)
        rough = cv2.morphologyEx(
            (cv2.GaussianBlur(changed, (0, 0), 1.5) > 22).astype(np.uint8),
            cv2.MORPH_CLOSE,
            np.ones((9, 9), np.uint8),
        )
        rough[:, : columns[0]] = rough[:, columns[1] :] = 0
        _, labels, stats, _ = cv2.connectedComponentsWithStats(rough)
        largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        x, y, width, height, _ = stats[largest]
        crop = slice(max(0, y - 12), y + height + 12), slice(max(0, x - 12), x + width + 12)
        views.append((image[crop], labels[crop] == largest))
    assert aggregate_colours(views)[0] == names


def test_what_changes_colour_all_the_time_has_finite_shares() -> None:
    mask = np.ones((20, 20), bool)
    views = [
        (np.full((20, 20, 3), rgb, np.uint8), mask)
        for rgb in ((220, 20, 20), (20, 180, 20), (20, 40, 220), (240, 220, 20))
    ]
    names, shares = aggregate_colours(views)
    assert set(names) <= {"red", "green", "blue", "yellow"}
    assert np.isfinite(shares).all()
