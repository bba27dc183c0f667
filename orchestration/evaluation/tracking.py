"""Masks and tracks against truth: J&F given the first mask, HOTA and recall with discovery only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from tubelet.model.masks import Mask, decode_mask, mask_area
from tubelet.model.tracking.base import TrackedFrame, Tracker
from tubelet.model.tracking.measures import (
    MATCH_IOU,
    FrameOverlap,
    HotaTally,
    compare_frames,
    measure_masks,
    tally_hota,
)
from tubelet.model.tracking.shots import track_shots
from tubelet.model.training.world import RenderedClip
from tubelet.orchestration.evaluation.clips import (
    LARGE_SHARE,
    MIN_FRAMES,
    TINY_SHARE,
    SeenObject,
    list_seen,
    make_frames,
    spread_context,
)
from tubelet.orchestration.evaluation.figures import Figure, Floats, measure_groups, measure_mean
from tubelet.orchestration.evaluation.following import Follower, Prompts
from tubelet.orchestration.evaluation.regions import as_rle
from tubelet.records import Rle

WELL_VISIBLE = 0.8
"""Share of its own pixels that an object must show to have its first mask taken."""

IGNORED_SHARE = 0.5
"""A found mask that lies so far on things too small to be judged is not judged either."""

Masks = Mapping[int, Rle]


@dataclass(frozen=True, slots=True)
class ClipScores:
    """One tracker on one clip.

    `region` and `contour` are J and F of each object whose first mask was given. `found` says of each large
    object whether one track covers it; `seen` whether each sighting of them is covered by any mask;
    `right` whether each mask of the result lies on an object.
    """

    moving_camera: bool
    region: tuple[float, ...]
    contour: tuple[float, ...]
    hota: HotaTally
    found: tuple[float, ...]
    seen: tuple[float, ...]
    right: tuple[float, ...]


def run_tracker(tracker: Tracker, clip: RenderedClip) -> list[TrackedFrame]:
    """What a tracker finds in a clip by itself, as in indexing."""
    frames = make_frames(clip)
    return list(track_shots(tracker, frames, spread_context(frames, tracker.num_context_frames)))


def score_clip(clip: RenderedClip, tracked: Sequence[TrackedFrame], follower: Follower) -> ClipScores:
    """Score what was found by itself, and what the follower makes of the first masks."""
    objects = list_seen(clip)
    region, contour = _score_followed(clip, objects, tracked, follower)
    result = [
        {item.number: as_rle(item.observation, step.frame) for item in step.objects} for step in tracked
    ]
    hota, right = _score_tracks(clip, objects, result)
    found, seen = _score_recall(objects, result)
    return ClipScores(clip.camera.moving, region, contour, hota, found, seen, right)


def summarise_tracking(name: str, scores: Sequence[ClipScores]) -> list[Figure]:
    """The figures of one tracker: over all clips, then over those with a fixed camera."""
    fixed = [score for score in scores if not score.moving_camera]
    figures = _summarise(name, scores, "")
    return figures + (_summarise(name, fixed, ", fixed camera") if fixed else [])


def choose_first_masks(objects: Sequence[SeenObject]) -> dict[int, dict[int, Mask]]:
    """By frame and object, the mask of the first frame in which the object is well visible.

    Objects that are never, or only in the last frame, are left out.
    """
    prompts: dict[int, dict[int, Mask]] = {}
    for item in objects:
        places = item.frames_where(min_share=TINY_SHARE, min_visible=WELL_VISIBLE)
        if len(places) and places[0] < len(item.masks) - 1:
            rle = item.masks[places[0]]
            assert rle is not None, "what is visible has pixels"
            prompts.setdefault(int(places[0]), {})[item.truth.number] = decode_mask(rle)
    return prompts


def _score_followed(
    clip: RenderedClip, objects: Sequence[SeenObject], tracked: Sequence[TrackedFrame], follower: Follower
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """J and F of each object over the frames after its first mask; that both call it unseen is right."""
    prompts: Prompts = choose_first_masks(objects)
    followed = follower.follow(make_frames(clip), tracked, prompts)
    masks_of = {item.truth.number: item.masks for item in objects}
    region, contour = [], []
    for place, given in sorted(prompts.items()):
        for number in given:
            truth: list[Masks] = [{} if rle is None else {0: rle} for rle in masks_of[number][place + 1 :]]
            result: list[Masks] = [
                {0: masks[number]} if number in masks and mask_area(masks[number]) else {}
                for masks in followed[place + 1 :]
            ]
            if any(truth):
                scores = measure_masks(truth, result)
                region.append(scores.region)
                contour.append(scores.contour)
    return tuple(region), tuple(contour)


def _score_tracks(
    clip: RenderedClip, objects: Sequence[SeenObject], result: Sequence[Masks]
) -> tuple[HotaTally, tuple[float, ...]]:
    truth: list[Masks] = []
    judged: list[Masks] = []
    for place, masks in enumerate(result):
        expected, ignored = {}, []
        for item in objects:
            rle = item.masks[place]
            if rle is not None and item.share_T[place] >= TINY_SHARE:
                expected[item.truth.number] = rle
            elif rle is not None:
                ignored.append(rle)
        truth.append(expected)
        judged.append(_leave_out(masks, ignored, clip.labels_THW[place].size))
    overlaps = compare_frames(truth, judged)
    right = [float(iou >= MATCH_IOU) for frame in overlaps.frames for iou in _best_of_results(frame)]
    return tally_hota(overlaps), tuple(right)


def _leave_out(masks: Masks, ignored: Sequence[Rle], num_pixels: int) -> Masks:
    """Without masks that are too small to be judged, or that lie on what is."""
    on = _merge(ignored)
    kept = {}
    for number, rle in masks.items():
        area = mask_area(rle)
        if area < TINY_SHARE * num_pixels:
            continue
        if on is not None and _share_pixels(rle, on) >= IGNORED_SHARE * area:
            continue
        kept[number] = rle
    return kept


def _score_recall(
    objects: Sequence[SeenObject], result: Sequence[Masks]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Whether each large object is found by one track, and whether each of its sightings is by any."""
    truth: list[dict[int, Rle]] = [{} for _ in result]
    for item in objects:
        places = item.frames_where(min_share=LARGE_SHARE)
        if len(places) >= MIN_FRAMES:
            for place in places:
                rle = item.masks[place]
                assert rle is not None, "what is visible has pixels"
                truth[place][item.truth.number] = rle
    overlaps = compare_frames(truth, result)
    num_seen, _ = overlaps.count_sightings()
    covered = np.zeros((overlaps.num_truth, max(1, overlaps.num_results)))
    seen: list[float] = []
    for frame in overlaps.frames:
        covered[np.ix_(frame.truth, frame.result)] += frame.iou
        seen += [float(iou >= MATCH_IOU) for iou in _best_of_truth(frame)]
    found = covered.max(axis=1) / np.maximum(1, num_seen) >= MATCH_IOU
    return tuple(found.astype(float).tolist()), tuple(seen)


def _best_of_truth(frame: FrameOverlap) -> NDArray[np.float64]:
    """The best overlap of each object of truth."""
    best: NDArray[np.float64] = frame.iou.max(axis=1, initial=0.0)
    return best


def _best_of_results(frame: FrameOverlap) -> NDArray[np.float64]:
    """The best overlap of each object of the result."""
    best: NDArray[np.float64] = frame.iou.max(axis=0, initial=0.0)
    return best


def _merge(masks: Sequence[Rle]) -> Rle | None:
    if not masks:
        return None
    packed = coco.merge([{"size": [rle.height, rle.width], "counts": rle.counts} for rle in masks])
    return Rle(masks[0].height, masks[0].width, packed["counts"])


def _share_pixels(first: Rle, second: Rle) -> int:
    pair = [{"size": [rle.height, rle.width], "counts": rle.counts} for rle in (first, second)]
    return int(coco.area(coco.merge(pair, intersect=True)))


def _summarise(name: str, scores: Sequence[ClipScores], where: str) -> list[Figure]:
    both = [
        [(region + contour) / 2 for region, contour in zip(score.region, score.contour, strict=True)]
        for score in scores
    ]
    hota = _summarise_hota(name, [score.hota for score in scores], where)
    found = measure_mean(
        f"recall, objects over 1 %{where}", name, "objects", [score.found for score in scores]
    )
    followed = measure_mean(f"J&F, first mask given{where}", name, "objects", both)
    if where:
        return [followed, found, hota[0]]
    return [
        followed,
        measure_mean("J", name, "objects", [score.region for score in scores]),
        measure_mean("F", name, "objects", [score.contour for score in scores]),
        found,
        measure_mean("recall of their sightings", name, "sightings", [score.seen for score in scores]),
        measure_mean("precision of masks", name, "masks", [score.right for score in scores]),
        *hota,
    ]


def _summarise_hota(name: str, tallies: Sequence[HotaTally], where: str) -> list[Figure]:
    matched = np.stack([tally.matched_L for tally in tallies])
    association = np.stack([tally.association_L for tally in tallies])
    overlap = np.stack([tally.overlap_L for tally in tallies])
    num_truth = np.array([float(tally.num_truth) for tally in tallies])
    num_result = np.array([float(tally.num_result) for tally in tallies])

    def scorer(place: int) -> Callable[[Floats], float]:
        def score(weights_G: Floats) -> float:
            tally = HotaTally(
                weights_G @ matched,
                weights_G @ association,
                weights_G @ overlap,
                int(weights_G @ num_truth),
                int(weights_G @ num_result),
            )
            return tally.score()[place]

        return score

    return [
        measure_groups(
            f"{measure}{where}", name, "sightings", int(num_truth.sum()), len(tallies), scorer(place)
        )
        for place, measure in enumerate(("HOTA", "DetA", "AssA"))
    ]
