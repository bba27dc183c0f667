"""What stands out from the scene in each picture: before a background known or learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from tubelet.model.frame import Image
from tubelet.model.masks import Mask
from tubelet.model.tracking.background import Background
from tubelet.model.tracking.camera import (
    Affine,
    chain,
    estimate_shake,
    identity,
    invert,
    is_still,
    to_grey,
    warp,
)
from tubelet.model.tracking.exposure import FloatImage, fit_exposure, reduce_max, reduce_sum
from tubelet.model.tracking.foreground import find_foreground, measure_slope, tolerate

_MAX_FOREGROUND_SHARE = 0.6
_REFRESH_S = 2.0
_REFRESH_RATE = 0.1
_MAX_DRIFT = 10.0
_STILL_MARGIN_PX = 9
_LEARNING_NOISE = 3.0
_LEARNING_SHAKE = 2.0
_LEARNING_S = 3.0
_FORGETTING_S = 20.0


@dataclass(frozen=True, slots=True)
class Sight:
    """One picture taken apart.

    `foreground` is empty where nothing reliable can be said, `step` takes points of the previous picture to
    this one, and `even` is the picture at the scene's own exposure, for comparing colours over time.
    """

    foreground: Mask
    step: Affine
    even: FloatImage


class Scene(Protocol):
    """Takes pictures of one size in time order."""

    def look(self, picture: Image, step_s: float) -> Sight:
        """Take in the next picture, `step_s` seconds after the one before."""


class StillScene:
    """A fixed camera with a known background, allowing for small shakes and slow changes of light."""

    def __init__(self, background: Background) -> None:
        self._image = background.image.copy()
        self._noise = background.noise
        self._slope = measure_slope(self._image)
        self._grey = to_grey(self._image)
        self._pose = identity()
        self._until_refresh_s = _REFRESH_S

    def look(self, picture: Image, step_s: float) -> Sight:
        exposure = fit_exposure(picture, self._image)
        even = exposure.remove(picture)
        pose = estimate_shake(self._grey, to_grey(even))
        step = chain(invert(self._pose), pose)
        self._pose = pose
        tolerance = tolerate(
            self._noise,
            self._slope * float(exposure.gain.mean()),
            exposure.doubt(reduce_sum(self._image) / np.float32(3)),
        )
        expected = exposure.apply(self._image)
        height, width = picture.shape[:2]
        if not is_still(pose, height, width):
            expected, tolerance = warp(expected, pose), warp(tolerance, pose)
        foreground = find_foreground(picture, expected, tolerance)
        if foreground.mean() > _MAX_FOREGROUND_SHARE:
            return Sight(np.zeros_like(foreground), step, even)
        self._refresh(even, foreground, pose, step_s)
        return Sight(foreground, step, even)

    def _refresh(self, even: FloatImage, foreground: Mask, pose: Affine, step_s: float) -> None:
        """Let the background follow slow changes, where it is in view."""
        self._until_refresh_s -= step_s
        if self._until_refresh_s > 0 or not is_still(pose, *even.shape[:2]):
            return
        self._until_refresh_s = _REFRESH_S
        covered = foreground | (reduce_max(np.abs(even - self._image)) > _MAX_DRIFT)
        near = cv2.dilate(covered.astype(np.uint8), np.ones((_STILL_MARGIN_PX, _STILL_MARGIN_PX)))
        rate = np.where(near, np.float32(0), np.float32(_REFRESH_RATE))[..., None]
        self._image += rate * (even - self._image)


class LearningScene:
    """A fixed camera of which no background is known: it is learned while watching.

    What stands still from the start belongs to the scene; when it leaves, its place stands out until it is
    learned anew.
    """

    def __init__(self) -> None:
        self._image: FloatImage | None = None
        self._age = 0.0

    def look(self, picture: Image, step_s: float) -> Sight:
        if self._image is None:
            self._image = picture.astype(np.float32)
        exposure = fit_exposure(picture, self._image)
        slope = _LEARNING_SHAKE * measure_slope(self._image)
        noise = np.full(slope.shape, _LEARNING_NOISE, np.float32)
        tolerance = tolerate(noise, slope, exposure.doubt(reduce_sum(self._image) / np.float32(3)))
        foreground = find_foreground(picture, exposure.apply(self._image), tolerance)
        even = exposure.remove(picture)
        self._age += step_s
        fast = np.float32(1.0 - np.exp(-step_s / min(max(self._age, step_s, 1e-3), _LEARNING_S)))
        slow = np.float32(1.0 - np.exp(-step_s / _FORGETTING_S))
        self._image = self._image + np.where(foreground, slow, fast)[..., None] * (even - self._image)
        if foreground.mean() > _MAX_FOREGROUND_SHARE:
            self._image, self._age = picture.astype(np.float32), 0.0
            foreground = np.zeros_like(foreground)
        return Sight(foreground, identity(), even)
