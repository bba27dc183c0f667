"""The recogniser that ships, on drawn things and on the real clips."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from tests.model.recognising.crop_factory import draw_crop
from tubelet.model.frame import Image
from tubelet.model.recognising.base import Crop, Recogniser
from tubelet.model.recognising.bundled import BundledRecogniser
from tubelet.model.recognising.people import score_person
from tubelet.records import Box

RECOGNISER: Recogniser = BundledRecogniser()


def read_frame(path: Path, time_s: float) -> Image:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= time_s:
                return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    raise AssertionError(f"{path} has no frame at {time_s} s")


def cut_box(image: Image, box: Box) -> Crop:
    mask = np.zeros(image.shape[:2], bool)
    mask[round(box.y0) : round(box.y1), round(box.x0) : round(box.x1)] = True
    return Crop(image, mask, box)


def cosine(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    return float(np.dot(first, second))


def test_a_plain_disc_is_nothing_known_and_has_a_vector() -> None:
    [answer] = RECOGNISER.recognise([[draw_crop()]])
    assert answer.category in ("", "ball")
    assert len(answer.vector) == RECOGNISER.num_dimensions
    assert np.linalg.norm(answer.vector) == pytest.approx(1)


def test_what_is_said_of_one_does_not_depend_on_the_others() -> None:
    red, blue = draw_crop(), draw_crop(colour=(30, 30, 200))
    [alone] = RECOGNISER.recognise([[red, red]])
    _, beside, _ = RECOGNISER.recognise([[blue], [red, red], [blue, blue, red]])
    assert beside == alone


@pytest.mark.parametrize("num_threads", [1, 3])
def test_answers_do_not_depend_on_the_number_of_threads(num_threads: int) -> None:
    before = torch.get_num_threads()
    objects = [[draw_crop(), draw_crop(colour=(20, 200, 40))], [draw_crop(box=Box(60, 5, 90, 110))]]
    expected = RECOGNISER.recognise(objects)
    torch.set_num_threads(num_threads)
    try:
        assert RECOGNISER.recognise(objects) == expected
        assert torch.get_num_threads() == num_threads
    finally:
        torch.set_num_threads(before)


def test_colours_count_in_the_vector() -> None:
    red, dark_red, blue = RECOGNISER.recognise(
        [[draw_crop()], [draw_crop(colour=(180, 25, 25))], [draw_crop(colour=(30, 30, 200))]]
    )
    assert cosine(red.vector, dark_red.vector) > cosine(red.vector, blue.vector) + 0.1


def test_an_object_without_crops_is_refused() -> None:
    with pytest.raises(ValueError, match="no crops"):
        RECOGNISER.recognise([[draw_crop()], []])


def test_no_objects_no_answers() -> None:
    assert RECOGNISER.recognise([]) == []


def test_a_mask_without_a_pixel_still_gets_a_vector() -> None:
    crop = draw_crop()
    [answer] = RECOGNISER.recognise([[Crop(crop.image, np.zeros_like(crop.mask), crop.box)]])
    assert np.linalg.norm(answer.vector) == pytest.approx(1)


def test_what_is_wider_than_high_is_not_tried_as_a_person() -> None:
    assert score_person(draw_crop(box=Box(20, 30, 120, 90))) is None
    score = score_person(draw_crop(box=Box(40, 10, 80, 110), round_mask=False))
    assert score is not None
    assert score < 0


def test_people_score_above_cars(real_videos: Path) -> None:
    visit = read_frame(real_videos / "person-detection.mp4", 30.0)
    person = score_person(cut_box(visit, Box(380, 3, 544, 422)))
    cars = read_frame(real_videos / "car-detection.mp4", 16.6)
    car = score_person(cut_box(cars, Box(312, 120, 486, 430)))
    assert person is not None
    assert car is not None
    assert person > car + 1


@pytest.mark.parametrize(
    ("clip", "time_s", "box", "category"),
    [
        ("05_landing_dog_soccer.mp4", 0.5, Box(527, 192, 770, 409), "dog"),
        ("05_landing_dog_soccer.mp4", 3.5, Box(87, 203, 264, 472), "dog"),
        ("05_landing_dog_soccer.mp4", 5.5, Box(448, 298, 551, 385), "ball"),
        ("19_cyclist.mp4", 2.5, Box(345, 185, 704, 641), "bicycle"),
        ("19_cyclist.mp4", 5.5, Box(266, 116, 715, 604), "bicycle"),
        ("19_cyclist.mp4", 6.5, Box(812, 195, 1028, 322), "car"),
        ("08_driving.mp4", 5.0, Box(147, 426, 367, 578), "vehicle"),
        ("19_cyclist.mp4", 7.5, Box(600, 50, 860, 290), ""),
    ],
)
def test_boxes_cut_by_hand_from_real_clips(
    real_videos: Path, clip: str, time_s: float, box: Box, category: str
) -> None:
    frame = read_frame(real_videos / clip, time_s)
    scale = 768 / frame.shape[1]
    small = cv2.resize(frame, (768, round(frame.shape[0] * scale)), interpolation=cv2.INTER_AREA)
    crop = cut_box(np.asarray(small, np.uint8), Box(*(side * scale for side in box)))
    assert RECOGNISER.recognise([[crop]])[0].category == category
