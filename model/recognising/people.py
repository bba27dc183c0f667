"""How much a crop looks like an upright person, which ImageNet has no class for.

OpenCV's people detector is a linear classifier over histograms of oriented gradients (Dalal and Triggs 2005).
It was made to search pictures; here the object's box is known, so only windows about it are judged, which is
quick and finds far fewer people where there are none.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.recognising.base import Crop
from tubelet.model.recognising.picturing import cut_window

MIN_ASPECT = 1.1
"""Height over width from which a box may be an upright person's."""

_WINDOW = (64, 128)
_PERSON_SHARE = 100 / 128
"""Share of the window's height that a person fills in the pictures that the detector was trained on."""

_SCALES = (0.9, 1.0, 1.12)
_STEP_PX = 8
_STEPS = 2
"""At each scale the window is moved by up to one cell of the histograms to either side, up and down."""


def score_person(crop: Crop) -> float | None:
    """The detector's largest response to windows about the box; None where the box is not upright.

    Above 0 is what the detector itself takes for a person. On the clips that docs/recognising.md names people
    scored about +1 in the mean and other upright things about -2.
    """
    box = crop.box
    if box.height < MIN_ASPECT * box.width:
        return None
    detector, weights, offset = _load_detector()
    around = (_WINDOW[0] + _STEPS * _STEP_PX, _WINDOW[1] + _STEPS * _STEP_PX)
    best = -np.inf
    for scale in _SCALES:
        source_px = scale * box.height / (_PERSON_SHARE * _WINDOW[1])  # source pixels a window pixel
        picture = cut_window(crop.image, box.centre, (around[0] * source_px, around[1] * source_px), around)
        windows = np.asarray(detector.compute(picture, (_STEP_PX, _STEP_PX))).reshape(-1, len(weights))
        best = max(best, float((windows * weights).sum(axis=1).max()) + offset)
    return float(best)


@cache
def _load_detector() -> tuple[Any, NDArray[np.float32], float]:
    """The descriptor and the classifier's weights and offset."""
    coefficients = np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32).ravel()
    return cv2.HOGDescriptor(), coefficients[:-1], float(coefficients[-1])
