"""The attributes captioner: sentences, sizes, and the appearance vector."""

from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tubelet.errors import InputError
from tubelet.model.describing.appearance import NUM_DIMENSIONS, appearance_vector
from tubelet.model.describing.attributes import AttributesCaptioner, measure_attributes, name_size
from tubelet.model.describing.base import Captioner, DescribeRequest, ObjectView
from tubelet.records import Attributes, Box, Heading, Motion, Side, Turn

STILL = Motion("none", None, 0.0, "none", 0.0, True, False, False)
PASS = Motion("up", 90.0, 1.0, "none", 0.0, False, False, False, "bottom", "top")
RED_CAR = Attributes(colours=("red",), colour_shares=(0.8,), size="large", category="car")


def make_view(
    rgb: tuple[int, int, int], size: tuple[int, int] = (60, 100), light: float = 1.0, time_s: float = 0.0
) -> ObjectView:
    """A plain object of (width, height) on grey."""
    image = np.full((160, 160, 3), round(110 * light), dtype=np.uint8)
    mask = np.zeros((160, 160), dtype=bool)
    mask[20 : 20 + size[1], 20 : 20 + size[0]] = True
    image[mask] = [round(value * light) for value in rgb]
    return ObjectView(time_s=time_s, image=image, mask=mask, crop=Box(0, 0, 160, 160))


def say(attributes: Attributes, motion: Motion) -> str:
    request = DescribeRequest(views=(make_view((200, 0, 0)),), attributes=attributes, motion=motion)
    return AttributesCaptioner().describe([request])[0].text


def cosine(first: ObjectView, second: ObjectView) -> float:
    return float(
        np.dot(appearance_vector(first.image, first.mask), appearance_vector(second.image, second.mask))
    )


@pytest.mark.parametrize(
    ("attributes", "motion", "sentence"),
    [
        (RED_CAR, PASS, "A large red car enters from the bottom, moves up and leaves at the top."),
        (
            Attributes(("grey", "blue"), (0.6, 0.2), "medium"),
            STILL,
            "A medium grey and blue object stands still.",
        ),
        (
            Attributes(("white",), (0.9,), "small", "van"),
            Motion("up-left", 130.0, 3.0, "left", 85.0, False, False, True, "right", None),
            "A small white van enters from the right, moves fast up and to the left, turns left"
            " and moves away.",
        ),
        (
            Attributes(("white",), (1.0,), "medium", "suv"),
            Motion("right", 0.0, 1.0, "none", 0.0, False, False, False),
            "A medium white SUV moves to the right.",
        ),
        (
            Attributes(("red", "blue"), (0.5, 0.4), "small", "woman"),
            Motion("none", None, 0.0, "none", 0.0, True, False, False),
            "A small woman in red and blue stands still.",
        ),
        (
            Attributes((), (), "tiny"),
            Motion("none", None, 0.0, "none", 0.0, False, True, False),
            "A tiny object comes closer.",
        ),
        (
            Attributes(("black",), (1.0,), "large", "person"),
            Motion("left", 180.0, 0.2, "u", 170.0, False, False, False, None, "left"),
            "A large person in black moves slowly to the left, makes a U-turn and leaves at the left.",
        ),
    ],
)
def test_sentences(attributes: Attributes, motion: Motion, sentence: str) -> None:
    assert say(attributes, motion) == sentence


def test_every_motion_makes_one_clean_sentence() -> None:
    sides: list[Side | None] = [None, *get_args(Side)]
    for heading, turn, entry, exit_ in product(get_args(Heading), get_args(Turn), sides, sides):
        for stopped, approaching in ((True, False), (False, True), (False, False)):
            motion = Motion(heading, None, 1.0, turn, 0.0, stopped, approaching, False, entry, exit_)
            sentence = say(RED_CAR, motion)
            assert sentence.startswith("A large red car ")
            assert sentence.endswith(".")
            assert "  " not in sentence
            assert "none" not in sentence
            assert "None" not in sentence


def test_it_is_a_captioner_and_its_vector_has_the_length_it_says() -> None:
    captioner: Captioner = AttributesCaptioner()
    views = tuple(make_view((200, 20, 20), time_s=float(index)) for index in range(3))
    description = captioner.describe([DescribeRequest(views, RED_CAR, PASS)])[0]
    assert captioner.name == "attributes@1"
    assert len(description.object_vector) == captioner.object_dimensions == NUM_DIMENSIONS
    assert np.linalg.norm(description.object_vector) == pytest.approx(1)
    assert description.confidence == pytest.approx(0.8)


def test_neighbours_do_not_change_an_answer() -> None:
    captioner = AttributesCaptioner()
    requests = [
        DescribeRequest((make_view((200, 20, 20)),), RED_CAR, PASS),
        DescribeRequest((make_view((20, 20, 200)),), Attributes(("blue",), (0.7,), "small"), STILL),
    ]
    assert captioner.describe(requests) == [captioner.describe([request])[0] for request in requests]


def test_a_question_is_refused_with_advice() -> None:
    captioner = AttributesCaptioner()
    request = DescribeRequest((make_view((200, 20, 20)),), RED_CAR, PASS, question="Who drives it?")
    assert not captioner.answers_questions
    with pytest.raises(InputError, match="choose a captioner that answers questions"):
        captioner.describe([request])


@pytest.mark.parametrize(
    ("share", "size"),
    [
        (0, "tiny"),
        (0.0029, "tiny"),
        (0.003, "small"),
        (0.015, "medium"),
        (0.06, "large"),
        (1, "large"),
    ],
)
def test_size_words(share: float, size: str) -> None:
    assert name_size(share) == size


@pytest.mark.parametrize("share", [-0.1, float("nan"), float("inf")])
def test_impossible_areas_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match="area share"):
        name_size(share)


def test_attributes_come_from_all_views() -> None:
    views = [make_view((200, 20, 20)), make_view((200, 20, 20)), make_view((30, 60, 200))]
    attributes = measure_attributes(views, mean_area_share=0.02, category="car")
    assert (attributes.colours, attributes.size, attributes.category) == (("red",), "medium", "car")


def test_empty_masks_leave_the_colours_empty() -> None:
    view = make_view((200, 20, 20))
    blank = ObjectView(view.time_s, view.image, np.zeros_like(view.mask), view.crop)
    assert measure_attributes([blank], mean_area_share=0.02).colours == ()
    assert measure_attributes([blank, view], mean_area_share=0.02).colours == ("red",)
    description = AttributesCaptioner().describe([DescribeRequest((blank,), RED_CAR, PASS)])[0]
    assert description.object_vector == ()


@settings(deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(10, 235), st.integers(10, 235), st.integers(10, 235)),
    st.tuples(st.integers(20, 120), st.integers(20, 120)),
)
def test_an_object_looks_like_itself_larger_and_a_little_darker(
    rgb: tuple[int, int, int], size: tuple[int, int]
) -> None:
    view = make_view(rgb, size)
    assert cosine(view, view) == pytest.approx(1)
    half = make_view(rgb, (max(10, size[0] // 2), max(10, size[1] // 2)))
    assert cosine(view, half) > 0.97
    assert cosine(view, make_view(rgb, size, light=0.92)) > 0.85


def test_other_paint_and_other_clothes_look_different() -> None:
    red, blue, grey = make_view((200, 20, 20)), make_view((20, 40, 200)), make_view((120, 120, 120))
    assert cosine(red, blue) < 0.3
    assert cosine(red, grey) < 0.3
    dressed = make_view((15, 15, 15))
    dressed.image[20:70, 20:80] = (200, 20, 20)
    upside_down = make_view((200, 20, 20))
    upside_down.image[20:70, 20:80] = (15, 15, 15)
    assert cosine(dressed, upside_down) < 0.8
