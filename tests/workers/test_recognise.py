"""Recognition in the tracking and the describing stage, with a recogniser and a captioner that are told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tubelet.model.describing.attributes import AttributesCaptioner
from tubelet.model.describing.base import Captioner, DescribeRequest, Description, Looks, Naming
from tubelet.model.frame import Frame
from tubelet.model.masks import encode_mask
from tubelet.model.recognising.base import Crop, Recogniser, Recognition
from tubelet.model.tracking.base import TrackedFrame, TrackedObject
from tubelet.model.trajectory.shape import NUM_NUMBERS
from tubelet.records import Box, CameraStep, Chunk, Likelihoods, Observation, Tubelet, Video, View
from tubelet.workers.describe import DescribedObject, describe_tubelets
from tubelet.workers.evidence import encode_picture, make_crop
from tubelet.workers.frames import Frames
from tubelet.workers.recognise import recognise_views
from tubelet.workers.track import track_chunk

WIDTH, HEIGHT = 320, 180
VIDEO = Video("v", "v.mp4", "i", 4.0, 5.0, 5.0, 20, WIDTH, HEIGHT, 0, "h264", False)
CHUNK = Chunk("v-0", "v", 0, 0.0, 4.0, 0.0, 4.0)
STILL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class ToldRecogniser:
    """Says what it was told, and remembers what it was shown."""

    name = "told@1"
    num_dimensions = 3

    def __init__(self, category: str = "car", score: float = 0.8) -> None:
        self.category, self.score = category, score
        self.shown: list[Sequence[Crop]] = []

    def recognise(self, objects: Sequence[Sequence[Crop]]) -> list[Recognition]:
        self.shown += objects
        return [Recognition(self.category, self.score, ("sports car",), (0.0, 1.0, 0.0))] * len(objects)


class ToldCaptioner:
    """Says of every object what it was told, as a network would."""

    name = "told@1"
    object_dimensions = 2
    answers_questions = False

    def __init__(self, text: str, confidence: float) -> None:
        self.text, self.confidence = text, confidence
        self.looks: list[Looks | None] = []

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        self.looks += [request.looks for request in requests]
        return [Description(self.text, self.confidence, (1.0, 0.0)) for _ in requests]


class LengthEmbedder:
    """A text's length as its vector, to tell which text was embedded."""

    name = "length@1"
    num_dimensions = 1

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[len(text)] for text in texts], np.float32)


class SquareTracker:
    """Follows one square that moves to the right from the first frame to the last."""

    name = "square@1"
    num_context_frames = 0

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        for frame in frames:
            item = TrackedObject(0, observe(frame.time_s))
            yield TrackedFrame(frame, (item,), CameraStep(frame.time_s, STILL))


class DrawnFrames:
    """Frames of a red square on grey, without a video."""

    warnings = ()

    def read(self, start_s: float, end_s: float) -> Iterator[Frame]:
        for number in range(20):
            yield Frame(number / 5, draw(number / 5), WIDTH, HEIGHT)


def observe(time_s: float) -> Observation:
    box = Box(20 + 40 * time_s, 60, 80 + 40 * time_s, 120)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[60:120, round(box.x0) : round(box.x1)] = True
    return Observation(time_s, box, 0.9, encode_mask(mask))


def draw(time_s: float) -> NDArray[np.uint8]:
    image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    left = round(20 + 40 * time_s)
    cv2.rectangle(image, (left, 60), (left + 59, 119), (200, 20, 20), -1)
    return image


def make_view(time_s: float, quality: float) -> View:
    crop = Box(0, 0, WIDTH, HEIGHT)
    observation = observe(time_s)
    assert observation.mask is not None
    return View(time_s, observation.box, crop, encode_picture(draw(time_s)), observation.mask, quality)


def describe(captioner: Captioner, recogniser: Recogniser | None) -> DescribedObject:
    observations = tuple(observe(number / 5) for number in range(20))
    tubelet = Tubelet("o1", "v", observations, ("t1",))
    views = [make_view(0.5, 10.0), make_view(1.5, 30.0), make_view(2.5, 20.0), make_view(3.5, 5.0)]
    camera = [CameraStep(item.time_s, STILL) for item in observations]
    [described] = describe_tubelets(
        VIDEO,
        [tubelet],
        camera,
        lambda _: views,
        captioner,
        LengthEmbedder(),
        recogniser,
        max_moment_s=10,
    )
    return described


def test_the_best_views_are_shown_the_best_first() -> None:
    recogniser = ToldRecogniser()
    views = [make_view(0.5, 1.0), make_view(1.0, 3.0), make_view(1.5, 2.0)]
    answers = recognise_views(recogniser, [views, [], views[:1]], max_views=2)
    assert [answer.category if answer else None for answer in answers] == ["car", None, "car"]
    assert [[crop.weight for crop in crops] for crops in recogniser.shown] == [[3.0, 2.0], [1.0]]


def test_many_objects_are_all_answered_in_order() -> None:
    recogniser = ToldRecogniser()
    objects = [[make_view(1.0, float(number + 1))] for number in range(40)]
    assert len(recognise_views(recogniser, objects, max_views=3)) == 40
    assert [crops[0].weight for crops in recogniser.shown] == [float(number + 1) for number in range(40)]


def test_a_crop_has_its_box_in_pixels_of_its_picture() -> None:
    """The picture is half as large as the part of the frame that it shows."""
    picture = np.zeros((50, 100, 3), np.uint8)
    mask = encode_mask(np.ones((50, 100), bool))
    view = View(0.0, Box(120, 60, 160, 100), Box(100, 40, 300, 140), encode_picture(picture), mask, 0.0)
    crop = make_crop(view)
    assert crop.box == Box(10, 10, 30, 30)
    assert crop.weight > 0


def test_tracklets_carry_the_recognisers_vector() -> None:
    recogniser = ToldRecogniser()
    frames = cast(Frames, DrawnFrames())
    result, views = track_chunk(frames, VIDEO, CHUNK, SquareTracker(), recogniser)
    assert [tracklet.appearance for tracklet in result.tracklets] == [(0.0, 1.0, 0.0)]
    assert len(recogniser.shown[0]) == 2 <= len(views[0])
    without, _ = track_chunk(frames, VIDEO, CHUNK, SquareTracker())
    assert without.tracklets[0].appearance == ()


def test_the_measured_sentence_names_the_recognised_category() -> None:
    described = describe(AttributesCaptioner(), ToldRecogniser())
    [moment] = described.moments
    assert " red car " in moment.caption
    assert (moment.caption_source, moment.model_caption) == ("measured", "")
    known = moment.attributes
    assert (known.category, known.category_score, known.kinds) == ("car", 0.8, ("sports car",))
    assert described.summary.attributes.category == "car"
    assert moment.object_vector == (0.0, 1.0, 0.0)


def test_without_a_recogniser_nothing_is_known_and_the_captioners_vector_counts() -> None:
    [moment] = describe(ToldCaptioner("A red thing goes straight.", 0.9), None).moments
    assert moment.attributes.category == ""
    assert moment.object_vector == (1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "confidence", "source", "category"),
    [
        ("A red car goes straight.", 0.6, "model", "car"),
        ("A red car turns left.", 0.6, "measured", "car"),
        ("A red dog goes straight.", 0.6, "measured", "car"),
        ("A red dog goes straight.", 0.95, "model", ""),
        ("A green car goes straight.", 0.95, "measured", "car"),
    ],
)
def test_the_row_shows_the_surer_sentence_and_keeps_the_networks(
    text: str, confidence: float, source: str, category: str
) -> None:
    described = describe(ToldCaptioner(text, confidence), ToldRecogniser())
    [moment] = described.moments
    assert (moment.caption_source, moment.attributes.category) == (source, category)
    assert (moment.caption == text) == (source == "model")
    assert (moment.model_caption, moment.model_confidence) == (text, confidence)
    assert moment.text_vector == (float(len(moment.caption)),)
    assert described.summary.attributes.category == category


def test_a_captioner_is_told_how_the_object_looks() -> None:
    captioner = ToldCaptioner("A red car.", 0.9)
    describe(captioner, ToldRecogniser())
    describe(captioner, None)
    assert captioner.looks == [Looks("told@1", (0.0, 1.0, 0.0)), None]


class KnowingCaptioner(ToldCaptioner):
    """Knows colours and ways, and keeps what it was told of paths."""

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        self.shapes = [request.shape for request in requests]
        return [
            replace(
                said,
                familiarity=0.5,
                naming=Naming("car", 0.9),
                colour=Naming("blue", 0.9, (("blue", 0.9), ("teal", 0.06))),
                way=Naming("left", 0.9),
            )
            for said in super().describe(requests)
        ]


def test_rows_are_told_as_the_captioner_knows_them() -> None:
    captioner = KnowingCaptioner("A red car turns left.", 0.9)
    described = describe(captioner, ToldRecogniser())
    [moment] = described.moments
    assert [np.shape(shape) for shape in captioner.shapes] == [(NUM_NUMBERS,)]
    assert (moment.caption, moment.caption_source) == ("A blue car turns left.", "model")
    assert moment.attributes.colours == described.summary.attributes.colours == ("blue",)
    assert (moment.motion.turn, described.summary.motion.turn) == ("left", "left")
    assert abs(moment.motion.turn_deg) < 5  # as measured
    assert moment.likely == Likelihoods(("blue", "teal"), (0.9, 0.06))


def test_an_unsure_recogniser_leaves_the_category_open() -> None:
    described = describe(AttributesCaptioner(), ToldRecogniser("", 0.0))
    assert " red object " in described.moments[0].caption
