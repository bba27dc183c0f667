"""What stands out from the scene in each picture: before a still background, or a moving one."""

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
    estimate_step,
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
        pose = estimate_step(self._grey, to_grey(even))
        step = chain(invert(self._pose), pose)
        self._pose = pose
        tolerance = tolerate(
            self._noise,
            self._slope * float(exposure.gain.mean()),
            exposure.doubt(reduce_sum(self._image) / 3),
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
        covered = foreground | (reduce_max(cv2.absdiff(even, self._image)) > _MAX_DRIFT)
        near = cv2.dilate(covered.astype(np.uint8), np.ones((_STILL_MARGIN_PX, _STILL_MARGIN_PX)))
        rate = np.where(near, np.float32(0), np.float32(_REFRESH_RATE))[..., None]
        self._image += rate * (even - self._image)


class MovingScene:
    """No background is known: it is learned while watching, and carried along with the camera.

    What stands still from the start belongs to the scene until it moves.
    """

    _MIN_AGE = 3.0
    _MAX_AGE = 12.0
    _FOREGROUND_RATE = 0.3
    _NOISE = 3.0
    _SHAKE_FACTOR = 2.5
    _MAX_SHARE = 0.35

    def __init__(self) -> None:
        self._image: FloatImage | None = None
        self._age = np.zeros((1, 1), np.float32)
        self._grey = np.zeros((1, 1), np.uint8)
        self._foreground = np.zeros((1, 1), bool)

    def look(self, picture: Image, step_s: float) -> Sight:
        grey = to_grey(picture)
        height, width = grey.shape
        if self._image is None:
            self._image = picture.astype(np.float32)
            self._age = np.ones((height, width), np.float32)
            self._foreground = np.zeros((height, width), bool)
            self._grey = grey
            return Sight(self._foreground, identity(), self._image)
        step = estimate_step(self._grey, grey, ~self._foreground)
        if not is_still(step, height, width):
            self._image = warp(self._image, step)
            self._age = cv2.warpAffine(self._age, step, (width, height), flags=cv2.INTER_LINEAR)
        exposure = fit_exposure(picture, self._image)
        expected = exposure.apply(self._image)
        slope = self._SHAKE_FACTOR * measure_slope(self._image)
        noise = np.full(slope.shape, self._NOISE, np.float32)
        tolerance = tolerate(noise, slope, exposure.doubt(reduce_sum(self._image) / 3))
        tolerance[self._age < self._MIN_AGE] = np.inf
        foreground = find_foreground(picture, expected, tolerance)
        even = exposure.remove(picture)
        self._learn(even, foreground)
        self._grey = grey
        if foreground.mean() > self._MAX_SHARE:
            foreground = np.zeros_like(foreground)
        self._foreground = foreground
        return Sight(foreground, step, even)

    def _learn(self, even: FloatImage, foreground: Mask) -> None:
        assert self._image is not None
        self._age = np.minimum(self._age + 1.0, self._MAX_AGE).astype(np.float32)
        rate = np.where(foreground, self._FOREGROUND_RATE, 1.0).astype(np.float32) / self._age
        self._image = self._image + rate[..., None] * (even - self._image)
