"""Set masks that the flow carried right, where a judge finds better ones at the same place.

The flow drifts: a mask loses what turned into view and keeps what it slid onto. The decoder, asked about the
box and the middle of such a mask, may see the whole object again, or something else. Always taking its word
made masks worse; here a judge, which knows neither's origin, has to prefer it clearly.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from tubelet.errors import SettingsError
from tubelet.model.masks import box_around
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.masks import FrameMasks, measure_iou
from tubelet.model.tracking.sam2.prompts import BoxPrompt
from tubelet.records import Box


@dataclass(frozen=True, slots=True)
class RefiningSettings:
    """When another mask is better: the judge gives it more by at least `min_gain`, and it is the same
    thing's, with an IoU of at least `min_agreement` with the carried one."""

    min_gain: float = 0.05
    min_agreement: float = 0.5

    def __post_init__(self) -> None:
        for name in ("min_gain", "min_agreement"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}", expected="0 to 1")


def refine_in_turn(
    session: Sam2Session, followed: FrameMasks, *, every: int, settings: RefiningSettings
) -> FrameMasks:
    """`refine` in every `every`th frame of a session by flow; 0 is never."""
    if every and session.frame % every == 0 and isinstance(session, FlowSession):
        return refine(session, followed, settings)
    return followed


@torch.inference_mode()
def refine(session: FlowSession, followed: FrameMasks, settings: RefiningSettings) -> FrameMasks:
    """The objects under the best masks that the decoder has for them; the session, which needs a judge,
    goes on from these."""
    places = followed.binary_Bhw.flatten(1).any(1).nonzero().flatten().tolist()
    if not places:
        return followed
    carried_Bhw = followed.logits_Bhw[places]
    boxes, points_B2 = _ask_about(carried_Bhw > 0, session.size)
    by_box_Bhw = session.look(boxes).logits_Bhw
    by_point_BKhw = session.look_at_points(points_B2).logits_BKhw
    by_point_Ahw = session.fit_masks(by_point_BKhw.flatten(0, 1))
    by_point_Bhw = by_point_Ahw.view(*by_point_BKhw.shape[:2], *by_point_Ahw.shape[1:])
    options_BAhw = torch.cat([carried_Bhw[:, None], by_box_Bhw[:, None], by_point_Bhw], dim=1)
    scores_BA = session.judge(options_BAhw.flatten(0, 1) > 0).view(options_BAhw.shape[:2])
    agreement_BA = torch.stack(
        [measure_iou(options_Ahw > 0, options_Ahw[:1] > 0)[:, 0] for options_Ahw in options_BAhw]
    )
    scores_BA = torch.where(agreement_BA >= settings.min_agreement, scores_BA, 0.0)
    best_B = scores_BA.argmax(1)
    gain_B = scores_BA.amax(1) - scores_BA[:, 0]
    better = {
        followed.numbers[place]: options_BAhw[row, best_B[row]]
        for row, place in enumerate(places)
        if best_B[row] > 0 and gain_B[row] >= settings.min_gain
    }
    return followed.replace(session.put(better)) if better else followed


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
