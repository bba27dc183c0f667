"""PixelRefer behind the captioner seam."""

from __future__ import annotations

import dataclasses

import pytest

from tests.model.pixelrefer.region_factory import make_captioner, make_frame, make_mask
from tubelet.errors import InputError, ModelError
from tubelet.model.describing.base import Captioner, DescribeRequest, ObjectView
from tubelet.model.pixelrefer.captioner import RegionRequest
from tubelet.model.pixelrefer.describer import PixelReferDescriber, make_lite_2b
from tubelet.records import Attributes, Box, Motion

CAPTIONER = make_captioner()
DESCRIBER: Captioner = PixelReferDescriber(CAPTIONER)

FRAME = make_frame(0, 300, 400)
MASK = make_mask(100, 150, 140, 200, 300, 400)
ATTRIBUTES = Attributes(colours=(), colour_shares=(), size="small")
STILL = Motion("none", None, 0.0, "none", 0.0, True, False, False)


def _request(view: ObjectView, question: str | None = None) -> DescribeRequest:
    return DescribeRequest((view,), ATTRIBUTES, STILL, question)


VIEW = ObjectView(
    time_s=2.5,
    image=FRAME[72:168, 122:228],
    mask=MASK[72:168, 122:228],
    crop=Box(122, 72, 228, 168),
    scene=FRAME,
    frame_size=(400, 300),
)


def test_a_view_is_described_like_the_frame_it_was_cut_from() -> None:
    (description,) = DESCRIBER.describe([_request(VIEW)])
    (answer,) = CAPTIONER.describe([RegionRequest.of([FRAME], [MASK], [2.5])])
    assert description.text == answer.text
    assert description.object_vector == pytest.approx(answer.object_vectors[0], abs=1e-5)
    assert len(description.object_vector) == DESCRIBER.object_dimensions
    assert 0 < description.confidence <= 1


def test_questions_are_answered() -> None:
    assert DESCRIBER.answers_questions
    plain, asked = DESCRIBER.describe([_request(VIEW), _request(VIEW, "Is it red?")])
    assert plain.text != asked.text


def test_a_view_without_scene_or_frame_size_is_described_from_its_crop() -> None:
    bare = dataclasses.replace(VIEW, scene=None, frame_size=None)
    (description,) = DESCRIBER.describe([_request(bare)])
    (answer,) = CAPTIONER.describe([RegionRequest.of([VIEW.image], [VIEW.mask], [2.5])])
    assert description.text == answer.text


def test_a_request_without_views_is_refused() -> None:
    with pytest.raises(InputError, match="no frames"):
        DESCRIBER.describe([DescribeRequest((), ATTRIBUTES, STILL)])


def test_the_published_model_says_how_to_get_it() -> None:
    with pytest.raises(ModelError, match="tubelet models pull PixelRefer-Lite-2B"):
        make_lite_2b()
