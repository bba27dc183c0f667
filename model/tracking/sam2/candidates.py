"""Things that may be worth following, from motion, from a detector, and from SAM 2's own discovery."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tubelet.model.masks import Mask, box_around, decode_mask
from tubelet.model.tracking.base import TrackedObject
from tubelet.model.tracking.sam2.detector import Detection
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.masks import FrameMasks, enlarge, measure_iou, share_pixels
from tubelet.model.tracking.sam2.prompts import BoxPrompt, MaskPrompt, Prompt
from tubelet.model.tracking.sam2.refining import RefiningSettings
from tubelet.records import Box, Observation

_MIN_AGREEMENT = 0.5
_MIN_INSIDE = 0.5
_MIN_SAME = 0.6
_MIN_SHARED = 0.7
_MIN_SHARED_OF_LARGER = 0.15


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt and the mask it gives, on the network's grid. `source` orders kinds: lower is surer."""

    prompt: Prompt
    mask_hw: Tensor
    score: float
    source: int


@dataclass(slots=True)
class _Mover:
    """What is known of an object of the motion tracker."""

    first_box: Box
    has_moved: bool = False


class MotionWatch:
    """Decides which objects of a motion tracker to ask SAM 2 about, and when.

    Each is asked about when it appears, when it has moved by `min_travel` of its size, and in key frames.
    What stood still and left a hole in the background looks like an object too, but never moves.
    """

    def __init__(self, min_travel: float = 0.5) -> None:
        self._min_travel = min_travel
        self._movers: dict[int, _Mover] = {}

    def choose(
        self, moving: Sequence[TrackedObject], *, is_key: bool
    ) -> tuple[list[Observation], list[Observation]]:
        """What to ask about in this frame: what has moved, then what has not."""
        chosen: tuple[list[Observation], list[Observation]] = [], []
        for item in moving:
            box = item.observation.box
            is_new = item.number not in self._movers
            mover = self._movers.setdefault(item.number, _Mover(box))
            had_moved = mover.has_moved
            mover.has_moved |= _travel(mover.first_box, box) >= self._min_travel
            if is_key or is_new or mover.has_moved != had_moved:
                chosen[not mover.has_moved].append(item.observation)
        return chosen


def take_motion(session: Sam2Session, seen: Sequence[Observation]) -> list[Candidate]:
    """What a motion tracker saw, as it saw it: no network is asked."""
    masks = [
        _resize(decode_mask(observation.mask), *session.size)
        for observation in seen
        if observation.mask is not None
    ]
    like_hw = session.make_blank()
    return [
        Candidate(MaskPrompt(mask), _shrink(mask, like_hw), score=1.0, source=0)
        for mask in masks
        if mask.any()
    ]


def from_motion(
    session: Sam2Session,
    seen: Sequence[Observation],
    *,
    is_sure: bool,
    refining: RefiningSettings | None = None,
) -> list[Candidate]:
    """What a motion tracker saw, prompted by its box.

    A motion mask has ragged edges and the shadow in it; SAM 2's has not, if it finds the thing. Where SAM 2
    finds another thing in the box, what is sure to be an object is prompted by the motion mask itself, and
    the rest is left.

    With `refining`, which needs a judge, that has to like SAM 2's mask better as well, may prefer it where it
    is another thing, and what it thinks little of is no surer than what discovery finds.
    """
    own_masks = [
        _resize(decode_mask(observation.mask), *session.size)
        for observation in seen
        if observation.mask is not None
    ]
    boxes = [(box, mask) for mask in own_masks if (box := box_around(mask)) is not None]
    found = session.look([BoxPrompt(box) for box, _ in boxes])
    candidates = []
    for (box, mask), found_hw in zip(boxes, found.binary_Bhw, strict=True):
        own_hw = _shrink(mask, found_hw)
        agrees = float(measure_iou(found_hw[None], own_hw[None])) >= _MIN_AGREEMENT
        by_box = Candidate(BoxPrompt(box), found_hw, score=1.0, source=0)
        by_mask = Candidate(MaskPrompt(mask), own_hw, score=1.0, source=0)
        if refining is None:
            candidates += [by_box] if agrees else [by_mask] if is_sure else []
            continue
        box_score, mask_score = session.view.judge(torch.stack([found_hw, own_hw])).tolist()
        if box_score > mask_score + refining.min_gain and (agrees or box_score >= refining.weak):
            candidates.append(_weigh(by_box, box_score, refining))
        elif agrees or is_sure:
            candidates.append(_weigh(by_mask, mask_score, refining))
    return candidates


def _weigh(candidate: Candidate, judged: float, refining: RefiningSettings) -> Candidate:
    """The candidate as the judge sees it."""
    return replace(candidate, score=judged, source=0 if judged >= refining.weak else 1)


def from_boxes(session: Sam2Session, detections: Sequence[Detection]) -> list[Candidate]:
    """What a detector found."""
    prompts = [BoxPrompt(detection.box) for detection in detections]
    seen = session.look(prompts)
    return [
        Candidate(prompt, mask_hw, detection.score, source=0)
        for prompt, mask_hw, detection in zip(prompts, seen.binary_Bhw, detections, strict=True)
    ]


def from_masks(session: Sam2Session, found: FrameMasks) -> list[Candidate]:
    """What discovery found, prompted by its mask over the frame."""
    height, width = session.size
    candidates = []
    for logits_hw, score in zip(found.logits_Bhw, found.scores(), strict=True):
        mask = (enlarge(logits_hw[None], height, width)[0] > 0).cpu().numpy()
        if mask.any():
            candidates.append(Candidate(MaskPrompt(mask), logits_hw > 0, score, source=1))
    return candidates


def choose_new(candidates: Sequence[Candidate], covered_hw: Tensor, max_covered: float) -> list[Candidate]:
    """The candidates of which less than `max_covered` lies on objects already followed, best first.

    One is measured against those chosen before it too. Matching a live mask by an IoU of one half or more
    implies being covered by one half. Surer sources come first, then the larger and more certain.
    """
    covered_hw = covered_hw.clone()
    ranked = sorted(
        candidates,
        key=lambda candidate: (candidate.source, -candidate.score * float(candidate.mask_hw.sum())),
    )
    new = []
    for candidate in ranked:
        area = float(candidate.mask_hw.sum())
        if area > 0 and float((candidate.mask_hw & covered_hw).sum()) < max_covered * area:
            new.append(candidate)
            covered_hw |= candidate.mask_hw
    return new


def choose_corrections(
    candidates: Sequence[Candidate], followed: FrameMasks, max_iou: float
) -> dict[int, Candidate]:
    """What objects that are followed already may be given, by number: those on which one candidate lies.

    A candidate lies on an object when the smaller of the two masks is half inside the other. One that lies on
    several objects (they touch) corrects none, unless by its IoU it outlines one with others inside.
    Of several on one object the best by IoU counts. An object whose mask agrees with it by more than
    `max_iou` is left alone.
    """
    if not candidates or not len(followed):
        return {}
    theirs_Ahw, ours_Bhw = torch.stack([item.mask_hw for item in candidates]), followed.binary_Bhw
    areas_A, areas_B = (masks.flatten(1).sum(1).float() for masks in (theirs_Ahw, ours_Bhw))
    smaller_AB = torch.minimum(areas_A[:, None], areas_B).clamp(min=1)
    lies_on_AB = share_pixels(theirs_Ahw, ours_Bhw) >= _MIN_INSIDE * smaller_AB
    lies_on_AB &= (areas_A[:, None] > 0) & (areas_B > 0)
    iou_AB = measure_iou(theirs_Ahw, ours_Bhw)
    is_its_AB = (lies_on_AB.sum(1, keepdim=True) == 1) | (iou_AB >= _MIN_SAME)
    iou_AB = torch.where(lies_on_AB & is_its_AB, iou_AB, -1.0)
    corrections: dict[int, Candidate] = {}
    for place, number in enumerate(followed.numbers):
        best = int(iou_AB[:, place].argmax())
        if 0 <= iou_AB[best, place] <= max_iou:
            corrections[number] = candidates[best]
    return corrections


def choose_replacements(
    found: Sequence[Candidate], followed: FrameMasks, judged_B: Sequence[float], settings: RefiningSettings
) -> dict[int, Candidate]:
    """What weak masks give way to, by number: what is judged better at the same place, each thing once.

    A weak mask may hold several things or a part of one, so the IoU says little: most of the smaller mask has
    to lie in the larger, which must not be very much larger.
    """
    replacements: dict[int, Candidate] = {}
    left = list(found)
    for number, mask_hw, judged in zip(followed.numbers, followed.binary_Bhw, judged_B, strict=True):
        if judged >= settings.weak:
            continue
        better = [
            (candidate.score * shared, place)
            for place, candidate in enumerate(left)
            if candidate.score >= judged + settings.weak_gain
            and (shared := _share_place(candidate.mask_hw, mask_hw))
        ]
        if better:
            replacements[number] = left.pop(max(better)[1])
    return replacements


def find_newcomers(before: FrameMasks, after: FrameMasks, max_iou: float) -> set[int]:
    """The objects that have come upon the mask of another, with an IoU above `max_iou`: of two alike, the one
    whose mask is the less like its own before. That has all that are in `after`."""
    masks_Bhw = after.binary_Bhw
    earlier = before.select([before.numbers.index(number) for number in after.numbers])
    kept_B = measure_iou(masks_Bhw, earlier.binary_Bhw).diagonal().tolist()
    alike_BB = (measure_iou(masks_Bhw, masks_Bhw) > max_iou).triu(1)
    return {
        after.numbers[first if kept_B[first] < kept_B[second] else second]
        for first, second in alike_BB.nonzero().tolist()
    }


def list_covered(masks_hw: Sequence[Tensor], followed: FrameMasks) -> list[int]:
    """The objects at least half of which lies on these masks."""
    if not masks_hw or not len(followed):
        return []
    ours_Bhw = followed.binary_Bhw
    area_B = ours_Bhw.flatten(1).sum(1)
    covered_B = (ours_Bhw & torch.stack(list(masks_hw)).any(0)).flatten(1).sum(1)
    is_covered_B = (area_B > 0) & (covered_B >= _MIN_INSIDE * area_B)
    return [followed.numbers[place] for place in is_covered_B.nonzero().flatten().tolist()]


def _share_place(first_hw: Tensor, second_hw: Tensor) -> float:
    """How many cells two masks share; 0 where they do not lie at the same place."""
    shared = float((first_hw & second_hw).sum())
    smaller, larger = sorted((float(first_hw.sum()), float(second_hw.sum())))
    is_same = shared >= _MIN_SHARED * smaller and shared >= _MIN_SHARED_OF_LARGER * larger
    return shared if is_same else 0.0


def _resize(mask: Mask, height: int, width: int) -> Mask:
    """The mask over the frame, by nearest cell."""
    if mask.shape == (height, width):
        return mask
    large = F.interpolate(torch.from_numpy(mask)[None, None].float(), size=(height, width), mode="nearest")
    resized: Mask = (large[0, 0] > 0).numpy()
    return resized


def _shrink(mask: Mask, like_hw: Tensor) -> Tensor:
    """The mask on the network's grid: cells at least half inside."""
    small = F.interpolate(
        torch.from_numpy(mask)[None, None].float(), size=like_hw.shape, mode="bilinear", antialias=True
    )
    return (small[0, 0] >= 0.5).to(like_hw.device)


def _travel(first: Box, now: Box) -> float:
    """How far a box has gone, in its own lengths."""
    (x0, y0), (x1, y1) = first.centre, now.centre
    return math.hypot(x1 - x0, y1 - y0) / math.sqrt(max(first.area, 1.0))
