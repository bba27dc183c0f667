"""Carried masks are set right where the judge prefers what the decoder sees, and only there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.model.tracking.film_factory import Thing, straight
from tests.model.tracking.sam2.colour_network import ColourNetwork
from tests.model.tracking.sam2.factories import make_model
from tests.model.tracking.sam2.motionless import Motionless
from tests.model.tracking.sam2.plain_film import BLUE, RED, PlainFilm, film_plainly
from tests.model.tracking.sam2.red_judge import make_red_judge
from tubelet.errors import SettingsError
from tubelet.model.frame import Frame
from tubelet.model.masks import Mask, decode_mask, encode_mask, mask_box
from tubelet.model.tracking.base import TrackedFrame, TrackedObject
from tubelet.model.tracking.sam2.assistants import Assistants
from tubelet.model.tracking.sam2.discovery import DiscoverySettings
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.masks import FrameMasks
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.tracking.sam2.prompts import MaskPrompt
from tubelet.model.tracking.sam2.refining import RefiningSettings, refine
from tubelet.model.tracking.sam2.settings import TrackerSettings
from tubelet.model.tracking.sam2.tracker import Sam2Tracker
from tubelet.orchestration.evaluation.following import Sam2Follower
from tubelet.records import Box, CameraStep, Observation

FILM = film_plainly(
    [Thing(RED, (60, 40), lambda _: (100, 90)), Thing(BLUE, (60, 40), lambda _: (230, 90))], 0.5
)


def make_session(*, red: Mask, blue: Mask) -> tuple[FlowSession, FrameMasks]:
    """Both things followed by these masks into the second frame."""
    session = FlowSession(ColourNetwork(), assistants=Assistants(judge=make_red_judge()))
    session.advance(FILM.frames[0].image)
    session.add({7: MaskPrompt(red), 3: MaskPrompt(blue)})
    return session, session.advance(FILM.frames[1].image)


def halve(mask: Mask) -> Mask:
    """The upper half of a mask."""
    rows = np.flatnonzero(mask.any(1))
    half = mask.copy()
    half[rows[len(rows) // 2] :] = False
    return half


def measure(seen: FrameMasks) -> list[float]:
    """IoU of the masks of the red and the blue thing with the truth."""
    masks = [decode_mask(rle) for rle in seen.encode(180, 320)]
    return [
        float((mask & truth).sum() / (mask | truth).sum())
        for mask, truth in zip(masks, FILM.truth[1], strict=True)
    ]


def test_a_half_becomes_whole_where_the_judge_says_so_and_stays_so() -> None:
    red, blue = FILM.truth[0]
    session, carried = make_session(red=halve(red), blue=halve(blue))
    assert measure(carried) == pytest.approx([0.5, 0.5], abs=0.06)
    refined = refine(session, carried, RefiningSettings(min_agreement=0.3)).masks
    assert refined.numbers == carried.numbers
    assert measure(refined)[0] > 0.85
    assert measure(refined)[1] == measure(carried)[1], "what is blue is as good as nothing either way"
    followed = session.advance(FILM.frames[2].image)
    assert measure(followed)[0] > 0.85, "it is what goes on"


def test_what_is_mixed_lies_between_the_carried_mask_and_the_better_one() -> None:
    red, blue = FILM.truth[0]
    logits = []
    for mix in (0.0, 0.6, 1.0):
        session, carried = make_session(red=halve(red), blue=blue)
        refined = refine(session, carried, RefiningSettings(min_agreement=0.3, mix=mix))
        logits.append(refined.masks.logits_Bhw[0])
    kept, mixed, better = logits
    assert torch.equal(kept > 0, carried.logits_Bhw[0] > 0)
    assert torch.allclose(mixed, 0.4 * kept + 0.6 * better, atol=1e-4)


def test_the_decoder_is_asked_about_rough_masks() -> None:
    session = FlowSession(TransformersNetwork(make_model()))
    session.advance(FILM.frames[0].image)
    seen = session.add({place: MaskPrompt(mask) for place, mask in enumerate(FILM.truth[0])})
    answers = session.look_at_masks(seen.logits_Bhw)
    assert answers.shape == seen.logits_Bhw.shape
    assert not torch.allclose(answers[0], answers[1]), "each is asked about its own"
    assert torch.allclose(session.look_at_masks(seen.logits_Bhw[1:]), answers[1:], atol=1e-4)


@pytest.mark.parametrize("settings", [{"min_gain": 0.5}, {"min_agreement": 0.9}])
def test_a_small_gain_or_another_place_changes_nothing(settings: dict[str, float]) -> None:
    red, blue = FILM.truth[0]
    session, carried = make_session(red=halve(red), blue=blue)
    refined = refine(session, carried, RefiningSettings(**settings)).masks
    assert measure(refined) == measure(carried)


def test_nothing_in_sight_is_nothing_to_refine() -> None:
    session = FlowSession(ColourNetwork(), assistants=Assistants(judge=make_red_judge()))
    nothing = session.advance(FILM.frames[0].image)
    assert refine(session, nothing, RefiningSettings()).masks is nothing


@pytest.mark.parametrize(
    ("bonus", "suits", "is_refined"), [(0.0, False, True), (0.9, True, False)], ids=["little", "much"]
)
def test_a_mask_of_motion_takes_part_with_a_bonus(bonus: float, suits: bool, is_refined: bool) -> None:
    """Motion sees both things as one, and the judge the red one alone."""
    red, blue = FILM.truth[0]
    session, carried = make_session(red=halve(red), blue=blue)
    both = session.fit_masks(torch.from_numpy(red | blue)[None].float())[0] >= 0.5
    refined = refine(session, carried, RefiningSettings(min_agreement=0.3), {7: both}, bonus)
    assert refined.suits_motion == {7: suits, 3: False}
    assert (measure(refined.masks)[0] > 0.85) is is_refined, "motion's own is left for the caller to take"


class MovesAsOne(Motionless):
    """A motion tracker that sees two things as one, which moves."""

    def __init__(self, film: PlainFilm) -> None:
        self._covers = {frame.time_s: covers for frame, covers in zip(film.frames, film.truth, strict=True)}

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        for tracked in super().track(frames, context):
            mask = encode_mask(np.any(self._covers[tracked.frame.time_s], axis=0))
            seen = Observation(tracked.frame.time_s, mask_box(mask), 1.0, mask)
            yield TrackedFrame(tracked.frame, (TrackedObject(0, seen),), tracked.camera)


class MovingCamera(MovesAsOne):
    """The same, before a camera that moves."""

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        for tracked in super().track(frames, context):
            yield replace(tracked, camera=CameraStep(tracked.frame.time_s, (1, 0, 2, 0, 1, 0)))


@pytest.mark.parametrize(
    ("refine_every", "watch", "is_found"),
    [(2, MovingCamera, True), (2, MovesAsOne, False), (0, MovingCamera, False)],
    ids=["judged", "trusted before a still camera", "not judged"],
)
def test_the_tracker_finds_the_thing_in_what_moves_as_one(
    refine_every: int, watch: type[MovesAsOne], is_found: bool
) -> None:
    film = film_plainly(
        [
            Thing(BLUE, (60, 60), straight((60, 90), (30, 0))),
            Thing(RED, (60, 40), straight((80, 90), (30, 0))),
        ],
        3.0,
    )
    plan = TrackerSettings(
        follow_by="flow",
        min_score=0.0,
        refine_every=refine_every,
        refining=RefiningSettings(min_agreement=0.3, still_bonus=0.9),
        motion_masks=True,
        discovery=DiscoverySettings(min_judged=0.3, min_judged_cut=0.3),
        key_every_s=0.5,
    )
    judging = Sam2Tracker(
        ColourNetwork(), settings=plan, assistants=Assistants(judge=make_red_judge()), motion=watch(film)
    )
    *_, last = judging.track(film.frames, [])
    ious = [
        float((mask & cover).sum() / (mask | cover).sum())
        for item in last.objects
        if item.observation.mask is not None
        for mask, cover in [(decode_mask(item.observation.mask), film.truth[-1][1])]
    ]
    assert (max(ious) > 0.85) is is_found


class SeesAPart(Motionless):
    """A motion tracker that sees, after the first frame, no more of a thing than a part of it that moves."""

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        for tracked in super().track(frames, context):
            mask = np.zeros((180, 320), bool)
            mask[90:100, 80:95] = True
            seen = Observation(tracked.frame.time_s, Box(80, 90, 95, 100), 1.0, encode_mask(mask))
            objects = (TrackedObject(0, seen),) if tracked.frame.time_s > 0 else ()
            yield replace(tracked, objects=objects)


def test_what_was_discovered_is_not_under_motions_mask_before_the_judge_has_preferred_that() -> None:
    film = film_plainly([Thing(RED, (60, 40), lambda _: (100, 90))], 0.5)
    plan = TrackerSettings(
        follow_by="flow",
        min_score=0.0,
        refine_every=2,
        motion_masks=True,
        discovery=DiscoverySettings(min_judged=0.3, min_judged_cut=0.3),
    )
    tracker = Sam2Tracker(
        ColourNetwork(), settings=plan, assistants=Assistants(judge=make_red_judge()), motion=SeesAPart()
    )
    for tracked, [cover] in zip(tracker.track(film.frames, []), film.truth, strict=True):
        [item] = tracked.objects
        assert item.observation.mask is not None
        mask = decode_mask(item.observation.mask)
        assert (mask & cover).sum() > 0.85 * (mask | cover).sum(), f"at {tracked.frame.time_s:.2f} s"


@pytest.mark.parametrize("refine_every", [0, 2])
def test_the_tracker_refines_what_was_half_hidden(refine_every: int) -> None:
    """First seen half behind another, the thing is carried as it was seen, unless it is refined."""
    hider = Thing(BLUE, (60, 40), straight((170, 90), (-60, 0)))
    film = film_plainly([Thing(RED, (60, 40), lambda _: (200, 90)), hider], 2.0)
    plan = TrackerSettings(
        follow_by="flow",
        min_score=0.0,  # this network knows nothing of masks that it is shown
        refine_every=refine_every,
        refining=RefiningSettings(min_agreement=0.3),
        discovery=DiscoverySettings(min_judged=0.3, min_judged_cut=0.3),
        key_every_s=60,
    )
    still = Sam2Tracker(
        ColourNetwork(), settings=plan, assistants=Assistants(judge=make_red_judge()), motion=Motionless()
    )
    *_, last = still.track(film.frames, [])
    [item] = last.objects
    assert item.observation.mask is not None
    mask, cover = decode_mask(item.observation.mask), film.truth[-1][0]
    iou = float((mask & cover).sum() / (mask | cover).sum())
    assert (iou > 0.85) is bool(refine_every)


def test_a_follower_refines_as_the_tracker_does() -> None:
    red, blue = FILM.truth[0]
    plan = TrackerSettings(follow_by="flow", refine_every=1, refining=RefiningSettings(min_agreement=0.3))
    follower = Sam2Follower(ColourNetwork(), plan, Assistants(judge=make_red_judge()))
    followed = follower.follow(FILM.frames, [], {0: {7: halve(red), 3: halve(blue)}})
    whole, half = (decode_mask(followed[1][number]) for number in (7, 3))
    assert (whole & FILM.truth[1][0]).sum() > 0.85 * (whole | FILM.truth[1][0]).sum()
    assert (half & FILM.truth[1][1]).sum() < 0.6 * (half | FILM.truth[1][1]).sum()


def test_bad_settings_are_told() -> None:
    with pytest.raises(SettingsError, match="min_gain is 2"):
        RefiningSettings(min_gain=2)
    with pytest.raises(SettingsError, match="only masks that the flow carries"):
        TrackerSettings(refine_every=2, follow_by="memory")
