"""Connected pieces of foreground, and how they look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.masks import Mask
from tubelet.model.tracking.exposure import FloatImage

ColourIndex = NDArray[np.int32]
Histogram = NDArray[np.float64]

_NUM_LIGHT_BINS = 6
_NUM_COLOUR_BINS = 9
_COLOUR_BIN_WIDTH = 12
NUM_BINS = _NUM_LIGHT_BINS * _NUM_COLOUR_BINS * _NUM_COLOUR_BINS


@dataclass(frozen=True, slots=True)
class Patch:
    """A mask cut to a window of the picture: `cells` begin at column `x0` and row `y0`."""

    x0: int
    y0: int
    cells: Mask

    @property
    def box(self) -> NDArray[np.float64]:
        """The window (x0, y0, x1, y1), x1 and y1 exclusive."""
        height, width = self.cells.shape
        return np.array([self.x0, self.y0, self.x0 + width, self.y0 + height], np.float64)

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.cells))

    @property
    def centroid(self) -> NDArray[np.float64]:
        """Mean (x, y) of the mask's pixels."""
        rows, columns = np.nonzero(self.cells)
        return np.array([self.x0 + columns.mean() + 0.5, self.y0 + rows.mean() + 0.5])

    def move(self, shift: NDArray[np.float64]) -> Patch:
        """The same mask elsewhere, rounded to whole pixels; it may leave the picture."""
        return Patch(self.x0 + round(float(shift[0])), self.y0 + round(float(shift[1])), self.cells)

    def draw(self, height: int, width: int) -> Mask:
        """The mask on a whole picture of that size."""
        whole = np.zeros((height, width), bool)
        inside = _clip(self, height, width)
        whole[inside] = self.cells[
            inside[0].start - self.y0 : inside[0].stop - self.y0,
            inside[1].start - self.x0 : inside[1].stop - self.x0,
        ]
        return whole

    def overlap(self, other: Patch) -> int:
        """Number of pixels that both masks hold."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        x1 = min(self.x0 + self.cells.shape[1], other.x0 + other.cells.shape[1])
        y1 = min(self.y0 + self.cells.shape[0], other.y0 + other.cells.shape[0])
        if x0 >= x1 or y0 >= y1:
            return 0
        mine = self.cells[y0 - self.y0 : y1 - self.y0, x0 - self.x0 : x1 - self.x0]
        theirs = other.cells[y0 - other.y0 : y1 - other.y0, x0 - other.x0 : x1 - other.x0]
        return int(np.count_nonzero(mine & theirs))


def _clip(patch: Patch, height: int, width: int) -> tuple[slice, slice]:
    rows, columns = patch.cells.shape
    y0, x0 = min(max(patch.y0, 0), height), min(max(patch.x0, 0), width)
    y1 = max(y0, min(patch.y0 + rows, height))
    x1 = max(x0, min(patch.x0 + columns, width))
    return slice(y0, y1), slice(x0, x1)


@dataclass(frozen=True, slots=True)
class Blob:
    """One piece of foreground with the colours under it."""

    patch: Patch
    histogram: Histogram
    area: int


def index_colours(picture: FloatImage) -> ColourIndex:
    """The colour bin of each pixel, (height, width), by lightness and two axes of hue (CIE L*a*b*)."""
    lab = cv2.cvtColor(picture * np.float32(1 / 255), cv2.COLOR_RGB2LAB)
    light = np.clip(lab[..., 0] * (_NUM_LIGHT_BINS / 100), 0, _NUM_LIGHT_BINS - 1).astype(np.int32)
    middle = _NUM_COLOUR_BINS / 2
    hues = np.clip(lab[..., 1:] / _COLOUR_BIN_WIDTH + middle, 0, _NUM_COLOUR_BINS - 1).astype(np.int32)
    index: ColourIndex = (light * _NUM_COLOUR_BINS + hues[..., 0]) * _NUM_COLOUR_BINS + hues[..., 1]
    return index


def count_colours(colours: ColourIndex, patch: Patch) -> Histogram:
    """The share of each colour bin under a patch that lies inside the picture."""
    height, width = patch.cells.shape
    window = colours[patch.y0 : patch.y0 + height, patch.x0 : patch.x0 + width]
    counts = np.bincount(window[patch.cells], minlength=NUM_BINS)
    return np.asarray(counts / max(1, counts.sum()), np.float64)


def compare_colours(first: Histogram, second: Histogram) -> float:
    """Bhattacharyya coefficient of two histograms: 1 when equal, 0 when no colour is shared."""
    return float(np.sqrt(first * second).sum())


def find_blobs(mask: Mask, colours: ColourIndex, min_area: float, max_num: int) -> list[Blob]:
    """The connected pieces of at least `min_area` pixels, the largest first, `max_num` at most."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    order = np.argsort(-areas, kind="stable")[:max_num] + 1
    blobs = []
    for label in order:
        x0, y0, width, height, area = (int(value) for value in stats[label])
        if area < min_area:
            break
        cells = labels[y0 : y0 + height, x0 : x0 + width] == label
        blobs.append(make_blob(Patch(x0, y0, cells), colours))
    return blobs


def make_blob(patch: Patch, colours: ColourIndex) -> Blob:
    """Measure what lies under a patch."""
    return Blob(patch, count_colours(colours, patch), patch.area)


def cut_patch(mask: Mask, x0: int = 0, y0: int = 0) -> Patch | None:
    """A mask, whose window begins at (x0, y0), cut to its pixels; None when it has none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    top, left = int(rows[0]), int(columns[0])
    return Patch(x0 + left, y0 + top, mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1])


def join_blobs(blobs: Iterable[Blob]) -> Blob:
    """Several pieces as one."""
    pieces = list(blobs)
    if len(pieces) == 1:
        return pieces[0]
    boxes = np.stack([piece.patch.box for piece in pieces]).astype(int)
    x0, y0 = boxes[:, 0].min(), boxes[:, 1].min()
    cells = np.zeros((boxes[:, 3].max() - y0, boxes[:, 2].max() - x0), bool)
    for piece in pieces:
        rows, columns = piece.patch.cells.shape
        top, left = piece.patch.y0 - y0, piece.patch.x0 - x0
        cells[top : top + rows, left : left + columns] |= piece.patch.cells
    area = sum(piece.area for piece in pieces)
    histogram = sum((piece.histogram * piece.area for piece in pieces), np.zeros(NUM_BINS)) / area
    return Blob(Patch(int(x0), int(y0), cells), histogram, area)
