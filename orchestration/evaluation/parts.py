"""The parts of an evaluation: each is shown the clips one after the other, and then gives its figures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Protocol

from tubelet.errors import DependencyError
from tubelet.model.describing.text_scores import score_texts
from tubelet.model.registry import TRACKERS
from tubelet.model.tracking.base import TrackedFrame, Tracker
from tubelet.model.training.world import RenderedClip
from tubelet.orchestration.evaluation.clips import ClipPlan
from tubelet.orchestration.evaluation.describing import (
    DescribedTruth,
    describe_clip,
    find_owners,
    summarise_describing,
    track_truth,
)
from tubelet.orchestration.evaluation.figures import Figure
from tubelet.orchestration.evaluation.following import TrackChooser, make_follower
from tubelet.orchestration.evaluation.searching import (
    Answer,
    ArchiveBuilder,
    ask_archive,
    index_archive,
    summarise_search,
)
from tubelet.orchestration.evaluation.tracking import (
    ClipScores,
    run_tracker,
    score_clip,
    summarise_tracking,
)
from tubelet.orchestration.resources import make_captioner, make_recogniser
from tubelet.settings import Settings

MaskSource = Literal["true", "tracked", "both"]

BASELINE = "motion"
"""The tracker that stands beside the one under test."""

Progress = Callable[[str, int, int], None]
"""Hears the name of what is going on, how much of it is done, and how much there is."""


class Shown:
    """A clip, and what the tracker under test finds in it, looked for once."""

    def __init__(self, clip: RenderedClip, tracker: Tracker) -> None:
        self.clip = clip
        self._tracker = tracker

    @cached_property
    def tracked(self) -> list[TrackedFrame]:
        """What the tracker finds by itself."""
        return run_tracker(self._tracker, self.clip)


class EvaluationPart(Protocol):
    """A part of an evaluation."""

    remarks: list[str]
    """What the reader of the figures has to know."""

    def see(self, shown: Shown) -> None:
        """Take one clip."""

    def finish(self, report: Progress) -> list[Figure]:
        """The figures over all clips that were seen."""


class TrackingPart:
    """The tracker under test, and the baseline beside it."""

    def __init__(self, settings: Settings) -> None:
        self._name = settings.tracker_name
        self._follower = make_follower(settings)
        self._baseline = None if self._name == BASELINE else TRACKERS.make(BASELINE, settings)
        self._scores: dict[str, list[ClipScores]] = {}
        choosers = [BASELINE] if self._baseline is not None else []
        choosers += [self._name] if isinstance(self._follower, TrackChooser) else []
        self.remarks = [
            f"{name} takes no first mask: its track that lies best on that mask is scored."
            for name in choosers
        ]

    def see(self, shown: Shown) -> None:
        """Track the clip."""
        self._add(self._name, score_clip(shown.clip, shown.tracked, self._follower))
        if self._baseline is not None:
            tracked = run_tracker(self._baseline, shown.clip)
            self._add(BASELINE, score_clip(shown.clip, tracked, TrackChooser()))

    def finish(self, report: Progress) -> list[Figure]:
        """J&F, HOTA, recall."""
        summaries = (summarise_tracking(name, scores) for name, scores in self._scores.items())
        return list(chain.from_iterable(summaries))

    def _add(self, name: str, scores: ClipScores) -> None:
        self._scores.setdefault(name, []).append(scores)


class DescribingPart:
    """The captioner, under true masks, tracked ones, or both; and what would be shown, where that differs.

    `details` gets a line an object.
    """

    def __init__(self, settings: Settings, masks: MaskSource, *, java: bool, details: Path | None) -> None:
        self._captioner = make_captioner(settings)
        self._recogniser = make_recogniser(settings)
        self._masks = masks
        self._java = java
        self._details = details
        self._described: dict[str, list[list[DescribedTruth]]] = {}
        self._can_score = java or _can_score_texts()
        self.remarks = [] if self._can_score else ["Sentences were not scored: pip install 'tubelet[eval]'."]

    def see(self, shown: Shown) -> None:
        """Describe the clip's objects."""
        clip = shown.clip
        if self._masks != "tracked":
            self._describe("true masks", clip, track_truth(clip), None)
        if self._masks != "true":
            self._describe("tracked masks", clip, shown.tracked, find_owners(clip, shown.tracked))

    def finish(self, report: Progress) -> list[Figure]:
        """Accuracies and scores of sentences."""
        rows = (
            {"masks": subject} | _describe_row(item)
            for subject, clips in self._described.items()
            for item in chain.from_iterable(clips)
        )
        _write_details(self._details, "describing", rows)
        figures: list[Figure] = []
        for subject, clips in self._described.items():
            figures += self._summarise(subject, clips)
            shown = [[replace(item, sentence=item.shown) for item in clip] for clip in clips]
            if shown != clips:
                figures += self._summarise(f"{subject}, as shown", shown)
        return figures

    def _describe(
        self,
        subject: str,
        clip: RenderedClip,
        tracked: Sequence[TrackedFrame],
        owners: Mapping[int, int] | None,
    ) -> None:
        told = describe_clip(clip, tracked, owners, self._captioner, self._recogniser)
        self._described.setdefault(subject, []).append(told)

    def _summarise(self, subject: str, clips: Sequence[Sequence[DescribedTruth]]) -> list[Figure]:
        return summarise_describing(subject, clips, java=self._java, with_texts=self._can_score)


class SearchPart:
    """The whole pipeline over clips as files, then queries. `details` gets a line a query."""

    def __init__(self, settings: Settings, plan: ClipPlan, *, details: Path | None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="tubelet-eval-")
        folder = Path(self._temporary.name)
        self._settings = settings.model_copy(update={"home": folder / "home", "index_uri": ""})
        self._builder = ArchiveBuilder(plan, folder / "clips")
        self._details = details
        self.remarks: list[str] = []

    def see(self, shown: Shown) -> None:
        """Write the clip to a file."""
        self._builder.add(shown.clip)

    def finish(self, report: Progress) -> list[Figure]:
        """Look for more clips, index the chosen ones, ask."""
        with self._temporary:
            archive = self._builder.finish(lambda done, of: report("looking for rivals", done, of))
            report("indexing", 0, len(archive.clips))
            index_archive(archive, self._settings)
            report("indexing", len(archive.clips), len(archive.clips))
            answers = ask_archive(archive, self._settings, "search")
        if not answers:
            self.remarks.append("No target had a rival of every kind: take more --clips.")
        _write_details(self._details, "search", map(_answer_row, answers))
        return summarise_search(answers)


def _can_score_texts() -> bool:
    with suppress(DependencyError):
        score_texts(["a car"], [["a car"]])
        return True
    return False


def _describe_row(item: DescribedTruth) -> dict[str, Any]:
    right = {
        "category": item.has_right_category,
        "colour": item.has_right_colour,
        "motion": item.has_right_motion,
        "turn": item.has_right_turn if item.true_turn else None,
    }
    return {**asdict(item), "right": right}


def _answer_row(answer: Answer) -> dict[str, Any]:
    return {**asdict(answer), "beaten_by": sorted(answer.beaten_by)}


def _write_details(folder: Path | None, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
