"""Set masks that the flow carried right, where there are clearly better ones at the same place.

The flow drifts: a mask loses what turned into view and keeps what it slid onto. The decoder, asked about such
a mask, its box and its middle, may see the whole object again, or something else. Always taking its word
made masks worse; here another mask has to be clearly better (`options.py` says how good each is). The same
judge says whether what a motion tracker sees there is one thing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from tubelet.model.tracking.sam2.checks import check_shares
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.maps import MASK_PROMPT_LOGIT
from tubelet.model.tracking.sam2.masks import FrameMasks
from tubelet.model.tracking.sam2.options import (
    CARRIED,
    MOTIONS,
    draw_anew,
    rank_options,
    weigh_options,
)
from tubelet.model.tracking.sam2.prompts import BoxPrompt

_NUM_SEARCHED = 8
"""Points at which the decoder is asked for an object that is out of sight."""
_MAX_TAKEN = 0.4
"""How much of a mask may lie on other objects for it to be one that was lost."""


@dataclass(frozen=True, slots=True)
class RefiningSettings:
    """When another mask is better: the judge gives it more by at least `min_gain`, and it is the same
    thing's, with an IoU of at least `min_agreement` with the carried mask, or with that of `motion`. The mask
    to go on with is then made of both, as the mean of their logits with `mix` as the better one's weight.

    What `motion` sees is given `motion_bonus` above the judge's word, and `still_bonus` before a camera
    that stands still: it is exact about what moves alone, and the judge has to be sure where several things
    move as one. With an outliner, other masks are given what it expects of them, less where the judge gives
    what was drawn less than `surely`: it knows how well it drew a thing, not whether there is one.
    A mask judged below `weak` is searched anew in key frames, and gives way to what is found there if that
    is judged better by `weak_gain`.

    A session with a matcher asks it too. An object whose best mask is matched below `lost` is searched for
    where the frame looks like it, and is out of sight until a mask reaches `found`. What reaches `trusted`,
    or is motion's, is what it is known by from then on. Of an object that somebody gave the mask of, a
    mask's score is the mean of both words with `given_weight` as the matcher's; what was found may have been
    found badly.
    """

    min_gain: float = 0.05
    min_agreement: float = 0.5
    mix: float = 1.0
    motion_bonus: float = 0.15
    still_bonus: float = 0.4
    surely: float = 0.6
    weak: float = 0.4
    weak_gain: float = 0.15
    given_weight: float = 0.7
    lost: float = 0.15
    found: float = 0.5
    trusted: float = 0.6

    def __post_init__(self) -> None:
        check_shares(self, (item.name for item in fields(self)))


@dataclass(frozen=True, slots=True)
class Refined:
    """The masks to go on with and, of each object in sight, whether motion has the best of it."""

    masks: FrameMasks
    suits_motion: Mapping[int, bool]


def refine_in_turn(
    session: Sam2Session,
    followed: FrameMasks,
    *,
    every: int,
    settings: RefiningSettings,
    moved_hw: Mapping[int, Tensor] | None = None,
    bonus: float = 0.0,
    were_given: bool = False,
    never_lost: Collection[int] = (),
) -> Refined:
    """`refine` in every `every`th frame of a session by flow; 0 is never."""
    if isinstance(session, FlowSession) and can_refine(session, every):
        return refine(session, followed, settings, moved_hw, bonus, were_given, never_lost)
    return Refined(followed, {})


def can_refine(session: Sam2Session, every: int) -> bool:
    """Whether the masks of the current frame are set right in it: by flow every few frames, else always."""
    return not isinstance(session, FlowSession) or (every > 0 and session.frame % every == 0)


@torch.inference_mode()
def refine(
    session: FlowSession,
    followed: FrameMasks,
    settings: RefiningSettings,
    moved_hw: Mapping[int, Tensor] | None = None,
    bonus: float = 0.0,
    were_given: bool = False,
    never_lost: Collection[int] = (),
) -> Refined:
    """The objects under the best masks that the decoder has for them; the session, which needs a judge,
    goes on from these.

    `moved_hw` are masks of objects as motion sees them, on the session's grid. They take part in the
    comparison, with `bonus` above what they are given, and where one is the best the object is left as
    it is, for the caller to give it that mask. `were_given` says that the objects' first masks are true,
    whatever a proposer takes for one thing: it is not asked then, but where something is lost, and an
    outliner, which may never have seen such a thing, is not asked at all.
    The matcher neither hides nor finds those of `never_lost`, of which others know whether they are in sight.
    What was found counts for lost only once the matcher has known it again: with a thing unlike all that it
    learnt it never does.
    """
    choices = _choose(session, followed, settings, moved_hw or {}, bonus, were_given)
    better = {choice.number: choice.better_hw for choice in choices if choice.better_hw is not None}
    if session.has_matcher:
        unknown = () if were_given else set(followed.numbers) - session.familiar
        lost = _note_matches(session, followed, choices, settings, {*never_lost, *unknown})
        better = {number: mask_hw for number, mask_hw in better.items() if number not in lost}
        better |= _find_again(session, followed, lost, settings)
    if better:
        followed = followed.replace(session.put(better))
    return Refined(session.hide_hidden(followed), {choice.number: choice.suits_motion for choice in choices})


@dataclass(frozen=True, slots=True)
class _Choice:
    """The best mask of an object: motion's, one of the decoder's, or the carried one where neither is better.

    `matched` is the matcher's word for it, 1 without a matcher.
    """

    number: int
    suits_motion: bool
    better_hw: Tensor | None
    measured_X: Tensor
    matched: float


def _choose(
    session: FlowSession,
    followed: FrameMasks,
    settings: RefiningSettings,
    moved_hw: Mapping[int, Tensor],
    bonus: float,
    were_given: bool,
) -> list[_Choice]:
    """The best masks of the objects whose carried ones have cells."""
    places = followed.binary_Bhw.flatten(1).any(1).nonzero().flatten().tolist()
    if not places:
        return []
    numbers = [followed.numbers[place] for place in places]
    moved_Bhw = torch.stack([moved_hw.get(number, session.make_blank()) for number in numbers])
    options = weigh_options(session, followed.logits_Bhw[places], moved_Bhw, were_given=were_given)
    if session.view.has_outliner and not were_given:
        options = draw_anew(
            session,
            options,
            bonus=bonus,
            min_agreement=settings.min_agreement,
            surely=settings.surely,
        )
    choices = []
    for row, number in enumerate(numbers):
        masks_Ahw, measured_AX = options.masks_BAhw[row], options.measured_BAX[row]
        scores_A = options.scores_BA[row].clone()
        matched_A = torch.ones_like(scores_A)
        if session.has_matcher:
            matched_A = session.match(number, measured_AX)
            if were_given:
                scores_A = torch.lerp(scores_A, matched_A, settings.given_weight)
        ranked_A = rank_options(masks_Ahw, scores_A, bonus=bonus, min_agreement=settings.min_agreement)
        is_hidden = number in session.hidden
        if is_hidden:
            is_known_A = matched_A >= settings.found
            is_known_A[MOTIONS] = True
            ranked_A[~is_known_A] = -1.0
        best = int(ranked_A.argmax())
        suits_motion = best == MOTIONS
        is_better = best != CARRIED and float(ranked_A[best] - ranked_A[CARRIED]) >= settings.min_gain
        used = best if is_better or suits_motion or is_hidden else CARRIED
        better_hw = None
        if used != CARRIED and not suits_motion:
            carried_hw, chosen_hw = options.logits_BAhw[row, [CARRIED, used]]
            better_hw = _mix(carried_hw, chosen_hw, 1.0 if is_hidden else settings.mix)
        choices.append(_Choice(number, suits_motion, better_hw, measured_AX[used], float(matched_A[used])))
    return choices


def _note_matches(
    session: FlowSession,
    followed: FrameMasks,
    choices: Sequence[_Choice],
    settings: RefiningSettings,
    never_lost: Collection[int],
) -> list[int]:
    """Show, hide and remember objects by how well they are matched; returns those to be searched for."""
    lost = set(followed.numbers) - {choice.number for choice in choices}
    for choice in choices:
        needed = settings.found if choice.number in session.hidden else settings.lost
        if choice.matched < needed and not choice.suits_motion:
            lost.add(choice.number)
            continue
        session.show(choice.number)
        is_trusted = choice.matched >= settings.trusted
        if is_trusted or choice.suits_motion:
            session.remember(choice.number, choice.measured_X, was_matched=is_trusted)
    lost -= set(never_lost)
    for number in never_lost:
        session.show(number)
    for number in lost:
        session.hide(number)
    return [number for number in followed.numbers if number in lost]


def _find_again(
    session: FlowSession, followed: FrameMasks, lost: Sequence[int], settings: RefiningSettings
) -> dict[int, Tensor]:
    """Masks of objects that are out of sight, as logits: where the frame looks like them, and nobody else is.

    They are remembered by these; the caller puts them.
    """
    found: dict[int, Tensor] = {}
    live = [place for place, number in enumerate(followed.numbers) if number not in session.hidden]
    taken_hw = followed.select(live).binary_Bhw.any(0)
    proposed = session.view.proposals.list_boxes(session.size) if lost and session.view.has_proposer else []
    in_boxes_Phw = session.look([BoxPrompt(box) for box in proposed]).logits_Bhw
    for number in lost:
        points_B2 = session.find_alike(number, _NUM_SEARCHED)
        at_points_Ahw = session.fit_masks(session.look_at_points(points_B2).logits_BKhw.flatten(0, 1))
        logits_Ahw = torch.cat([at_points_Ahw, in_boxes_Phw])
        masks_Ahw = logits_Ahw > 0
        area_A = masks_Ahw.flatten(1).sum(1)
        is_free_A = (masks_Ahw & taken_hw).flatten(1).sum(1) < _MAX_TAKEN * area_A
        places = is_free_A.nonzero().flatten()
        if not len(places):
            continue
        measured_AX = session.view.measure(masks_Ahw[places])
        matched_A = session.match(number, measured_AX)
        best = int(matched_A.argmax())
        if matched_A[best] >= settings.found:
            logits_hw = logits_Ahw[places[best]]
            found[number] = logits_hw.clamp(-MASK_PROMPT_LOGIT, MASK_PROMPT_LOGIT)
            taken_hw = taken_hw | masks_Ahw[places[best]]
            if matched_A[best] >= settings.trusted:
                session.remember(number, measured_AX[best], was_matched=True)
    return found


def _mix(carried_hw: Tensor, better_hw: Tensor, mix: float) -> Tensor:
    """The weighted mean of logits that are as sure as a given mask's at most."""
    carried_hw, better_hw = (
        logits_hw.clamp(-MASK_PROMPT_LOGIT, MASK_PROMPT_LOGIT) for logits_hw in (carried_hw, better_hw)
    )
    return torch.lerp(carried_hw, better_hw, mix)
