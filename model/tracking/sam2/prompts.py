"""What tells SAM 2 which object is meant: points, a box, or a mask, in pixels of the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tubelet.errors import InputError
from tubelet.model.masks import Mask
from tubelet.records import Box

LABEL_BACKGROUND, LABEL_OBJECT, LABEL_CORNER_FIRST, LABEL_CORNER_SECOND, LABEL_NONE = 0, 1, 2, 3, -1


@dataclass(frozen=True, slots=True)
class PointPrompt:
    """Points (x, y) on the object and, to tell it from what is around it, points beside it."""

    on: Sequence[tuple[float, float]]
    beside: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, slots=True)
class BoxPrompt:
    """A box around the object. What lies outside the frame is cut off."""

    box: Box


@dataclass(frozen=True, slots=True)
class MaskPrompt:
    """The object's pixels, boolean (height, width) over the frame. The mask is taken as it is."""

    mask: Mask


Prompt = PointPrompt | BoxPrompt | MaskPrompt


@dataclass(frozen=True, slots=True)
class LabelledPoint:
    """A point as the prompt encoder takes it, in pixels of the frame."""

    x: float
    y: float
    label: int


def check_prompt(prompt: Prompt, height: int, width: int) -> None:
    """Raise InputError where the prompt does not fit a frame of this size or points at nothing."""
    if isinstance(prompt, MaskPrompt):
        _check_mask(prompt.mask, height, width)
    else:
        list_points(prompt, height, width)


def list_points(prompt: PointPrompt | BoxPrompt, height: int, width: int) -> list[LabelledPoint]:
    """The prompt as labelled points; a box is two of them. Raises InputError when outside the frame."""
    if isinstance(prompt, BoxPrompt):
        box = _clip_box(prompt.box, height, width)
        return [
            LabelledPoint(box.x0, box.y0, LABEL_CORNER_FIRST),
            LabelledPoint(box.x1, box.y1, LABEL_CORNER_SECOND),
        ]
    if not prompt.on:
        raise InputError("A point prompt has no point on the object", expected="one or more points in `on`")
    points = [LabelledPoint(x, y, LABEL_OBJECT) for x, y in prompt.on]
    points += [LabelledPoint(x, y, LABEL_BACKGROUND) for x, y in prompt.beside]
    for point in points:
        # Written so that NaN is refused too.
        if not (0 <= point.x < width and 0 <= point.y < height):
            raise InputError(
                f"The prompt point ({point.x:g}, {point.y:g}) lies outside the frame",
                expected=f"0 <= x < {width} and 0 <= y < {height}",
                do="give points in pixels of the frame",
            )
    return points


def _clip_box(box: Box, height: int, width: int) -> Box:
    if not all(math.isfinite(side) for side in box) or box.x0 >= box.x1 or box.y0 >= box.y1:
        raise InputError(f"The prompt box {tuple(box)} is empty", expected="x0 < x1 and y0 < y1, in pixels")
    inside = Box(max(box.x0, 0.0), max(box.y0, 0.0), min(box.x1, float(width)), min(box.y1, float(height)))
    if inside.x0 >= inside.x1 or inside.y0 >= inside.y1:
        raise InputError(
            f"The prompt box {tuple(box)} lies outside the frame",
            expected=f"a box that meets 0..{width} x 0..{height}",
            do="give boxes in pixels of the frame",
        )
    return inside


def _check_mask(mask: Mask, height: int, width: int) -> None:
    if mask.shape != (height, width):
        raise InputError(
            f"The prompt mask has shape {mask.shape}",
            expected=f"({height}, {width}), the size of the frame",
            do="resize the mask to the frame",
        )
    if not mask.any():
        raise InputError("The prompt mask is empty", expected="a mask with at least one pixel set")
