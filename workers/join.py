"""Joining: tracklets of neighbouring chunks that are one object become one tubelet.

Neighbours read the same frames in their overlap, so one object has two masks on each of them. A pair's
score is the mean IoU over the frames that carry both, and pairs are chosen one-to-one (Hungarian method).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from tubelet.model.masks import mask_iou
from tubelet.records import Chunk, Observation, Tracklet, Tubelet

MIN_OVERLAP_IOU = 0.3


@dataclass(slots=True)
class _Growing:
    """A tubelet whose end is not yet known, and the last chunk's tracklet in it."""

    observations: list[Observation]
    tracklet_ids: list[str] = field(default_factory=list)
    last: Tracklet | None = None


def join_tracklets(video_id: str, chunks: Iterable[tuple[Chunk, Sequence[Tracklet]]]) -> list[Tubelet]:
    """Join the tracklets of a video's chunks, given in order; holds the masks of two chunks at a time.

    Every observation belongs to the chunk whose own window holds it, so none is counted twice. Tubelets
    come in order of their start; ids depend on the video and on where and when the object first appears.
    """
    finished: list[_Growing] = []
    growing: list[_Growing] = []
    for chunk, tracklets in chunks:
        pairs = _match([item.last for item in growing if item.last], tracklets)
        next_growing: list[_Growing] = []
        for place, tracklet in enumerate(tracklets):
            item = growing[pairs[place]] if place in pairs else _Growing([])
            item.observations += _own_observations(tracklet, chunk)
            item.tracklet_ids.append(tracklet.tracklet_id)
            item.last = tracklet
            next_growing.append(item)
        joined = {id(item) for item in next_growing}
        finished += [item for item in growing if id(item) not in joined]
        growing = next_growing
    finished += growing
    return _name(video_id, [item for item in finished if item.observations])


def score_overlap(first: Tracklet, second: Tracklet) -> float:
    """Mean IoU of two tracklets over the frames that both are on; 0 where they share none."""
    theirs = {observation.time_s: observation for observation in second.observations}
    shared = [_iou(mine, theirs[mine.time_s]) for mine in first.observations if mine.time_s in theirs]
    return float(np.mean(shared)) if shared else 0.0


def _iou(first: Observation, second: Observation) -> float:
    if first.mask is None or second.mask is None:
        return first.box.iou(second.box)
    return mask_iou(first.mask, second.mask)


def _match(before: Sequence[Tracklet], after: Sequence[Tracklet]) -> dict[int, int]:
    """One-to-one pairs as {place in after: place in before}."""
    if not before or not after:
        return {}
    scores = np.array([[score_overlap(old, new) for new in after] for old in before])
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return {
        int(column): int(row)
        for row, column in zip(rows, columns, strict=True)
        if scores[row, column] >= MIN_OVERLAP_IOU
    }


def _own_observations(tracklet: Tracklet, chunk: Chunk) -> list[Observation]:
    """The observations in the chunk's own window, without their masks, which only the overlap needs."""
    return [
        Observation(observation.time_s, observation.box, observation.score)
        for observation in tracklet.observations
        if chunk.start_s <= observation.time_s < chunk.end_s
    ]


def _name(video_id: str, items: list[_Growing]) -> list[Tubelet]:
    items.sort(key=lambda item: (item.observations[0].time_s, item.observations[0].box))
    tubelets = []
    used: set[str] = set()
    for item in items:
        first = item.observations[0]
        words = f"{video_id} {first.time_s:.3f} {tuple(round(side, 1) for side in first.box)}"
        object_id = _hash(words)
        while object_id in used:  # two objects that begin in one place at one time
            words += " again"
            object_id = _hash(words)
        used.add(object_id)
        tubelets.append(Tubelet(object_id, video_id, tuple(item.observations), tuple(item.tracklet_ids)))
    return tubelets


def _hash(words: str) -> str:
    return "o" + hashlib.blake2b(words.encode(), digest_size=8).hexdigest()
