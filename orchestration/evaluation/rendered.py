"""Evaluation on rendered clips: which parts run, on what, with which models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from tubelet.errors import InputError
from tubelet.model.training.world import RenderedClip
from tubelet.orchestration.evaluation.clips import ClipPlan
from tubelet.orchestration.evaluation.parts import (
    DescribingPart,
    EvaluationPart,
    MaskSource,
    Progress,
    SearchPart,
    Shown,
    TrackingPart,
)
from tubelet.orchestration.evaluation.report import PartReport, RenderedReport
from tubelet.orchestration.resources import make_captioner, make_embedder, make_recogniser, make_tracker
from tubelet.settings import Settings

PartName = Literal["tracking", "describing", "search"]
PART_NAMES: tuple[PartName, ...] = get_args(PartName)

NUM_CLIPS = 40
FIRST_SEED = 100_000


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to run. `masks` says what is described: under true masks, under the tracker's, or both.

    `java` adds METEOR 1.5. `details` is a folder for one JSON line an object and a query, or None.
    """

    num_clips: int = NUM_CLIPS
    first_seed: int = FIRST_SEED
    parts: tuple[PartName, ...] = PART_NAMES
    masks: MaskSource = "true"
    java: bool = False
    details: Path | None = None

    def __post_init__(self) -> None:
        for option, value, least in (("--clips", self.num_clips, 1), ("--seed", self.first_seed, 0)):
            if value < least:
                raise InputError(f"{option} is {value}", expected=f"{least} or more")


def make_options(
    num_clips: int, first_seed: int, *, parts: str, masks: str, java: bool, details: Path | None
) -> EvaluationOptions:
    """Options from words: `parts` separated by commas. Raises InputError for a word that is none of them."""
    named = tuple(word.strip() for word in parts.split(",") if word.strip())
    for option, given, known in (
        ("--parts", named, PART_NAMES),
        ("--masks", (masks,), get_args(MaskSource)),
    ):
        if not given or set(given) - set(known):
            raise InputError(f"{option} is {','.join(given)!r}", expected=f"some of {', '.join(known)}")
    return EvaluationOptions(
        num_clips, first_seed, cast(tuple[PartName, ...], named), cast(MaskSource, masks), java, details
    )


def evaluate_rendered(
    settings: Settings, options: EvaluationOptions, report: Progress = lambda *_: None
) -> RenderedReport:
    """Score the tracker, captioner and search of these settings on held-out rendered clips.

    Works in a temporary home; the one of the settings is not touched. The same settings and options give the
    same figures. Raises ModelError, SettingsError or DependencyError where a model cannot be made.
    """
    plan = ClipPlan(options.num_clips, options.first_seed)
    clock = _Clock()
    parts = _make_parts(settings, plan, options)
    tracker = make_tracker(settings)
    for place, clip in enumerate(clock.time_each("rendering", plan.render())):
        shown = Shown(clip, tracker)
        for name, part in parts.items():
            with clock.time(name):
                part.see(shown)
        report("clips", place + 1, plan.num_clips)
    reports = []
    for name, part in parts.items():
        with clock.time(name):
            figures = part.finish(report)
        reports.append(PartReport(name, tuple(figures), clock.seconds[name], tuple(part.remarks)))
    spec = plan.spec
    return RenderedReport(
        models=_name_models(settings, options),
        clips={
            "number": plan.num_clips,
            "first seed": plan.first_seed,
            "split": spec.split,
            "frames": spec.num_frames,
            "frames a second": spec.frame_rate,
            "size": f"{spec.width} x {spec.height}",
            "rendered in": f"{clock.seconds['rendering']:.0f} s",
        },
        parts=tuple(reports),
    )


def _make_parts(
    settings: Settings, plan: ClipPlan, options: EvaluationOptions
) -> dict[PartName, EvaluationPart]:
    make: Mapping[PartName, Callable[[], EvaluationPart]] = {
        "tracking": lambda: TrackingPart(settings),
        "describing": lambda: DescribingPart(
            settings, options.masks, java=options.java, details=options.details
        ),
        "search": lambda: SearchPart(settings, plan, details=options.details),
    }
    return {name: make[name]() for name in PART_NAMES if name in options.parts}


def _name_models(settings: Settings, options: EvaluationOptions) -> dict[str, str]:
    names = {}
    if set(options.parts) - {"describing"} or options.masks != "true":
        names["tracker"] = make_tracker(settings).name
    if set(options.parts) - {"tracking"}:
        names["captioner"] = make_captioner(settings).name
        recogniser = make_recogniser(settings)
        names["recogniser"] = "none" if recogniser is None else recogniser.name
    if "search" in options.parts:
        names["embedder"] = make_embedder(settings).name
    return names


class _Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Count what happens inside."""
        started = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started

    def time_each(self, name: str, clips: Iterator[RenderedClip]) -> Iterator[RenderedClip]:
        """Pass on clips, counting how long each takes to come."""
        while True:
            with self.time(name):
                clip = next(clips, None)
            if clip is None:
                return
            yield clip
