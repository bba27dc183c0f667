"""Rendered truth as a tracker would give it: masks a little wrong, boxes from them, tiny specks left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import cv2
import numpy as np

from tubelet.model.frame import Frame
from tubelet.model.masks import Mask, encode_mask
from tubelet.model.tracking.base import TrackedFrame, TrackedObject
from tubelet.model.training.world.spec import RenderedClip
from tubelet.records import Box, CameraStep, Observation

Flaw = Literal["none", "shrunk", "grown", "shifted", "box", "coarse"]

FLAWS: tuple[Flaw, ...] = ("none", "shrunk", "grown", "shifted", "box", "coarse")
FLAW_SHARES = (0.4, 0.1, 0.15, 0.1, 0.15, 0.1)
"""How often an object's masks have each flaw; it keeps it through a clip, as with a real tracker."""

MIN_AREA_SHARE = 0.0006
MIN_VISIBLE = 0.2
"""Objects that show less are not tracked: 35 pixels of a 320 x 180 frame, a fifth of the whole."""

COARSE_CELLS = 4
STILL_CAMERA = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def spoil_mask(mask: Mask, flaw: Flaw, generator: np.random.Generator) -> Mask:
    """The mask with a flaw, or itself where nothing of it would be left."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if flaw == "none" or len(rows) == 0:
        return mask
    spoilt = np.zeros_like(mask)
    reach = max(1, round(0.06 * np.sqrt(mask.sum())))
    if flaw == "box":
        spoilt[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    elif flaw == "shifted":
        down, across = (int(step) for step in generator.integers(-reach, reach + 1, 2))
        spoilt = np.roll(mask, (down, across), axis=(0, 1))
    elif flaw == "coarse":
        height, width = (max(1, side // COARSE_CELLS) for side in mask.shape)
        small = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        spoilt = cv2.resize(small, mask.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.4
    else:
        change = cv2.erode if flaw == "shrunk" else cv2.dilate
        spoilt = change(mask.astype(np.uint8), np.ones((reach + 1, reach + 1), np.uint8)).astype(bool)
    return spoilt if spoilt.any() else mask


def track_truth(clip: RenderedClip, generator: np.random.Generator) -> Iterator[TrackedFrame]:
    """The clip's frames with the objects that are seen in them, as a tracker gives them."""
    flaws = {truth.number: FLAWS[int(generator.choice(len(FLAWS), p=FLAW_SHARES))] for truth in clip.objects}
    height, width = clip.labels_THW.shape[1:]
    for index, time_s in enumerate(clip.times_s):
        labels = clip.labels_THW[index]
        areas = np.bincount(labels.ravel(), minlength=256)
        objects = []
        for place, truth in enumerate(clip.objects):
            is_small = areas[truth.number] < MIN_AREA_SHARE * labels.size
            if is_small or clip.visible_TO[index, place] < MIN_VISIBLE:
                continue
            mask = spoil_mask(labels == truth.number, flaws[truth.number], generator)
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            box = Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
            observation = Observation(time_s, box, 1.0, encode_mask(mask))
            objects.append(TrackedObject(truth.number, observation))
        frame = Frame(time_s, clip.frames_THWC[index], width, height)
        yield TrackedFrame(frame, tuple(objects), CameraStep(time_s, STILL_CAMERA))
