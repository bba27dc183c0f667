"""Joining: tracklets of a video's chunks that are one object become one tubelet.

Neighbours read the same frames in their overlap, so one object has two masks on each of them. The score of a
pair is the mean mask IoU over the frames that carry both, where a frame weighs 1 / (1 + seconds to the seam):
when a tracker takes one object for another inside the overlap, what counts is which object it is on where the
chunk's own window begins. Pairs are chosen one-to-one (Hungarian method), at a score of 0.3 or more, or 0.5
when fewer than three frames speak for it. What is left over may still belong to an object that was chosen,
found again after a gap, and is assigned in further rounds. Chains with a gap between them are the matter of
`rejoin`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np

from tubelet.model.masks import mask_iou
from tubelet.model.tracking.association import assign
from tubelet.records import CameraStep, Chunk, Observation, Tracklet, Tubelet, Video
from tubelet.workers.chunk_result import ChunkResult
from tubelet.workers.rejoin import Chain, Scene, rejoin_chains

MIN_OVERLAP_IOU = 0.3
MIN_OVERLAP_IOU_OF_FEW = 0.5
FEW_FRAMES = 3


@dataclass(slots=True)
class _Open:
    """A chain that later chunks may still overlap, and what was seen of it with masks, by time."""

    chain: Chain
    read_end_s: float
    seen: dict[float, Observation] = field(default_factory=dict)


def join_tracklets(video: Video, results: Iterable[ChunkResult], *, rejoin_s: float) -> list[Tubelet]:
    """Join the tracklets of a video's chunks, given in order; holds the masks of two chunks at a time.

    Every observation belongs to the chunk whose own window holds it, so none is counted twice. An object that
    was away for at most `rejoin_s` may be joined again. Tubelets come in order of their start.
    """
    chains: list[Chain] = []
    still_open: list[_Open] = []
    camera: list[CameraStep] = []
    cuts: list[float] = []
    for result in results:
        chunk = result.chunk
        camera += [step for step in result.camera if _owns(chunk, step.time_s)]
        cuts += [time_s for time_s in result.cuts if _owns(chunk, time_s)]
        still_open = [item for item in still_open if item.read_end_s > chunk.read_start_s]
        begun = _take_in(still_open, result)
        chains += [item.chain for item in begun]
        still_open += begun
    chains = [chain for chain in chains if chain.observations]
    for chain in chains:
        chain.sort()
    scene = Scene(cuts, camera, video.width, video.height)
    return _name(video.video_id, rejoin_chains(chains, scene, rejoin_s=rejoin_s))


def score_overlap(first: dict[float, Observation], second: Tracklet, seam_s: float) -> float:
    """How surely an object seen by time is a tracklet, 0..1; 0 where it is not believed at all."""
    total = weights = 0.0
    num_frames = 0
    for theirs in second.observations:
        mine = first.get(theirs.time_s)
        if mine is not None:
            weight = 1 / (1 + abs(theirs.time_s - seam_s))
            total += weight * _iou(mine, theirs)
            weights += weight
            num_frames += 1
    limit = MIN_OVERLAP_IOU if num_frames >= FEW_FRAMES else MIN_OVERLAP_IOU_OF_FEW
    return total / weights if num_frames and total >= limit * weights else 0.0


def _iou(first: Observation, second: Observation) -> float:
    overlap = first.box.iou(second.box)
    if overlap == 0 or first.mask is None or second.mask is None:
        return overlap
    return mask_iou(first.mask, second.mask)


def _take_in(still_open: Sequence[_Open], result: ChunkResult) -> list[_Open]:
    """Give the tracklets of a chunk to the chains that they go on with; those of new chains are returned."""
    chunk, tracklets = result.chunk, result.tracklets
    scores = np.array(
        [[score_overlap(item.seen, new, chunk.start_s) for new in tracklets] for item in still_open]
    ).reshape(len(still_open), len(tracklets))
    given: dict[int, list[int]] = {}
    left = set(range(len(tracklets)))
    while pairs := assign(_price(scores, tracklets, given, left)):
        for place, new in pairs:
            given.setdefault(place, []).append(new)
            left.discard(new)
    for place, news in given.items():
        for new in news:
            _extend(still_open[place], tracklets[new], chunk)
    begun = [_Open(Chain(), chunk.read_end_s) for _ in left]
    for item, new in zip(begun, sorted(left), strict=True):
        _extend(item, tracklets[new], chunk)
    return begun


def _price(
    scores: np.ndarray, tracklets: Sequence[Tracklet], given: dict[int, list[int]], left: set[int]
) -> np.ndarray:
    """What each pair costs in this round, infinite where it may not be chosen."""
    prices = np.where(scores > 0, 1 - scores, np.inf)
    prices[:, [new for new in range(len(tracklets)) if new not in left]] = np.inf
    for place, news in given.items():
        for new in left:
            if any(_were_visible_at_once(tracklets[new], tracklets[other]) for other in news):
                prices[place, new] = np.inf
    return prices


def _were_visible_at_once(first: Tracklet, second: Tracklet) -> bool:
    times = {observation.time_s for observation in first.observations}
    return any(observation.time_s in times for observation in second.observations)


def _extend(item: _Open, tracklet: Tracklet, chunk: Chunk) -> None:
    own = [
        replace(observation, mask=None)  # masks are needed in the overlap only
        for observation in tracklet.observations
        if _owns(chunk, observation.time_s)
    ]
    item.chain.add(tracklet, own)
    item.read_end_s = max(item.read_end_s, chunk.read_end_s)
    item.seen = {time_s: seen for time_s, seen in item.seen.items() if time_s >= chunk.read_start_s}
    for seen in tracklet.observations:
        if seen.time_s >= chunk.start_s or seen.time_s not in item.seen:
            item.seen[seen.time_s] = seen


def _owns(chunk: Chunk, time_s: float) -> bool:
    return chunk.start_s <= time_s < chunk.end_s


def _name(video_id: str, chains: Sequence[Chain]) -> list[Tubelet]:
    """Give ids: by the frame on which an object first appears and, among those of one frame, its place in it.

    The frame is one of the video's grid and the places are only compared, so a box that differs by a pixel
    between two ways of cutting the video into chunks does not change an id.
    """
    ordered = sorted(chains, key=lambda chain: (chain.start_s, chain.observations[0].box))
    tubelets = []
    for start_s, together in groupby(ordered, key=lambda chain: chain.start_s):
        for place, chain in enumerate(together):
            digest = hashlib.blake2b(f"{video_id} {start_s:.3f} {place}".encode(), digest_size=8)
            object_id = "o" + digest.hexdigest()
            tubelets.append(
                Tubelet(object_id, video_id, tuple(chain.observations), tuple(chain.tracklet_ids))
            )
    return tubelets
