"""How good tracks are, against known truth: HOTA, IDF1, MOTA, ID switches, and J&F for masks.

Own code, because the maintained package (`trackeval`) brings a second OpenCV that overwrites ours. The tests
hold these functions to its answers.

A *sighting list* is one mapping for each frame, from an object's id to its mask (`Rle`) or `Box`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco
from scipy.optimize import linear_sum_assignment

from tubelet.errors import InputError
from tubelet.model.masks import Mask, decode_mask
from tubelet.records import Box, Rle

Region = Rle | Box
Sightings = Sequence[Mapping[int, Region]]
Floats = NDArray[np.float64]

HOTA_THRESHOLDS = np.arange(0.05, 0.99, 0.05)
MATCH_IOU = 0.5
BOUNDARY_TOLERANCE = 0.008
_EPSILON = float(np.finfo("float").eps)
_KEEP_BONUS = 1000.0


@dataclass(frozen=True, slots=True)
class FrameOverlap:
    """One frame: rows of truth, rows of result, and how well each pair overlaps (IoU)."""

    truth: NDArray[np.intp]
    result: NDArray[np.intp]
    iou: Floats


@dataclass(frozen=True, slots=True)
class Overlaps:
    """A whole run, with ids replaced by rows 0, 1, 2, ..."""

    frames: tuple[FrameOverlap, ...]
    num_truth: int
    num_results: int

    def count_sightings(self) -> tuple[Floats, Floats]:
        """In how many frames each object of truth and of the result is seen."""
        truth, result = np.zeros(self.num_truth), np.zeros(self.num_results)
        for frame in self.frames:
            truth[frame.truth] += 1
            result[frame.result] += 1
        return truth, result


@dataclass(frozen=True, slots=True)
class HotaTally:
    """What HOTA is made of, at each of HOTA_THRESHOLDS. Tallies of several runs add up.

    `matched_L` counts matched sightings, `association_L` sums their association accuracy and `overlap_L`
    their IoU. `num_truth` and `num_result` count all sightings.
    """

    matched_L: Floats
    association_L: Floats
    overlap_L: Floats
    num_truth: int
    num_result: int

    def __add__(self, other: HotaTally) -> HotaTally:
        return HotaTally(
            self.matched_L + other.matched_L,
            self.association_L + other.association_L,
            self.overlap_L + other.overlap_L,
            self.num_truth + other.num_truth,
            self.num_result + other.num_result,
        )

    def score(self) -> tuple[float, float, float, float]:
        """HOTA, DetA, AssA and LocA, means over the thresholds."""
        if not (self.num_truth and self.num_result):
            empty = float(self.num_truth == self.num_result)
            return empty, empty, empty, 1.0
        association = self.association_L / np.maximum(1, self.matched_L)
        detection = self.matched_L / np.maximum(1, self.num_truth + self.num_result - self.matched_L)
        localisation = np.maximum(1e-10, self.overlap_L) / np.maximum(1e-10, self.matched_L)
        return (
            float(np.sqrt(detection * association).mean()),
            float(detection.mean()),
            float(association.mean()),
            float(localisation.mean()),
        )


@dataclass(frozen=True, slots=True)
class TrackingScores:
    """Scores of one run, 0..1 except the counts; MOTA may be negative.

    HOTA, DetA, AssA: Luiten et al., 2021. IDF1: Ristani et al., 2016. MOTA, MOTP and ID switches: Bernardin
    and Stiefelhagen, 2008, at an IoU of one half.
    """

    hota: float
    detection_accuracy: float
    association_accuracy: float
    localisation_accuracy: float
    idf1: float
    mota: float
    motp: float
    num_switches: int
    num_missed: int
    num_false: int


@dataclass(frozen=True, slots=True)
class MaskScores:
    """J (region, IoU) and F (contour) of DAVIS (Perazzi et al., 2016), means over frames and objects.

    `matched` says which object of the result was taken for which of truth.
    """

    region: float
    contour: float
    matched: Mapping[int, int]

    @property
    def both(self) -> float:
        """J&F."""
        return (self.region + self.contour) / 2


def measure_tracking(truth: Sightings, result: Sightings) -> TrackingScores:
    """All scores that look at ids. Raises InputError when the runs have not the same number of frames."""
    overlaps = compare_frames(truth, result)
    hota, detection, association, localisation = measure_hota(overlaps)
    mota, motp, num_switches, num_missed, num_false = measure_clear(overlaps)
    return TrackingScores(
        hota=hota,
        detection_accuracy=detection,
        association_accuracy=association,
        localisation_accuracy=localisation,
        idf1=measure_idf1(overlaps),
        mota=mota,
        motp=motp,
        num_switches=num_switches,
        num_missed=num_missed,
        num_false=num_false,
    )


def compare_frames(truth: Sightings, result: Sightings) -> Overlaps:
    """IoU of every pair in every frame."""
    _check_lengths(truth, result)
    truth_rows = _number(truth)
    result_rows = _number(result)
    frames = tuple(
        FrameOverlap(
            np.array([truth_rows[number] for number in expected], np.intp),
            np.array([result_rows[number] for number in found], np.intp),
            _measure_ious(list(expected.values()), list(found.values())),
        )
        for expected, found in zip(truth, result, strict=True)
    )
    return Overlaps(frames, len(truth_rows), len(result_rows))


def measure_hota(overlaps: Overlaps) -> tuple[float, float, float, float]:
    """HOTA, DetA, AssA and LocA, means over the thresholds 0.05 to 0.95."""
    return tally_hota(overlaps).score()


def tally_hota(overlaps: Overlaps) -> HotaTally:
    """What HOTA is made of, over one run."""
    num_truth, num_result = overlaps.count_sightings()
    num_levels = len(HOTA_THRESHOLDS)
    matches = np.zeros((num_levels, overlaps.num_truth, overlaps.num_results))
    overlap_sums = np.zeros(num_levels)
    if num_truth.sum() and num_result.sum():
        alignment = _align_globally(overlaps, num_truth, num_result)
        for frame in overlaps.frames:
            rows, columns = linear_sum_assignment(-alignment[np.ix_(frame.truth, frame.result)] * frame.iou)
            ious = frame.iou[rows, columns]
            for level, threshold in enumerate(HOTA_THRESHOLDS):
                good = ious >= threshold - _EPSILON
                matches[level, frame.truth[rows[good]], frame.result[columns[good]]] += 1
                overlap_sums[level] += ious[good].sum()
    unions = num_truth[:, None] + num_result - matches
    return HotaTally(
        matched_L=matches.sum((1, 2)),
        association_L=(matches**2 / np.maximum(1, unions)).sum((1, 2)),
        overlap_L=overlap_sums,
        num_truth=int(num_truth.sum()),
        num_result=int(num_result.sum()),
    )


def measure_idf1(overlaps: Overlaps) -> float:
    """The F score of ids: each object of truth is given one of the result for the whole run."""
    num_truth, num_result = overlaps.count_sightings()
    agreed = np.zeros((overlaps.num_truth, overlaps.num_results))
    for frame in overlaps.frames:
        rows, columns = np.nonzero(frame.iou >= MATCH_IOU)
        agreed[frame.truth[rows], frame.result[columns]] += 1
    rows, columns = linear_sum_assignment(-agreed)
    total = num_truth.sum() + num_result.sum()
    return float(2 * agreed[rows, columns].sum() / total) if total else 1.0


def measure_clear(overlaps: Overlaps) -> tuple[float, float, int, int, int]:
    """MOTA, MOTP, ID switches, missed and false sightings.

    A pair matched in the frame before is matched again if it may be, and then by overlap. A switch is counted
    when an object is matched with another one than the last time it was matched.
    """
    last_matched: dict[int, int] = {}
    just_matched: dict[int, int] = {}
    num_matched = num_switches = num_expected = num_found = 0
    overlap_sum = 0.0
    for frame in overlaps.frames:
        num_expected += len(frame.truth)
        num_found += len(frame.result)
        if not frame.iou.size:
            continue
        kept = np.array([just_matched.get(int(row), -1) for row in frame.truth])[:, None] == frame.result
        worth = np.where(frame.iou >= MATCH_IOU - _EPSILON, _KEEP_BONUS * kept + frame.iou, 0.0)
        just_matched = {}
        for row, column in zip(*linear_sum_assignment(-worth), strict=True):
            if worth[row, column] > _EPSILON:
                expected, found = int(frame.truth[row]), int(frame.result[column])
                num_switches += last_matched.get(expected, found) != found
                last_matched[expected] = just_matched[expected] = found
                num_matched += 1
                overlap_sum += frame.iou[row, column]
    num_missed, num_false = num_expected - num_matched, num_found - num_matched
    mota = (num_matched - num_false - num_switches) / max(1, num_expected)
    return mota, overlap_sum / max(1, num_matched), num_switches, num_missed, num_false


def measure_masks(truth: Sightings, result: Sightings, *, skip_ends: bool = False) -> MaskScores:
    """J and F of masks, each object of truth with the one of the result that suits it best over the run.

    `skip_ends` leaves out the first and last frame, as DAVIS does where the first mask is given.
    """
    _check_lengths(truth, result)
    if skip_ends:
        truth, result = truth[1:-1], result[1:-1]
    truth_rows, result_rows = _number(truth), _number(result)
    if not truth_rows:
        raise InputError("There is no object in the truth", expected="masks of one object or more")
    regions = np.zeros((len(truth_rows), len(result_rows) + 1))
    contours = np.zeros_like(regions)  # the last column is an object that is never seen
    for expected, found in zip(truth, result, strict=True):
        pictures = {number: _decode(region) for number, region in expected.items()}
        answers = {number: _decode(region) for number, region in found.items()}
        for number, row in truth_rows.items():
            for other, column in (*result_rows.items(), (None, -1)):
                mask, answer = pictures.get(number), None if other is None else answers.get(other)
                region, contour = _compare(mask, answer)
                regions[row, column] += region
                contours[row, column] += contour
    regions, contours = regions / len(truth), contours / len(truth)
    rows, columns = linear_sum_assignment(-(regions + contours)[:, :-1])
    chosen = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    pairs = [(row, chosen.get(row, -1)) for row in range(len(truth_rows))]
    names = list(result_rows)
    return MaskScores(
        region=float(np.mean([regions[pair] for pair in pairs])),
        contour=float(np.mean([contours[pair] for pair in pairs])),
        matched={number: names[chosen[row]] for number, row in truth_rows.items() if row in chosen},
    )


def measure_contour(truth: Mask, result: Mask) -> float:
    """F: how much of each outline lies within 0.8 % of the diagonal of the other, as an F score."""
    outline, answer = _outline(truth), _outline(result)
    if not outline.any() or not answer.any():
        return float(outline.any() == answer.any())
    radius = math.ceil(BOUNDARY_TOLERANCE * math.hypot(*truth.shape))
    ys, xs = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (ys**2 + xs**2 <= radius**2).astype(np.uint8)
    near_truth, near_answer = (cv2.dilate(edge.astype(np.uint8), disk) > 0 for edge in (outline, answer))
    precision = (answer & near_truth).sum() / answer.sum()
    recall = (outline & near_answer).sum() / outline.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _outline(mask: Mask) -> Mask:
    """Pixels that differ from the one to the right, below, or below and to the right."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    own = padded[:-1, :-1]
    edges: Mask = (own != padded[:-1, 1:]) | (own != padded[1:, :-1]) | (own != padded[1:, 1:])
    return edges


def _compare(truth: Mask | None, result: Mask | None) -> tuple[float, float]:
    """J and F of one object in one frame; an object that neither shows is right."""
    if truth is None or result is None:
        seen = truth if truth is not None else result
        nothing_there = seen is None or not seen.any()
        return float(nothing_there), float(nothing_there)
    if truth.shape != result.shape:
        raise InputError(
            f"A result mask has shape {result.shape}",
            expected=f"{truth.shape}, as the truth has",
            do="resize it",
        )
    union = (truth | result).sum()
    return float((truth & result).sum() / union) if union else 1.0, measure_contour(truth, result)


def _align_globally(overlaps: Overlaps, num_truth: Floats, num_result: Floats) -> Floats:
    """How well each pair of objects goes together over the whole run: a soft IoU of their sightings."""
    together = np.zeros((overlaps.num_truth, overlaps.num_results))
    for frame in overlaps.frames:
        union = frame.iou.sum(0)[None, :] + frame.iou.sum(1)[:, None] - frame.iou
        share = np.divide(frame.iou, union, out=np.zeros_like(frame.iou), where=union > _EPSILON)
        together[np.ix_(frame.truth, frame.result)] += share
    return together / (num_truth[:, None] + num_result - together)


def _measure_ious(truth: Sequence[Region], result: Sequence[Region]) -> Floats:
    """IoU of every pair, (truth, result); all must be masks on one grid, or all boxes."""
    regions = [*truth, *result]
    if not truth or not result:
        return np.zeros((len(truth), len(result)))
    grids = {(region.height, region.width) if isinstance(region, Rle) else None for region in regions}
    if len(grids) > 1:
        raise InputError(
            "Truth and result cannot be compared: they are boxes and masks, or masks on different grids",
            expected="masks of one size, or boxes",
            do="resize the masks, or compare boxes",
        )
    encoded = [
        {"size": [region.height, region.width], "counts": region.counts}
        if isinstance(region, Rle)
        else [region.x0, region.y0, region.width, region.height]
        for region in regions
    ]
    if not isinstance(regions[0], Rle):
        encoded = np.array(encoded, np.float64)  # type: ignore[assignment]
    ious: Floats = coco.iou(encoded[len(truth) :], encoded[: len(truth)], [0] * len(truth))
    return np.asarray(ious, np.float64).T


def _number(sightings: Sightings) -> dict[int, int]:
    """Rows for ids, in order of appearance."""
    return {number: row for row, number in enumerate(dict.fromkeys(n for frame in sightings for n in frame))}


def _decode(region: Region) -> Mask:
    if not isinstance(region, Rle):
        raise InputError(
            "J&F needs masks; found a box", expected="masks", do="use measure_tracking for boxes"
        )
    return decode_mask(region)


def _check_lengths(truth: Sightings, result: Sightings) -> None:
    if len(truth) != len(result):
        raise InputError(
            f"The result has {len(result)} frames, the truth {len(truth)}",
            expected="one entry for each frame in both, empty where nothing is seen",
        )
