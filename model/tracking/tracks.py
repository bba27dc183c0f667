"""Objects in flight: their births, their meetings and partings, their ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.tracking.association import BoxFilter, assign, compare_boxes
from tubelet.model.tracking.blobs import (
    Blob,
    ColourIndex,
    Histogram,
    Patch,
    compare_colours,
    cut_patch,
    join_blobs,
    make_blob,
)
from tubelet.model.tracking.camera import Affine

_OVERLAP_WEIGHT = 0.6
_MAX_COST = 0.8
_MIN_LIKENESS = 0.25
_SCRAP_SHARE = 0.15
_MIN_SCRAP_LIKENESS = 0.55
_REACH_SIZES = 0.75
_FRAGMENT_INSIDE = 0.6
_FRAGMENT_GAP = 0.25
_CLAIM_SHARE = 0.3
_YOUNG_S = 1.0
_LEARNING_RATE = 0.15
_COLOUR_WEIGHT = 0.5
_MIN_SHARE = 0.1
_FULL_SHARE = 0.7
_MOVED_OVERLAP = 0.1
_SHRINK_A_SECOND = 0.8


class Track:
    """One object: where it is expected, its shape and its colours."""

    def __init__(self, blob: Blob, time_s: float) -> None:
        self.filter = BoxFilter(blob.patch.box)
        self.shape = blob.patch
        self.histogram: Histogram = blob.histogram
        self.area = float(blob.area)
        self.born_s = self.seen_s = time_s
        self.num_seen = 1
        self.birthplace = blob.patch.box
        self.has_moved = False
        self.number: int | None = None
        self.ended = False
        self.max_shrink = 1.0

    def predict(self, step_s: float, camera: Affine) -> None:
        """Carry box and shape on to the next picture."""
        before = self._centre()
        self.max_shrink = _SHRINK_A_SECOND**step_s
        self.filter.predict(step_s, camera)
        self.shape = self.shape.move(self._centre() - before)

    def _centre(self) -> NDArray[np.float64]:
        return np.asarray(self.filter.state[:2, 0].copy())

    def see(self, blob: Blob, time_s: float) -> None:
        """Take in the object as it was seen alone."""
        self.filter.update(_anchor(blob.patch.box, self.filter.box, self.max_shrink))
        self.shape = blob.patch
        self.area += 0.3 * (blob.area - self.area)
        self.has_moved |= _overlap(self.birthplace, blob.patch.box) < _MOVED_OVERLAP
        self.histogram = self.histogram + _LEARNING_RATE * (blob.histogram - self.histogram)
        self._mark_seen(time_s)

    def see_part(self, share: Patch, trust: float, time_s: float) -> None:
        """Take in the share that the object got of a piece of foreground it has in common with others.

        Shape and colours stay as they were; the place follows the share's centroid as far as it is trusted.
        """
        offset = share.centroid - self.shape.centroid
        self.filter.update(self.shape.move(offset).box, trust=trust**2)
        self.shape = self.shape.move(self._centre() - (self.shape.box[:2] + self.shape.box[2:]) / 2)
        self._mark_seen(time_s)

    def _mark_seen(self, time_s: float) -> None:
        self.seen_s = time_s
        self.num_seen += 1


@dataclass(frozen=True, slots=True)
class Sighting:
    """A track, the pixels it was given in this picture, and how sure that is (0..1)."""

    track: Track
    patch: Patch
    score: float


class TrackSet:
    """All objects alive. Times are seconds, everything else pixels of the pictures that were analysed."""

    def __init__(self, max_num: int, max_gap_s: float, tentative_gap_s: float) -> None:
        self._max_num = max_num
        self._max_gap_s = max_gap_s
        self._tentative_gap_s = tentative_gap_s
        self.tracks: list[Track] = []
        self.was_full = False
        """Whether something had to be left out so far."""

    def follow(
        self, blobs: Sequence[Blob], colours: ColourIndex, camera: Affine, time_s: float, step_s: float
    ) -> list[Sighting]:
        """Give the pieces of foreground of one picture to the tracks; make and end tracks."""
        for track in self.tracks:
            track.predict(step_s, camera)
        pairs = self._match(blobs, time_s)
        own = {t: [b] for t, b in pairs}
        loose = [b for b in range(len(blobs)) if b not in {b for _, b in pairs}]
        loose = self._adopt_fragments(blobs, own, loose)
        wholes = {t: join_blobs(blobs[b] for b in pieces) for t, pieces in own.items()}
        crowds = self._find_crowds(wholes, time_s)
        sightings = []
        for index, whole in wholes.items():
            if index in crowds:
                members = [self.tracks[i] for i in [index, *crowds[index]]]
                sightings += self._divide(whole, members, colours, time_s)
            else:
                likeness = compare_colours(self.tracks[index].histogram, whole.histogram)
                self.tracks[index].see(whole, time_s)
                sightings.append(Sighting(self.tracks[index], whole.patch, 0.5 + 0.5 * likeness))
        sightings += self._begin([blobs[b] for b in loose], time_s)
        self._end(time_s, colours.shape[0], colours.shape[1])
        return [sighting for sighting in sightings if not sighting.track.ended]

    def _match(self, blobs: Sequence[Blob], time_s: float) -> list[tuple[int, int]]:
        """Pair tracks and blobs by predicted overlap and by colours."""
        if not self.tracks or not blobs:
            return []
        expected = np.stack([track.filter.box for track in self.tracks])
        seen = np.stack([blob.patch.box for blob in blobs])
        overlap = compare_boxes(expected, seen)
        centre, middle = (expected[:, :2] + expected[:, 2:]) / 2, (seen[:, :2] + seen[:, 2:]) / 2
        distance = np.linalg.norm(centre[:, None] - middle[None], axis=2)
        size = np.sqrt(np.prod(expected[:, 2:] - expected[:, :2], axis=1))
        reach = _REACH_SIZES * size + np.array([2 * t.filter.position_spread_px for t in self.tracks])
        cost = np.full(overlap.shape, np.inf)
        for t, b in zip(*np.nonzero((overlap > 0.05) | (distance < reach[:, None])), strict=True):
            likeness = compare_colours(self.tracks[t].histogram, blobs[b].histogram)
            near = max(float(overlap[t, b]), 0.5 * (1.0 - min(1.0, distance[t, b] / reach[t])))
            price = _OVERLAP_WEIGHT * (1.0 - near) + (1.0 - _OVERLAP_WEIGHT) * (1.0 - likeness)
            is_scrap = blobs[b].area < _SCRAP_SHARE * self.tracks[t].area
            if price < _MAX_COST and likeness >= (_MIN_SCRAP_LIKENESS if is_scrap else _MIN_LIKENESS):
                unsure = 0.0 if self.tracks[t].number is not None else 0.1
                cost[t, b] = price + unsure - 1.0
        return assign(cost)

    def _adopt_fragments(
        self, blobs: Sequence[Blob], own: dict[int, list[int]], loose: list[int]
    ) -> list[int]:
        """Give loose pieces that lie within a matched track's expected box to it; return the others."""
        left = []
        for b in loose:
            box = blobs[b].patch.box
            best, best_share = None, _FRAGMENT_INSIDE
            for t, pieces in own.items():
                main = blobs[pieces[0]]
                share = _share_inside(box, _grow(self.tracks[t].filter.box, 0.1))
                limit = _FRAGMENT_GAP * np.sqrt(max(blobs[b].area, 0.1 * main.area))
                if share >= best_share and _gap(box, main.patch.box) <= limit:
                    best, best_share = t, share
            if best is None:
                left.append(b)
            else:
                own[best].append(b)
        return left

    def _find_crowds(self, wholes: dict[int, Blob], time_s: float) -> dict[int, list[int]]:
        """Which unmatched tracks hide in whose blob; young ones are taken for parts of it and end."""
        crowds: dict[int, list[int]] = {}
        for t, track in enumerate(self.tracks):
            if t in wholes:
                continue
            shares = {i: whole.patch.overlap(track.shape) / track.shape.area for i, whole in wholes.items()}
            host = max(shares, key=lambda i: shares[i], default=None)
            if host is None or shares[host] < _CLAIM_SHARE:
                continue
            if time_s - track.born_s < _YOUNG_S:
                track.ended = True
            else:
                crowds.setdefault(host, []).append(t)
        return crowds

    def _divide(
        self, whole: Blob, members: list[Track], colours: ColourIndex, time_s: float
    ) -> list[Sighting]:
        """Give each pixel of a common blob to the member whose place and colours suit it best."""
        patch = whole.patch
        height, width = patch.cells.shape
        window = colours[patch.y0 : patch.y0 + height, patch.x0 : patch.x0 + width]
        costs = np.stack([_cost_of_pixels(track, patch, window) for track in members])
        winner = np.argmin(costs, axis=0)
        sightings = []
        for index, track in enumerate(members):
            share = cut_patch(patch.cells & (winner == index), patch.x0, patch.y0)
            if share is None or share.area < _MIN_SHARE * track.shape.area:
                continue
            trust = min(1.0, share.area / (_FULL_SHARE * track.shape.area))
            likeness = compare_colours(track.histogram, make_blob(share, colours).histogram)
            track.see_part(share, trust, time_s)
            sightings.append(Sighting(track, share, (0.3 + 0.5 * likeness) * trust))
        return sightings

    def _begin(self, blobs: list[Blob], time_s: float) -> list[Sighting]:
        """Start a track for each blob, the largest first; when full, the smallest makes room."""
        sightings = []
        for blob in sorted(blobs, key=lambda blob: -blob.area):
            if len(self.tracks) >= self._max_num:
                self.was_full = True
                smallest = min(self.tracks, key=lambda track: track.area)
                if blob.area < 1.5 * smallest.area:
                    break
                smallest.ended = True
                self.tracks.remove(smallest)
            track = Track(blob, time_s)
            self.tracks.append(track)
            sightings.append(Sighting(track, blob.patch, 0.5))
        return sightings

    def _end(self, time_s: float, height: int, width: int) -> None:
        """End tracks that were not seen for long, or that have left the picture."""
        for track in self.tracks:
            unseen_s = time_s - track.seen_s
            limit_s = self._max_gap_s if track.number is not None else self._tentative_gap_s
            x0, y0, x1, y1 = track.filter.box
            outside = x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height
            if unseen_s > limit_s or (outside and unseen_s > 0):
                track.ended = True
        self.tracks = [track for track in self.tracks if not track.ended]


def _cost_of_pixels(track: Track, patch: Patch, window: ColourIndex) -> NDArray[np.float64]:
    """How badly each pixel of `patch` suits the track: far from its expected shape, of other colours."""
    height, width = patch.cells.shape
    expected = track.shape.move(-np.array([patch.x0, patch.y0], np.float64)).draw(height, width)
    if expected.any():
        away = cv2.distanceTransform((~expected).astype(np.uint8), cv2.DIST_L2, 3)
        depth = cv2.distanceTransform(expected.astype(np.uint8), cv2.DIST_L2, 3)
        place = (away - depth) / (0.1 * np.sqrt(track.shape.area) + 1.0)
    else:
        place = np.full((height, width), 4.0)
    rarity = -np.log(track.histogram[window] + 0.01)
    cost = np.clip(place, -2.0, 4.0) + _COLOUR_WEIGHT * rarity
    return np.asarray(cv2.blur(cost, (5, 5)), np.float64)


def _overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(compare_boxes(first[None], second[None])[0, 0])


def _anchor(
    seen: NDArray[np.float64], expected: NDArray[np.float64], max_shrink: float
) -> NDArray[np.float64]:
    """Complete a box that shrank faster than things do, because a post or the picture's edge hides a part.

    Along each axis the side that lies where it was expected is believed, and the other one is set from the
    size, which may shrink to `max_shrink` of what was expected.
    """
    whole = seen.copy()
    for low, high in ((0, 2), (1, 3)):
        size = max_shrink * (expected[high] - expected[low])
        if seen[high] - seen[low] >= size:
            continue
        if abs(seen[low] - expected[low]) <= abs(seen[high] - expected[high]):
            whole[high] = seen[low] + size
        else:
            whole[low] = seen[high] - size
    return whole


def _grow(box: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    margin = share * (box[2:] - box[:2])
    return np.concatenate([box[:2] - margin, box[2:] + margin])


def _share_inside(box: NDArray[np.float64], frame: NDArray[np.float64]) -> float:
    sides = np.minimum(box[2:], frame[2:]) - np.maximum(box[:2], frame[:2])
    return float(np.prod(np.clip(sides, 0, None)) / np.prod(box[2:] - box[:2]))


def _gap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Distance between two boxes, 0 when they touch."""
    sides = np.maximum(first[:2], second[:2]) - np.minimum(first[2:], second[2:])
    return float(np.linalg.norm(np.clip(sides, 0, None)))
