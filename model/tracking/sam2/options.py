"""What else may be the mask of an object that the flow carried, and how good each is.

The decoder is asked about the carried mask, its box, its middle and the box proposed for it; motion may
see the thing too; and an outliner draws the best of these anew. A judge, which knows neither's origin, says
whether a mask is of one thing; how well a mask is drawn, the outliner knows better.

Shapes: B objects, A options of each, D of them drawn anew, X what is measured of a mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from tubelet.model.masks import box_around
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.maps import MASK_PROMPT_LOGIT
from tubelet.model.tracking.sam2.masks import measure_iou
from tubelet.model.tracking.sam2.outlining import expect_iou
from tubelet.model.tracking.sam2.prompts import BoxPrompt
from tubelet.model.tracking.sam2.proposing import find_boxes, measure_box_iou
from tubelet.records import Box

CARRIED, MOTIONS = 0, 1
"""The places of the carried mask and of motion's, which is empty where it sees nothing, among the options."""

_NUM_DRAWN = 5
"""How many of an object's options, of eight, are drawn anew: with two or three fewer objects are found."""
_MIN_PROPOSED = 0.3
"""The least IoU of a proposed box and a mask's for it to be asked about."""


@dataclass(frozen=True, slots=True)
class Options:
    """Masks that objects may have, on the session's grid: logits, what was measured of each, its score."""

    logits_BAhw: Tensor
    measured_BAX: Tensor
    scores_BA: Tensor

    @property
    def masks_BAhw(self) -> Tensor:
        return self.logits_BAhw > 0

    def join(self, other: Options) -> Options:
        """These, then others of the same objects."""
        return Options(
            torch.cat([self.logits_BAhw, other.logits_BAhw], dim=1),
            torch.cat([self.measured_BAX, other.measured_BAX], dim=1),
            torch.cat([self.scores_BA, other.scores_BA], dim=1),
        )


def weigh_options(
    session: FlowSession, carried_Bhw: Tensor, moved_Bhw: Tensor, *, were_given: bool = False
) -> Options:
    """The carried masks (logits), motion's (boolean), and what the decoder has instead, as judged.

    The proposer is neither asked nor heard about objects whose masks were given.
    """
    moved_B1hw = torch.where(moved_Bhw, MASK_PROMPT_LOGIT, -MASK_PROMPT_LOGIT)[:, None]
    asked_BAhw = list_options(session, carried_Bhw, with_proposals=not were_given)
    return _weigh(
        session, torch.cat([asked_BAhw[:, :1], moved_B1hw, asked_BAhw[:, 1:]], dim=1), were_given=were_given
    )


def draw_anew(
    session: FlowSession, options: Options, *, bonus: float, min_agreement: float, surely: float
) -> Options:
    """The options of each object, then what the session's outliner makes of the most promising of them.

    `bonus` and `min_agreement` are as in `rank_options`. A copy of the carried mask, which stands where none
    is proposed for it, is not drawn twice.

    The score of all but motion's mask is then the IoU that the outliner expects it to have with what it
    drew, times how surely that is a thing: what the judge gives it, of `surely`, at most 1. The judge alone
    tells a thing from nothing, and good masks of things from better ones less well.
    """
    masks_BAhw = options.masks_BAhw
    promise_BA = torch.stack(
        [
            rank_options(masks_Ahw, scores_A, bonus=bonus, min_agreement=min_agreement)
            for masks_Ahw, scores_A in zip(masks_BAhw, options.scores_BA, strict=True)
        ]
    )
    is_copy_BA = (masks_BAhw == masks_BAhw[:, :1]).flatten(2).all(2)
    is_copy_BA[:, CARRIED] = False
    promise_BA[is_copy_BA] = -1.0
    promised_BD, places_BD = promise_BA.topk(_NUM_DRAWN, dim=1)
    rows_B1 = torch.arange(len(masks_BAhw))[:, None]
    masks_BDhw = masks_BAhw[rows_B1, places_BD] & (promised_BD >= 0)[:, :, None, None]
    drawn = _weigh(session, session.view.outline(masks_BDhw.flatten(0, 1)).view(masks_BDhw.shape))
    joined = options.join(drawn)
    expected_BA = torch.stack(
        [
            (expect_iou(masks_Ahw, logits_Dhw).cpu() * (scores_D / surely).clamp(max=1)).amax(1)
            for masks_Ahw, logits_Dhw, scores_D in zip(
                joined.masks_BAhw, drawn.logits_BAhw, drawn.scores_BA, strict=True
            )
        ]
    )
    expected_BA[:, MOTIONS] = options.scores_BA[:, MOTIONS]
    return replace(joined, scores_BA=expected_BA)


def rank_options(masks_Ahw: Tensor, scores_A: Tensor, *, bonus: float, min_agreement: float) -> Tensor:
    """How much speaks for each option of one object, (A,), on the processor: its score, and a bonus for
    motion's mask.

    What agrees neither with the carried mask nor with motion's, by an IoU of `min_agreement`, is another
    thing's: -1. So is motion's where that sees nothing.
    """
    iou_A2 = measure_iou(masks_Ahw, masks_Ahw[[CARRIED, MOTIONS]]).cpu()
    ranks_A = torch.where((iou_A2 >= min_agreement).any(1), scores_A.cpu(), -1.0)
    ranks_A[MOTIONS] = scores_A[MOTIONS] + bonus if masks_Ahw[MOTIONS].any() else -1.0
    return ranks_A


def _weigh(session: FlowSession, logits_BAhw: Tensor, *, were_given: bool = False) -> Options:
    view, masks_Nhw = session.view, (logits_BAhw > 0).flatten(0, 1)
    measured_NX = view.measure(masks_Nhw)
    scores_N = view.judge_alone(measured_NX) if were_given else view.judge_measured(measured_NX, masks_Nhw)
    num_rows, num_options = logits_BAhw.shape[:2]
    return Options(
        logits_BAhw, measured_NX.view(num_rows, num_options, -1), scores_N.view(num_rows, num_options)
    )


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
