"""Hits checked on the video itself, by real frames, masks and a small random PixelRefer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.model.pixelrefer.region_factory import make_captioner
from tests.orchestration.light_models import LIGHT_EMBEDDER
from tubelet.index.query import parse_query
from tubelet.index.searching.verifying import Verdict, make_question
from tubelet.model.describing.attributes import AttributesCaptioner
from tubelet.model.describing.base import DescribeRequest, Description
from tubelet.model.pixelrefer.describer import PixelReferDescriber
from tubelet.orchestration.pipeline import index_sources
from tubelet.orchestration.resources import open_index
from tubelet.orchestration.searching import Verification, search_index
from tubelet.orchestration.verifying import Chooser, VideoVerifier
from tubelet.records import Hit
from tubelet.settings import Settings

QUESTION = make_question(parse_query("red car turning left"))


@pytest.fixture(scope="module")
def indexed(short_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with the rendered junction in it, and a copy of the clip that tests may change."""
    folder = tmp_path_factory.mktemp("verified")
    clip = folder / "junction.mp4"
    clip.write_bytes(short_clip.read_bytes())
    settings = Settings(home=folder / "home", profile="measured", embedder=LIGHT_EMBEDDER)
    assert not index_sources([str(clip)], settings=settings).failed
    return settings


@pytest.fixture
def hits(indexed: Settings) -> Sequence[Hit]:
    found = search_index("red car turning left", settings=indexed).hits
    assert len(found) >= 2
    return found


class SpeakingCaptioner:
    """Answers in words only, and keeps what it was shown."""

    name = "speaking@1"
    object_dimensions = 0
    answers_questions = True

    def __init__(self, *answers: Description) -> None:
        self.answers = list(answers)
        self.requests: list[DescribeRequest] = []

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        self.requests += requests
        return [self.answers.pop(0) for _ in requests]


def test_the_model_is_shown_the_object_itself_and_its_answer_counts(
    indexed: Settings, hits: Sequence[Hit]
) -> None:
    captioner = SpeakingCaptioner(
        Description("Yes, it is.", 0.9),
        Description("no", 0.8),
        Description("Perhaps.", 0.5),
        Description("Yes.", 0.9, familiarity=0.01),
    )
    verifier = VideoVerifier(indexed, open_index(indexed), captioner=captioner)
    verdicts = verifier.verify(QUESTION, [hits[0], hits[1], hits[0], hits[1]], seconds=60)
    assert [verdict.probability for verdict in verdicts] == pytest.approx([0.9, 0.2, None, None])
    assert "Perhaps" in verdicts[2].reason
    assert "looks like nothing" in verdicts[3].reason
    request = captioner.requests[0]
    assert request.question == QUESTION
    assert len(request.views) >= 3
    times = [view.time_s for view in request.views]
    assert hits[0].start_s <= times[0] < times[-1] <= hits[0].end_s + 0.1
    for view in request.views:  # the red car fills its mask, which is smaller than its box
        red, green, blue = view.image[view.mask].mean(axis=0)
        assert red > green + 40
        assert red > blue + 40
        assert view.scene is not None


def test_probabilities_come_from_the_networks_own_answers(indexed: Settings, hits: Sequence[Hit]) -> None:
    describer = PixelReferDescriber(make_captioner())
    assert isinstance(describer, Chooser)
    verifier = VideoVerifier(indexed, open_index(indexed), captioner=describer)
    first, again = (verifier.verify(QUESTION, hits[:1], seconds=60)[0] for _ in range(2))
    assert first == again
    assert first.probability is not None
    assert 0 < first.probability < 1


def test_no_hit_is_begun_after_the_time(indexed: Settings, hits: Sequence[Hit]) -> None:
    ticks: Iterator[float] = iter([0.0, 1.0, 6.0, 7.0])
    captioner = SpeakingCaptioner(Description("yes", 0.9))
    verifier = VideoVerifier(indexed, open_index(indexed), captioner=captioner, clock=lambda: next(ticks))
    verdicts = verifier.verify(QUESTION, [hits[0], hits[1], hits[0]], seconds=5)
    late = Verdict(None, "the 5 s for it had passed")
    assert verdicts == [Verdict(0.9), late, late]


def test_a_captioner_that_answers_nothing_is_said_in_the_result(indexed: Settings) -> None:
    plain = search_index("red car turning left", settings=indexed)
    asked = search_index("red car turning left", settings=indexed, verification=Verification(2))
    assert AttributesCaptioner.answers_questions is False
    assert asked.notes == ("2 of 2 hits were not verified: the captioner attributes@1 answers no questions",)
    assert [hit.object_id for hit in asked.hits] == [hit.object_id for hit in plain.hits]
    assert all(hit.verified is None for hit in asked.hits)
    assert asked.hits[0].why[-1].startswith("not verified")


def test_a_source_that_has_changed_is_not_looked_at(indexed: Settings, hits: Sequence[Hit]) -> None:
    source = Path(hits[0].uri)
    before = source.read_bytes()
    try:
        source.write_bytes(before + b"more")
        verifier = VideoVerifier(indexed, open_index(indexed), captioner=SpeakingCaptioner())
        (changed,) = verifier.verify(QUESTION, hits[:1], seconds=60)
        source.unlink()
        (gone,) = verifier.verify(QUESTION, hits[:1], seconds=60)
    finally:
        source.write_bytes(before)
    assert changed.probability is gone.probability is None
    assert "has changed" in changed.reason
    assert gone.reason


def test_a_hit_that_left_the_index_is_said_so(indexed: Settings, hits: Sequence[Hit]) -> None:
    lost = dataclasses.replace(hits[0], object_id="nobody")
    verifier = VideoVerifier(indexed, open_index(indexed), captioner=SpeakingCaptioner())
    assert "no more" in verifier.verify(QUESTION, [lost], seconds=60)[0].reason
