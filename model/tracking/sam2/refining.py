"""Set masks that the flow carried right, where a judge finds better ones at the same place.

The flow drifts: a mask loses what turned into view and keeps what it slid onto. The decoder, asked about such
a mask, its box and its middle, may see the whole object again, or something else. Always taking its word
made masks worse; here a judge, which knows neither's origin, has to prefer it clearly. The same judge says
whether what a motion tracker sees there is one thing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from torch import Tensor

from tubelet.model.masks import box_around
from tubelet.model.tracking.sam2.checks import check_shares
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.maps import MASK_PROMPT_LOGIT
from tubelet.model.tracking.sam2.masks import FrameMasks, measure_iou
from tubelet.model.tracking.sam2.prompts import BoxPrompt
from tubelet.model.tracking.sam2.proposing import find_boxes, measure_box_iou
from tubelet.records import Box

_NUM_SEARCHED = 8
"""Points at which the decoder is asked for an object that is out of sight."""
_MIN_PROPOSED = 0.3
"""The least IoU of a proposed box and a mask's for it to be asked about."""
_NUM_DRAWN = 4
"""How many of an object's options an outliner is shown: not what the decoder has at a point."""
_SAME_IOU = 0.95
"""Options as alike as this would be drawn alike."""
_MAX_TAKEN = 0.4
"""How much of a mask may lie on other objects for it to be one that was lost."""


@dataclass(frozen=True, slots=True)
class RefiningSettings:
    """When another mask is better: the judge gives it more by at least `min_gain`, and it is the same
    thing's, with an IoU of at least `min_agreement` with the carried mask, or with that of `motion`. The mask
    to go on with is then made of both, as the mean of their logits with `mix` as the better one's weight.

    What `motion` sees is given `motion_bonus` above the judge's word, and `still_bonus` before a camera
    that stands still: it is exact about what moves alone, and the judge has to be sure where several things
    move as one. What an outliner has drawn anew is given `outlined_bonus`: the judge learnt on worse masks.
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
    outlined_bonus: float = 0.0
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
    options_BAhw = list_options(session, followed.logits_Bhw[places], with_proposals=not were_given)
    moved_Bhw = torch.stack([moved_hw.get(number, session.make_blank()) for number in numbers])
    draws = session.view.has_outliner and not were_given
    drawn_BAhw = _draw_anew(session, options_BAhw, moved_Bhw) if draws else options_BAhw[:, :0]
    options_BAhw = torch.cat([options_BAhw, drawn_BAhw], dim=1)
    favour_A = torch.zeros(options_BAhw.shape[1] + 1)
    favour_A[-1 - drawn_BAhw.shape[1] : -1] = settings.outlined_bonus
    masks_BAhw = torch.cat([options_BAhw > 0, moved_Bhw[:, None]], dim=1)
    measured_BAX = session.view.measure(masks_BAhw.flatten(0, 1)).view(*masks_BAhw.shape[:2], -1)
    judged_BA = _judge(session, masks_BAhw, measured_BAX, were_given)
    choices = []
    for row, number in enumerate(numbers):
        masks_Ahw, measured_AX = masks_BAhw[row], measured_BAX[row]
        scores_A = judged_BA[row]
        matched_A = torch.ones_like(scores_A)
        if session.has_matcher:
            matched_A = session.match(number, measured_AX)
            if were_given:
                scores_A = torch.lerp(scores_A, matched_A, settings.given_weight)
        agrees_A = (measure_iou(masks_Ahw, masks_Ahw[[0, -1]]) >= settings.min_agreement).any(1).cpu()
        is_hidden = number in session.hidden
        if is_hidden:
            agrees_A &= matched_A >= settings.found
        ranked_A = torch.where(agrees_A, scores_A + favour_A, 0.0)
        ranked_A[-1] = scores_A[-1] + bonus if number in moved_hw else -1.0
        best = int(ranked_A.argmax())
        suits_motion = best == len(masks_Ahw) - 1
        is_better = best > 0 and float(ranked_A[best] - ranked_A[0]) >= settings.min_gain
        used = best if is_better or suits_motion or is_hidden else 0
        better_hw = None
        if used and not suits_motion:
            mix = 1.0 if is_hidden else settings.mix
            better_hw = _mix(options_BAhw[row, 0], options_BAhw[row, used], mix)
        choices.append(_Choice(number, suits_motion, better_hw, measured_AX[used], float(matched_A[used])))
    return choices


def _draw_anew(session: FlowSession, options_BAhw: Tensor, moved_Bhw: Tensor) -> Tensor:
    """What the outliner makes of the first options and of motion's masks, logits (B, A, h, w).

    What repeats another option is not drawn again: it is left empty.
    """
    masks_BAhw = torch.cat([options_BAhw[:, :_NUM_DRAWN] > 0, moved_Bhw[:, None]], dim=1)
    masks_BAhw &= ~_find_repeats(masks_BAhw)[:, :, None, None]
    return session.view.outline(masks_BAhw.flatten(0, 1)).view(masks_BAhw.shape)


def _find_repeats(masks_BAhw: Tensor) -> Tensor:
    """Which of each object's masks are much like one before them, (B, A)."""
    iou_BAA = torch.stack([measure_iou(masks_Ahw, masks_Ahw) for masks_Ahw in masks_BAhw])
    return (iou_BAA >= _SAME_IOU).tril(-1).any(2)


def _judge(session: FlowSession, masks_BAhw: Tensor, measured_BAX: Tensor, were_given: bool) -> Tensor:
    """What the judge gives masks, (B, A); of objects whose masks were given, without the proposer's word."""
    view, measured = session.view, measured_BAX.flatten(0, 1)
    if were_given:
        judged = view.judge_alone(measured)
    else:
        judged = view.judge_measured(measured, masks_BAhw.flatten(0, 1))
    return judged.view(measured_BAX.shape[:2])


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


def list_options(session: FlowSession, carried_Bhw: Tensor, *, with_proposals: bool = False) -> Tensor:
    """The carried masks and what the decoder has instead, logits (B, A, h, w) on the session's grid.

    `with_proposals` adds what it sees in the box that is proposed for each mask; the mask where none is.
    """
    boxes, points_B2 = _ask_about(carried_Bhw > 0, session.size)
    asks_proposals = with_proposals and session.view.has_proposer
    rows, proposed = _choose_proposals(session, carried_Bhw) if asks_proposals else ([], [])
    in_boxes_Ahw = session.look([BoxPrompt(box) for box in (*boxes, *proposed)]).logits_Bhw
    single = [carried_Bhw, session.look_at_masks(carried_Bhw), in_boxes_Ahw[: len(boxes)]]
    if asks_proposals:
        by_proposal_Bhw = carried_Bhw.clone()
        by_proposal_Bhw[rows] = in_boxes_Ahw[len(boxes) :]
        single.append(by_proposal_Bhw)
    by_point_BKhw = session.look_at_points(points_B2).logits_BKhw
    by_point_Ahw = session.fit_masks(by_point_BKhw.flatten(0, 1))
    by_point_Bhw = by_point_Ahw.view(*by_point_BKhw.shape[:2], *by_point_Ahw.shape[1:])
    return torch.cat([maps[:, None] for maps in single] + [by_point_Bhw], dim=1)


def _choose_proposals(session: FlowSession, carried_Bhw: Tensor) -> tuple[list[int], list[Box]]:
    """The rows of masks for which boxes are proposed, and these, in pixels of the frame."""
    proposals = session.view.proposals
    if not len(proposals):
        return [], []
    iou_BP = measure_box_iou(find_boxes(carried_Bhw > 0), proposals.boxes_P4)
    fit_BP = torch.where(iou_BP >= _MIN_PROPOSED, iou_BP * proposals.scores_P, 0.0)
    rows: list[int] = fit_BP.amax(1).nonzero().flatten().tolist()
    return rows, proposals.select(fit_BP.argmax(1)[rows]).list_boxes(session.size)


def _ask_about(masks_Bhw: Tensor, size: tuple[int, int]) -> tuple[list[Box], Tensor]:
    """The box of each mask, and its innermost point, in pixels of the frame."""
    height, width = size
    scale_y, scale_x = height / masks_Bhw.shape[1], width / masks_Bhw.shape[2]
    boxes, points = [], []
    for mask_hw in masks_Bhw.cpu().numpy():
        box = box_around(mask_hw)
        assert box is not None, "what is asked about has cells"
        boxes.append(Box(box.x0 * scale_x, box.y0 * scale_y, box.x1 * scale_x, box.y1 * scale_y))
        depth_hw = cv2.distanceTransform(np.pad(mask_hw.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth_hw.argmax()), depth_hw.shape)
        points.append(((column + 0.5) * scale_x, (row + 0.5) * scale_y))
    return boxes, torch.tensor(points, dtype=torch.float32)
