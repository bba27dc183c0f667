"""Trace what was just discovered back through the frames before it, to when it came.

Discovery looks in key frames only, and misses things that are small, cut or half hidden there. Once one is
found its past is known too: videos are indexed, not watched, so the frames before are at hand. The object is
followed through them in reverse, as SAM 2's own propagation may be, for as long as it is known again. Where
it comes upon a track that was lost, it is what was lost there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from tubelet.errors import SettingsError
from tubelet.model.frame import Image
from tubelet.model.tracking.sam2.checks import check_shares
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.frame_view import FrameView
from tubelet.model.tracking.sam2.masks import FrameMasks, measure_iou
from tubelet.model.tracking.sam2.prompts import Prompt
from tubelet.model.tracking.sam2.refining import RefiningSettings, refine


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """How far back objects are traced, and what it takes.

    In frames in which masks are refined anyway they are refined here too, and tracing ends unless the matcher
    gives a mask `min_matched` and the judge `min_judged`; what was traced since the last such frame is then
    left out. It ends too where a mask of that time has an IoU of `max_overlap` with the traced one.
    """

    back_s: float = 0.0
    min_matched: float = 0.3
    min_judged: float = 0.3
    max_overlap: float = 0.6

    def __post_init__(self) -> None:
        check_shares(self, ("min_matched", "min_judged", "max_overlap"))
        if not self.back_s >= 0:
            raise SettingsError(f"back_s is {self.back_s}", expected="0 or more")


@dataclass(slots=True)
class Sight:
    """What was seen in a frame, an (height, width, 3) RGB image: the masks of what is in sight.

    `is_check` says that masks can be checked there: its features are known already, or it costs nothing.
    """

    image: Image
    view: FrameView
    masks: FrameMasks
    is_check: bool

    def renumber(self, old: int, new: int) -> None:
        """Give the mask of one object to another."""
        numbers = tuple(new if number == old else number for number in self.masks.numbers)
        self.masks = replace(self.masks, numbers=numbers)


@dataclass(slots=True)
class Traced:
    """Where objects were found: masks by the place of a past frame.

    `met` are those that came upon the mask of another, each other once, by number: the other's number, and
    the place of the frame.
    """

    masks: list[tuple[int, FrameMasks]] = field(default_factory=list)
    met: dict[int, tuple[int, int]] = field(default_factory=dict)


@torch.inference_mode()
def trace_back(
    session: Sam2Session,
    prompts: Mapping[int, Prompt],
    past: Sequence[Sight],
    settings: TracingSettings,
    refining: RefiningSettings,
    see: Callable[[FrameMasks], FrameMasks],
) -> Traced:
    """Follow objects, which `prompts` show in the last frame of `past`, back through the others.

    `session` is a new one, `see` leaves out the masks of what is not in sight. What is found is not added to
    the frames.
    """
    traced = Traced()
    session.advance(past[-1].image, past[-1].view)
    session.add(prompts)
    unchecked: list[tuple[int, FrameMasks]] = []
    for place in reversed(range(len(past) - 1)):
        frame = past[place]
        followed = session.advance(frame.image, frame.view)
        if frame.is_check and isinstance(session, FlowSession):
            followed = _check(session, followed, settings, refining)
        followed = see(followed)
        met = _find_met(followed, frame.masks, settings.max_overlap)
        taken = {other for other, _ in traced.met.values()}
        traced.met.update((number, (other, place)) for number, other in met.items() if other not in taken)
        sure = {*met, *followed.numbers} if frame.is_check else set(met)
        traced.masks += [(at, _keep(masks, sure)) for at, masks in unchecked if sure]
        followed = _keep(followed, set(followed.numbers) - set(met))
        session.retire(set(session.numbers) - set(followed.numbers))
        if not len(followed):
            break
        if frame.is_check:
            traced.masks.append((place, followed))
            unchecked = []
        else:
            unchecked.append((place, followed))
    return traced


def _find_met(followed: FrameMasks, others: FrameMasks, max_overlap: float) -> dict[int, int]:
    """Of each object whose mask is that of another, the other's number."""
    if not len(followed) or not len(others):
        return {}
    best_B, places_B = measure_iou(followed.binary_Bhw, others.binary_Bhw).max(1)
    return {
        number: others.numbers[place]
        for number, best, place in zip(followed.numbers, best_B.tolist(), places_B.tolist(), strict=True)
        if best >= max_overlap
    }


def _keep(masks: FrameMasks, numbers: Collection[int]) -> FrameMasks:
    return masks.select([at for at, number in enumerate(masks.numbers) if number in numbers])


def _check(
    session: FlowSession, followed: FrameMasks, settings: TracingSettings, refining: RefiningSettings
) -> FrameMasks:
    """The masks set right; those that are not good enough are out of sight."""
    followed = refine(session, followed, refining).masks
    masks_Bhw = followed.binary_Bhw
    measured_BX = session.view.measure(masks_Bhw)
    passed_B = session.view.judge_measured(measured_BX, masks_Bhw) >= settings.min_judged
    if session.has_matcher:
        matched_B = torch.cat(
            [
                session.match(number, measured_X[None])
                for number, measured_X in zip(followed.numbers, measured_BX, strict=True)
            ]
        )
        passed_B &= matched_B.to(passed_B.device) >= settings.min_matched
    return replace(followed, presence_B=followed.presence_B * passed_B.to(followed.presence_B.device))
