"""Objects without a prompt: SAM 2 is asked at every point of a grid what lies there.

The way of Segment Anything's automatic mask generation (Kirillov et al., 2023, section 5 and appendix B):
three masks for each point, kept when the network is sure of them and when they do not depend on the exact
threshold, each thing once. Added here: what is already followed is not asked for, a part gives way to the
whole it lies in, and background (sky, road, walls) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tubelet.errors import SettingsError
from tubelet.model.tracking.sam2.checks import check_shares
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.masks import FrameMasks, concatenate, measure_iou, share_pixels
from tubelet.model.tracking.sam2.prompts import BoxPrompt

_MAX_FOLLOWED = 0.7
"""How much of a proposed box may be followed already for it to be asked about."""


@dataclass(frozen=True, slots=True)
class DiscoverySettings:
    """What counts as an object. Shares are of the picture's area.

    `stability_offset` is how far the logit threshold is moved up and down; stability is the IoU of the two
    masks. A mask that touches `background_sides` of the picture's four sides is background. The judge
    of a session, if there is one, has the last word: masks need `min_judged`, those at one side fewer than
    background `min_judged_cut` (a floor or a lawn often is), and are ranked by its word.

    Asking about a point costs about as much as following an object, so a key frame asks every `num_turns`th
    diagonal of the grid, the next key frame the next ones: 2 is a chessboard's fields in turn, 1 asks all at
    once. A whole round should take no longer than the margin of a chunk, in which its tracker learns what its
    neighbour knows. With `use_boxes` every key frame asks also about what the session's proposer proposes,
    and `points_per_side` may be 0; masks then need `min_vouched` by what is proposed.
    """

    use_boxes: bool = False
    points_per_side: int = 16
    num_turns: int = 2
    min_iou: float = 0.8
    min_stability: float = 0.92
    stability_offset: float = 1.0
    min_judged: float = 0.5
    min_judged_cut: float = 0.7
    min_vouched: float = 0.0
    max_duplicate_iou: float = 0.7
    min_part_inside: float = 0.9
    min_area_share: float = 0.0006
    max_area_share: float = 0.4
    background_sides: int = 3
    num_points_at_once: int = 32
    max_num_masks: int = 256

    def __post_init__(self) -> None:
        if self.points_per_side < int(not self.use_boxes):
            raise SettingsError(
                f"points_per_side is {self.points_per_side}", expected="1 or more, or 0 with use_boxes"
            )
        for name in ("num_turns", "num_points_at_once", "max_num_masks"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}", expected="1 or more")
        shares = (
            "min_iou",
            "min_stability",
            "min_judged",
            "min_judged_cut",
            "min_vouched",
            "max_duplicate_iou",
            "min_part_inside",
            "max_area_share",
        )
        check_shares(self, shares)


@torch.inference_mode()
def discover(
    session: Sam2Session,
    settings: DiscoverySettings | None = None,
    *,
    followed_hw: Tensor | None = None,
    turn: int | None = None,
) -> FrameMasks:
    """Objects in the session's current frame, the most certain first, numbered by place.

    Points on `followed_hw`, boolean on the network's grid, are not asked about. `turn` counts key frames and
    says which part of the grid is asked; None asks all of it.
    """
    settings = settings or DiscoverySettings()
    points_B2 = _spread_points(session, settings, followed_hw, turn)
    parts = [
        _ask(session, points_B2[start : start + settings.num_points_at_once], settings)
        for start in range(0, len(points_B2), settings.num_points_at_once)
    ]
    if settings.use_boxes:
        parts.append(_ask_about_boxes(session, settings, followed_hw))
    if not parts:
        return session.look([])
    found = concatenate(parts)
    order = torch.argsort(found.iou_B, descending=True, stable=True)[: settings.max_num_masks]
    found = found.select(order.tolist())
    found = found.select(suppress_duplicates(found.binary_Bhw, settings.max_duplicate_iou))
    found = found.select(drop_parts(found.binary_Bhw, settings.min_part_inside))
    return FrameMasks(tuple(range(len(found))), found.logits_Bhw, found.presence_B, found.iou_B)


def measure_stability(logits_Bhw: Tensor, offset: float) -> Tensor:
    """IoU of the masks cut `offset` above and below the threshold; 0 for an empty mask."""
    inner_B, outer_B = ((logits_Bhw > level).flatten(1).sum(1).float() for level in (offset, -offset))
    return inner_B / outer_B.clamp(min=1)


def is_background(masks_Bhw: Tensor, min_sides: int) -> Tensor:
    """Which masks touch at least this many sides of the picture."""
    edges = (masks_Bhw[:, 0], masks_Bhw[:, -1], masks_Bhw[:, :, 0], masks_Bhw[:, :, -1])
    return torch.stack([edge.any(1) for edge in edges]).sum(0) >= min_sides


def suppress_duplicates(masks_Bhw: Tensor, max_iou: float) -> list[int]:
    """Places of the masks that no earlier kept mask overlaps by more than `max_iou`: mask NMS, best first."""
    overlaps_BB = measure_iou(masks_Bhw, masks_Bhw) > max_iou
    kept: list[int] = []
    for place in range(len(masks_Bhw)):
        if not overlaps_BB[place, kept].any():
            kept.append(place)
    return kept


def drop_parts(masks_Bhw: Tensor, min_inside: float) -> list[int]:
    """Places of the masks that do not lie in a larger one, by at least `min_inside` of their own area."""
    areas_B = masks_Bhw.flatten(1).sum(1).float()
    inside_BB = share_pixels(masks_Bhw, masks_Bhw) >= min_inside * areas_B[:, None]
    is_part_B = (inside_BB & (areas_B[:, None] < areas_B)).any(1)
    places: list[int] = (~is_part_B).nonzero().flatten().tolist()
    return places


def _spread_points(
    session: Sam2Session, settings: DiscoverySettings, followed_hw: Tensor | None, turn: int | None
) -> Tensor:
    """The centres of a grid's cells, (B, 2) in pixels of the frame, without those on followed objects."""
    height, width = session.size
    places = torch.arange(settings.points_per_side)
    row, column = torch.meshgrid(places, places, indexing="ij")
    if turn is not None:
        is_asked = (row + column) % settings.num_turns == turn % settings.num_turns
        row, column = row[is_asked], column[is_asked]
    points_B2 = (torch.stack([column.flatten(), row.flatten()], dim=1) + 0.5) / settings.points_per_side
    if followed_hw is not None:
        num_rows, num_columns = followed_hw.shape
        cells = (points_B2[:, 1] * num_rows).long(), (points_B2[:, 0] * num_columns).long()
        points_B2 = points_B2[~followed_hw.cpu()[cells]]
    return points_B2 * torch.tensor([width, height])


def _ask_about_boxes(
    session: Sam2Session, settings: DiscoverySettings, followed_hw: Tensor | None
) -> FrameMasks:
    """The masks in proposed boxes that could be objects, where most of the box is not followed already: as
    the decoder sees them and, with an outliner, drawn anew. A box that is proposed less surely than masks
    have to be vouched for is not asked about: only another box could vouch for what lies in it."""
    proposals = session.view.proposals
    proposals = proposals.select((proposals.scores_P >= settings.min_vouched).nonzero().flatten())
    if followed_hw is not None and len(proposals):
        num_rows, num_columns = followed_hw.shape
        followed = followed_hw.cpu().numpy()
        free = [
            place
            for place, box in enumerate(proposals.list_boxes((num_rows, num_columns)))
            if followed[_cells(box.y0, box.y1), _cells(box.x0, box.x1)].mean() < _MAX_FOLLOWED
        ]
        proposals = proposals.select(torch.tensor(free, dtype=torch.long))
    seen = session.look([BoxPrompt(box) for box in proposals.list_boxes(session.size)])
    if session.view.has_outliner:
        seen = concatenate([seen, replace(seen, logits_Bhw=session.view.outline(seen.binary_Bhw))])
    return _choose(session, seen.logits_Bhw, seen.iou_B, seen.presence_B, settings)


def _cells(low: float, high: float) -> slice:
    """The cells of a grid from one place to another, at least one."""
    return slice(int(low), max(int(high), int(low) + 1))


def _ask(session: Sam2Session, points_B2: Tensor, settings: DiscoverySettings) -> FrameMasks:
    """The masks at these points that could be objects."""
    decoded = session.look_at_points(points_B2)
    num_masks = decoded.logits_BKhw.shape[1]
    presence_A = decoded.presence_B.float().sigmoid().repeat_interleave(num_masks)
    return _choose(session, decoded.logits_BKhw.flatten(0, 1), decoded.iou_BK.flatten(), presence_A, settings)


def _choose(
    session: Sam2Session, logits_Ahw: Tensor, iou_A: Tensor, presence_A: Tensor, settings: DiscoverySettings
) -> FrameMasks:
    """Those of the decoder's masks that could be objects."""
    masks_Ahw = logits_Ahw > 0
    share_A = masks_Ahw.float().mean((1, 2))
    good_A = (
        (iou_A >= settings.min_iou)
        & (measure_stability(logits_Ahw, settings.stability_offset) >= settings.min_stability)
        & (share_A >= settings.min_area_share)
        & (share_A <= settings.max_area_share)
        & ~is_background(masks_Ahw, settings.background_sides)
    )
    if session.view.has_judge:
        iou_A = iou_A.clone()
        iou_A[good_A] = session.view.judge(masks_Ahw[good_A]).to(iou_A.dtype)
        presence_A = torch.ones_like(presence_A)
        is_cut_A = is_background(masks_Ahw, settings.background_sides - 1)
        good_A &= iou_A >= torch.where(is_cut_A, settings.min_judged_cut, settings.min_judged)
    if settings.use_boxes:
        good_A &= session.view.proposals.vouch_for(masks_Ahw).to(good_A.device) >= settings.min_vouched
    logits_Ghw = session.fit_masks(logits_Ahw[good_A])
    return FrameMasks(tuple(range(len(logits_Ghw))), logits_Ghw, presence_A[good_A], iou_A[good_A])
