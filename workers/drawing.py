"""Drawing objects onto a frame: mask, box, the way they went, and their names."""

from __future__ import annotations

import colorsys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tubelet.model.frame import Frame, Image
from tubelet.model.masks import Mask, decode_mask, resize_mask
from tubelet.records import Box, PathPoint, Rle

BACKGROUND = 24
MAX_GAP_S = 1.0
"""Between two path points further apart than this the object was not seen, and nothing is drawn."""

MASK_OPACITY = 0.15
"""Low, so that the object keeps its own colours."""

FIRST_RGB = (255, 64, 32)
_GOLDEN_RATIO = 0.618
_SAME_TIME_S = 2e-3
"""Paths are kept to a millisecond."""

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class DrawnObject:
    """What is drawn of one object; `masks` are (seconds, mask over the whole frame) in time order."""

    label: str
    path: Sequence[PathPoint]
    masks: Sequence[tuple[float, Rle]] = ()
    rgb: Rgb = FIRST_RGB


def choose_colour(place: int) -> Rgb:
    """A colour for the object at a place in a list, unlike those of its neighbours in the list."""
    if place == 0:
        return FIRST_RGB
    red, green, blue = colorsys.hsv_to_rgb((0.02 + place * _GOLDEN_RATIO) % 1, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def annotate(
    frame: Frame,
    objects: Iterable[DrawnObject],
    *,
    trail_s: float = float("inf"),
    opacity: float = MASK_OPACITY,
) -> Image:
    """A copy of the frame's picture with the objects of its time, and the last `trail_s` of their paths.

    Masks are outlined, and filled with the object's colour at this opacity.
    """
    picture = frame.image.copy()
    for item in objects:
        if not item.path[0].t - _SAME_TIME_S < frame.time_s < item.path[-1].t + _SAME_TIME_S:
            continue
        _draw_path(picture, frame, item, trail_s)
        box = interpolate_box(item.path, frame.time_s)
        if box is not None:
            mask = find_mask(item, frame, box)
            if mask is not None:
                _draw_mask(picture, mask, item.rgb, opacity)
            _draw_box(picture, frame, box, item, thickness=2 if mask is None else 1)
    return picture


def interpolate_box(path: Sequence[PathPoint], time_s: float) -> Box | None:
    """The box at a time between two path points, linearly; None outside the path and in long gaps."""
    place = bisect_right(path, time_s, key=lambda point: point.t)
    if place == 0:
        return Box(*path[0][1:]) if path and path[0].t - time_s < _SAME_TIME_S else None
    before = path[place - 1]
    if time_s - before.t < _SAME_TIME_S:
        return Box(*before[1:])
    if place == len(path) or path[place].t - before.t > MAX_GAP_S:
        return None
    after = path[place]
    share = (time_s - before.t) / (after.t - before.t)
    return Box(*(a + share * (b - a) for a, b in zip(before[1:], after[1:], strict=True)))


def find_mask(item: DrawnObject, frame: Frame, box: Box) -> Mask | None:
    """The object's mask over the frame's picture, or None where none is near in time.

    Between two times with masks the nearer one is moved and scaled as the box is.
    """
    nearest = _find_nearest(item.masks, frame.time_s)
    if nearest is None:
        return None
    mask_s, rle = nearest
    own_box = interpolate_box(item.path, mask_s)
    if own_box is None:
        return None
    height, width = frame.image.shape[:2]
    mask = decode_mask(resize_mask(rle, height, width))
    if abs(mask_s - frame.time_s) < _SAME_TIME_S or own_box.area <= 0:
        return mask
    scale = np.array([frame.scale_x, frame.scale_y])
    zoom = np.array([box.width / own_box.width, box.height / own_box.height])
    shift = (np.array(box[:2]) - zoom * np.array(own_box[:2])) / scale
    # Pixel centres lie half a pixel inside.
    matrix = np.array([[zoom[0], 0, shift[0]], [0, zoom[1], shift[1]]])
    matrix[:, 2] += 0.5 * (zoom - 1)
    moved = cv2.warpAffine(mask.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST)
    return moved.astype(bool)


def write_text(picture: Image, text: str, corner: tuple[int, int], *, scale: float = 0.5) -> None:
    """Write on a dark strip whose lower left corner is given; it is moved to stay inside the picture."""
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    left = max(0, min(corner[0], picture.shape[1] - width - 8))
    bottom = max(height + below + 6, min(corner[1], picture.shape[0]))
    top = bottom - height - below - 6
    cv2.rectangle(picture, (left, top), (left + width + 8, bottom), (BACKGROUND,) * 3, cv2.FILLED)
    at = (left + 4, bottom - below - 3)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)


def shrink_to(picture: Image, width_px: int) -> Image:
    """The picture at another width, in its own shape."""
    height = max(1, round(picture.shape[0] * width_px / picture.shape[1]))
    return cv2.resize(picture, (width_px, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _find_nearest(masks: Sequence[tuple[float, Rle]], time_s: float) -> tuple[float, Rle] | None:
    place = bisect_left(masks, time_s, key=lambda item: item[0])
    near = masks[max(0, place - 1) : place + 1]
    best = min(near, key=lambda item: abs(item[0] - time_s), default=None)
    return best if best is not None and abs(best[0] - time_s) <= MAX_GAP_S else None


def _draw_mask(picture: Image, mask: Mask, rgb: Rgb, opacity: float) -> None:
    picture[mask] = (picture[mask] * (1 - opacity) + np.array(rgb) * opacity).astype(np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, rgb, 1, cv2.LINE_AA)


def _draw_path(picture: Image, frame: Frame, item: DrawnObject, trail_s: float) -> None:
    """The centres so far, with a gap where the object was not seen."""
    scale = np.array([frame.scale_x, frame.scale_y])
    stretch: list[tuple[float, float]] = []
    last_s = -np.inf
    stretches = [stretch]
    for point in item.path:
        if not frame.time_s - trail_s <= point.t <= frame.time_s + _SAME_TIME_S:
            continue
        if point.t - last_s > MAX_GAP_S:
            stretches.append([])
        stretches[-1].append(Box(*point[1:]).centre)
        last_s = point.t
    for stretch in stretches:
        if len(stretch) > 1:
            points = (np.array(stretch) / scale).round().astype(np.int32)
            cv2.polylines(picture, [points.reshape(-1, 1, 2)], False, (0, 0, 0), 3, cv2.LINE_AA)
            cv2.polylines(picture, [points.reshape(-1, 1, 2)], False, item.rgb, 1, cv2.LINE_AA)


def _draw_box(picture: Image, frame: Frame, box: Box, item: DrawnObject, *, thickness: int) -> None:
    scale = np.array([frame.scale_x, frame.scale_y])
    x0, y0 = (np.array(box[:2]) / scale).round().astype(int).tolist()
    x1, y1 = (np.array(box[2:]) / scale).round().astype(int).tolist()
    cv2.rectangle(picture, (x0, y0), (x1, y1), item.rgb, thickness, cv2.LINE_AA)
    if item.label:
        write_text(picture, item.label, (x0, y0 - 2), scale=0.4)
