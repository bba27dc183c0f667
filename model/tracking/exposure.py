"""How a picture's exposure differs from a reference picture of the same scene.

Cameras change gain and white balance when something bright or dark enters. Every comparison with a
background is made after the background was brought to the exposure of the picture at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.frame import Image

FloatImage = NDArray[np.float32]

_NUM_SAMPLES_A_SIDE = 48
_NUM_FIT_ROUNDS = 4
_MIN_GAIN, _MAX_GAIN = 0.05, 20.0


@dataclass(frozen=True, slots=True)
class Exposure:
    """picture = gain * reference + offset, a channel each; `level` is the reference's typical value there.

    `level` says where the fit was anchored: the further a pixel's brightness lies from it, the less the
    fit is to be trusted there, since a camera's tone curve is only a line near its anchor.
    """

    gain: NDArray[np.float32]
    offset: NDArray[np.float32]
    level: NDArray[np.float32]

    def apply(self, reference: FloatImage) -> FloatImage:
        """The reference as this exposure would show it, clipped to 0..255."""
        return _change_levels(reference, self.gain, self.offset)

    def remove(self, picture: Image | FloatImage) -> FloatImage:
        """The picture as the reference's exposure would show it, clipped to 0..255."""
        return _change_levels(
            np.asarray(picture, np.float32), np.float32(1) / self.gain, -self.offset / self.gain
        )

    def doubt(self, brightness: FloatImage) -> FloatImage:
        """By how much, in grey levels, `apply` may be wrong where the reference has that brightness."""
        change = float(np.max(np.abs(1.0 - self.gain) * self.gain))
        if change < 0.01:
            return np.zeros_like(brightness)
        return np.asarray(np.abs(brightness - float(self.level.mean())) * np.float32(change), np.float32)


def reduce_max(picture: FloatImage) -> FloatImage:
    """The largest of the three channels, (height, width); much faster than NumPy's own."""
    first, second, third = cv2.split(picture)
    return np.asarray(cv2.max(cv2.max(first, second), third), np.float32)


def reduce_sum(picture: FloatImage) -> FloatImage:
    """The sum of the three channels, (height, width)."""
    return np.asarray(cv2.transform(picture, np.ones((1, 3), np.float32)), np.float32)


def _change_levels(picture: FloatImage, gain: NDArray[np.float32], offset: NDArray[np.float32]) -> FloatImage:
    changed = np.asarray(cv2.transform(picture, np.column_stack([np.diag(gain), offset])), np.float32)
    np.clip(changed, 0.0, 255.0, out=changed)
    return changed


def shrink(picture: Image | FloatImage) -> FloatImage:
    """Average a picture down to a few thousand samples, which also forgives small shakes."""
    height, width = picture.shape[:2]
    size = min(width, _NUM_SAMPLES_A_SIDE), min(height, _NUM_SAMPLES_A_SIDE)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)


def fit_exposure(picture: Image | FloatImage, reference: FloatImage) -> Exposure:
    """Fit gain and offset a channel so that most of `picture` looks like `reference`.

    Iteratively reweighted least squares with Tukey's weights from a median start: objects that cover less
    than about half of the picture do not pull the fit. The offset is damped, since on a scene of one
    brightness gain and offset cannot be told apart.
    """
    seen = shrink(picture).reshape(-1, 3).astype(np.float64)
    known = shrink(reference).reshape(-1, 3).astype(np.float64)
    gain = np.median((seen + 1.0) / (known + 1.0), axis=0)
    offset = np.zeros(3)
    weight = np.ones_like(seen)
    for _ in range(_NUM_FIT_ROUNDS):
        error = np.abs(seen - gain * known - offset)
        spread = np.maximum(1.5, 1.4826 * np.median(error, axis=0))
        weight = np.square(np.clip(1.0 - np.square(error / (4.0 * spread)), 0.0, 1.0))
        total = weight.sum(axis=0) + 1e-9
        sum_x, sum_xx = (weight * known).sum(axis=0), (weight * known * known).sum(axis=0) + 1.0
        sum_y, sum_xy = (weight * seen).sum(axis=0), (weight * known * seen).sum(axis=0) + gain
        damped = total + 0.02 * len(seen)
        offset = (sum_y * sum_xx - sum_xy * sum_x) / (damped * sum_xx - sum_x * sum_x)
        gain = np.clip((sum_xy - offset * sum_x) / sum_xx, _MIN_GAIN, _MAX_GAIN)
    level = (weight * known).sum(axis=0) / (weight.sum(axis=0) + 1e-9)
    return Exposure(gain.astype(np.float32), offset.astype(np.float32), level.astype(np.float32))
