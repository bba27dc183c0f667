"""Set masks that the flow carried right, where a judge finds better ones at the same place.

The flow drifts: a mask loses what turned into view and keeps what it slid onto. The decoder, asked about such
a mask, its box and its middle, may see the whole object again, or something else. Always taking its word
made masks worse; here a judge, which knows neither's origin, has to prefer it clearly. The same judge says
whether what a motion tracker sees there is one thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from torch import Tensor

from tubelet.errors import SettingsError
from tubelet.model.masks import box_around
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.maps import MASK_PROMPT_LOGIT
from tubelet.model.tracking.sam2.masks import FrameMasks, measure_iou
from tubelet.model.tracking.sam2.prompts import BoxPrompt
from tubelet.records import Box


@dataclass(frozen=True, slots=True)
class RefiningSettings:
    """When another mask is better: the judge gives it more by at least `min_gain`, and it is the same
    thing's, with an IoU of at least `min_agreement` with the carried mask, or with that of `motion`. The mask
    to go on with is then made of both, as the mean of their logits with `mix` as the better one's weight.

    What `motion` sees is given `motion_bonus` above the judge's word, and `still_bonus` before a camera
    that stands still: it is exact about what moves alone, and the judge has to be sure where several things
    move as one. A mask judged below `weak` is searched anew in key frames, and gives way to what is found
    there if that is judged better by `weak_gain`.
    """

    min_gain: float = 0.05
    min_agreement: float = 0.5
    mix: float = 1.0
    motion_bonus: float = 0.15
    still_bonus: float = 0.4
    weak: float = 0.4
    weak_gain: float = 0.15

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not 0 <= value <= 1:
                raise SettingsError(f"{item.name} is {value}", expected="0 to 1")


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
) -> Refined:
    """`refine` in every `every`th frame of a session by flow; 0 is never."""
    if every and session.frame % every == 0 and isinstance(session, FlowSession):
        return refine(session, followed, settings, moved_hw, bonus)
    return Refined(followed, {})


@torch.inference_mode()
def refine(
    session: FlowSession,
    followed: FrameMasks,
    settings: RefiningSettings,
    moved_hw: Mapping[int, Tensor] | None = None,
    bonus: float = 0.0,
) -> Refined:
    """The objects under the best masks that the decoder has for them; the session, which needs a judge,
    goes on from these.

    `moved_hw` are masks of objects as motion sees them, on the session's grid. They take part in the
    comparison, with `bonus` above what the judge gives them, and where one is the best the object is left as
    it is, for the caller to give it that mask.
    """
    places = followed.binary_Bhw.flatten(1).any(1).nonzero().flatten().tolist()
    if not places:
        return Refined(followed, {})
    moved_hw = moved_hw or {}
    numbers = [followed.numbers[place] for place in places]
    carried_Bhw = followed.logits_Bhw[places]
    moved_Bhw = torch.stack([moved_hw.get(number, session.make_blank()) for number in numbers])
    has_moved_B = torch.tensor([number in moved_hw for number in numbers], device=moved_Bhw.device)
    options_BAhw = _list_options(session, carried_Bhw)
    masks_BAhw = torch.cat([options_BAhw > 0, moved_Bhw[:, None]], dim=1)
    scores_BA = session.judge(masks_BAhw.flatten(0, 1)).view(masks_BAhw.shape[:2])
    agrees_BA = torch.stack(
        [
            (measure_iou(masks_Ahw, masks_Ahw[[0, -1]]) >= settings.min_agreement).any(1)
            for masks_Ahw in masks_BAhw
        ]
    )
    scores_BA = torch.where(agrees_BA, scores_BA, 0.0)
    scores_BA[:, -1] = torch.where(has_moved_B, scores_BA[:, -1] + bonus, -1.0)
    best_B = scores_BA.argmax(1)
    gain_B = scores_BA.amax(1) - scores_BA[:, 0]
    num_options = options_BAhw.shape[1]
    better = {
        number: _mix(options_BAhw[row, 0], options_BAhw[row, best_B[row]], settings.mix)
        for row, number in enumerate(numbers)
        if 0 < best_B[row] < num_options and gain_B[row] >= settings.min_gain
    }
    return Refined(
        followed.replace(session.put(better)) if better else followed,
        {number: bool(best_B[row] == num_options) for row, number in enumerate(numbers)},
    )


def _mix(carried_hw: Tensor, better_hw: Tensor, mix: float) -> Tensor:
    """The weighted mean of logits that are as sure as a given mask's at most."""
    carried_hw, better_hw = (
        logits_hw.clamp(-MASK_PROMPT_LOGIT, MASK_PROMPT_LOGIT) for logits_hw in (carried_hw, better_hw)
    )
    return torch.lerp(carried_hw, better_hw, mix)


def _list_options(session: FlowSession, carried_Bhw: Tensor) -> Tensor:
    """The carried masks and what the decoder has instead, logits (B, A, h, w) on the session's grid."""
    boxes, points_B2 = _ask_about(carried_Bhw > 0, session.size)
    by_box_Bhw = session.look(boxes).logits_Bhw
    by_point_BKhw = session.look_at_points(points_B2).logits_BKhw
    by_point_Ahw = session.fit_masks(by_point_BKhw.flatten(0, 1))
    by_point_Bhw = by_point_Ahw.view(*by_point_BKhw.shape[:2], *by_point_Ahw.shape[1:])
    by_mask_Bhw = session.look_at_masks(carried_Bhw)
    return torch.cat(
        [maps[:, None] for maps in (carried_Bhw, by_mask_Bhw, by_box_Bhw)] + [by_point_Bhw], dim=1
    )


def _ask_about(masks_Bhw: Tensor, size: tuple[int, int]) -> tuple[list[BoxPrompt], Tensor]:
    """The box of each mask, and its innermost point, in pixels of the frame."""
    height, width = size
    scale_y, scale_x = height / masks_Bhw.shape[1], width / masks_Bhw.shape[2]
    boxes, points = [], []
    for mask_hw in masks_Bhw.cpu().numpy():
        box = box_around(mask_hw)
        assert box is not None, "what is asked about has cells"
        boxes.append(BoxPrompt(Box(box.x0 * scale_x, box.y0 * scale_y, box.x1 * scale_x, box.y1 * scale_y)))
        depth_hw = cv2.distanceTransform(np.pad(mask_hw.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth_hw.argmax()), depth_hw.shape)
        points.append(((column + 0.5) * scale_x, (row + 0.5) * scale_y))
    return boxes, torch.tensor(points, dtype=torch.float32)
