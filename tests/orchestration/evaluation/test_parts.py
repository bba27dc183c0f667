"""Perfect models score 1, mistaken ones low, on clips whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.orchestration.evaluation.conftest import FIRST_SEED, SCENES, Configure, Film
from tests.orchestration.evaluation.film import SPEC
from tubelet.model.registry import TRACKERS
from tubelet.model.training.world import RenderedClip
from tubelet.orchestration.evaluation.clips import ClipPlan
from tubelet.orchestration.evaluation.figures import Figure
from tubelet.orchestration.evaluation.parts import (
    DescribingPart,
    EvaluationPart,
    SearchPart,
    Shown,
    TrackingPart,
)
from tubelet.orchestration.resources import make_tracker
from tubelet.settings import Settings

Figures = dict[tuple[str, str], Figure]


def run(part: EvaluationPart, clips: Iterable[RenderedClip], settings: Settings) -> Figures:
    """Show the clips to a part; its figures by subject and measure."""
    tracker = make_tracker(settings)
    for clip in clips:
        part.see(Shown(clip, tracker))
    figures = part.finish(lambda *_: None)
    return {(figure.subject, figure.measure): figure for figure in figures}


def some(clips: Film, count: int) -> list[RenderedClip]:
    return [clip for clip, _ in list(clips.values())[:count]]


def test_a_perfect_tracker_scores_1(clips: Film, configure: Configure) -> None:
    settings = configure()
    figures = run(TrackingPart(settings), some(clips, 4), settings)
    own = {measure: figure for (subject, measure), figure in figures.items() if subject != "motion"}
    assert own["J&F, first mask given"].count == own["recall, objects over 1 %"].count == 5
    assert {"J", "F", "HOTA", "DetA", "AssA", "precision of masks", "HOTA, fixed camera"} <= set(own)
    for figure in own.values():
        assert figure.value == pytest.approx(1)
        assert (figure.low, figure.high) == pytest.approx((1, 1))


def test_a_tracker_that_misplaces_everything_scores_nothing(clips: Film, configure: Configure) -> None:
    settings = configure("misplacing")
    part = TrackingPart(settings)
    figures = run(part, some(clips, 4), settings)
    own = {measure: figure.value for (subject, measure), figure in figures.items() if subject != "motion"}
    assert own["recall, objects over 1 %"] == own["HOTA"] == own["precision of masks"] == 0
    assert own["J"] is not None
    assert own["J"] < 0.1
    assert "takes no first mask" in part.remarks[0]


def test_the_baseline_stands_beside_it_and_sees_what_moves(clips: Film, configure: Configure) -> None:
    settings = configure()
    figures = run(TrackingPart(settings), [clips[FIRST_SEED + 1][0], clips[FIRST_SEED + 7][0]], settings)
    recall = figures["motion", "recall, objects over 1 %"]
    assert recall.count == 2
    assert recall.value is not None
    assert recall.value > 0.5


def test_motion_under_test_has_no_second_row(clips: Film, configure: Configure) -> None:
    settings = configure().model_copy(update={"tracker": "motion"})
    figures = run(TrackingPart(settings), some(clips, 1), settings)
    assert {subject for subject, _ in figures} == {"motion"}
    assert TRACKERS.make("motion", settings).name == make_tracker(settings).name


@pytest.mark.parametrize("masks", ["true", "tracked"])
def test_a_perfect_captioner_is_right_about_everything(
    clips: Film, configure: Configure, masks: str, tmp_path: Path
) -> None:
    settings = configure()
    part = DescribingPart(settings, masks, java=False, details=tmp_path)  # type: ignore[arg-type]
    figures = run(part, some(clips, 12), settings)
    own = {measure: figure for (subject, measure), figure in figures.items() if subject == f"{masks} masks"}
    assert own["category"].count == sum(map(len, SCENES))
    assert own["turn: left"].count == 4
    for measure in ("category", "colour", "motion", "turn: left, right or straight", "turn: left"):
        assert own[measure].value == 1, measure
    assert own["CIDEr"].value > 0.2  # type: ignore[operator]
    rows = [json.loads(line) for line in (tmp_path / "describing.jsonl").read_text().splitlines()]
    assert len(rows) == own["category"].count
    first = next(row for row in rows if row["seed"] == FIRST_SEED + 1)
    assert first["sentence"] == "A red car turns left."
    assert first["right"] == {"category": True, "colour": True, "motion": True, "turn": True}


def test_a_captioner_that_says_one_thing_of_all_is_wrong(clips: Film, configure: Configure) -> None:
    settings = configure(captioner="mistaken")
    figures = run(DescribingPart(settings, "true", java=False, details=None), some(clips, 4), settings)
    own = {measure: figure.value for (subject, measure), figure in figures.items() if subject == "true masks"}
    assert own["category"] == pytest.approx(1 / 5)  # there is one dog
    assert own["colour"] == own["motion"] == own["turn: left, right or straight"] == 0
    # Nothing makes a U-turn, so what was measured is shown: colours, and no category.
    assert figures["true masks, as shown", "colour"].value == 1
    assert figures["true masks, as shown", "category"].value == 0


def test_tracks_that_cover_no_object_are_not_described(clips: Film, configure: Configure) -> None:
    settings = configure("misplacing")
    figures = run(DescribingPart(settings, "tracked", java=False, details=None), some(clips, 2), settings)
    assert all(figure.count == 0 and figure.value is None for figure in figures.values())


def test_search_with_perfect_models_puts_the_target_first(
    clips: Film, configure: Configure, tmp_path: Path
) -> None:
    settings = configure()
    part = SearchPart(settings, ClipPlan(4, FIRST_SEED, SPEC), details=tmp_path)
    figures = run(part, some(clips, 12), settings)
    for measure in ("recall@1", "recall@5", "mean reciprocal rank"):
        assert figures["search", measure].value == 1
        assert figures["search", measure].count == 1
    for difference in ("colour", "category", "motion"):
        assert figures["search", f"another {difference} came first"].value == 0
    assert figures["vectors alone", "recall@1"].value is not None
    rows = [json.loads(line) for line in (tmp_path / "search.jsonl").read_text().splitlines()]
    assert {(row["seed"], row["number"]) for row in rows} == {(FIRST_SEED + 1, 1)}
    assert rows[0]["sentences"][0] == "A red car turns left."
    assert not settings.home.exists()


def test_search_with_misplaced_tracks_finds_nobody(clips: Film, configure: Configure) -> None:
    settings = configure("misplacing", "mistaken")
    part = SearchPart(settings, ClipPlan(4, FIRST_SEED, SPEC), details=None)
    figures = run(part, some(clips, 12), settings)
    assert figures["search", "recall@5"].value == figures["search", "mean reciprocal rank"].value == 0
