"""The empty scene behind a fixed camera, from a few pictures spread over minutes.

A median or mode over time fails where people stand most of the time. Two facts about a background still
hold there: an uncovered patch looks the same each time to within the noise, which clothes never do, and it
comes back after each departure. So patches are compared across time, and each one's look is scored by the
episodes in which it was seen, long ones counting with the square root of their length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.frame import Image
from tubelet.model.tracking.exposure import FloatImage, fit_exposure, shrink

_STRIDE_PX = 8
_PATCH_PX = 2 * _STRIDE_PX
_MIN_NOISE = 1.5
_MAX_NOISE = 12.0
_MIN_TOLERANCE = 4.0
_MAX_PATCH_NOISE = 40.0
_NUM_EXPOSURE_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Background:
    """The scene without its objects.

    `image` is (height, width, 3) in grey levels, `noise` (height, width) the standard deviation of a
    background pixel, `steadiness` the share of the pictures in which a typical textured patch was seen as
    it is in `image`: near 1 for a fixed camera, near 0 for a moving one.
    """

    image: FloatImage
    noise: FloatImage
    steadiness: float


def estimate_background(pictures: Sequence[Image]) -> Background:
    """Find the background of pictures of one size, in time order; at least two are needed."""
    assert len(pictures) >= 2, "a background needs at least two pictures"
    height, width = pictures[0].shape[:2]
    aligned = _align_exposures(pictures)
    padded = np.stack([_pad(picture) for picture in aligned])
    small = padded.reshape(len(padded), padded.shape[1] // 2, 2, padded.shape[2] // 2, 2, 3).mean((2, 4))
    distance = _compare_patches(small.astype(np.float32))
    texture = _measure_texture(small.astype(np.float32))
    matches = distance <= _tolerate(distance, texture)[..., None, None]
    scores = _score_episodes(matches)
    scores = np.asarray(cv2.blur(scores, (5, 5), borderType=cv2.BORDER_REPLICATE), np.float32)
    best = np.argmax(scores.reshape(matches.shape[:3]), axis=2)
    members = np.take_along_axis(matches, best[..., None, None], axis=2)[:, :, 0, :]
    image, noise = _blend_patches(padded, members)
    share = members.mean(axis=2)
    textured = texture >= np.median(texture)
    return Background(
        image=np.ascontiguousarray(image[:height, :width]),
        noise=np.ascontiguousarray(noise[:height, :width]),
        steadiness=float(np.median(share[textured])),
    )


def _align_exposures(pictures: Sequence[Image]) -> list[FloatImage]:
    """Bring all pictures to one exposure: that of the picture with the median brightness."""
    brightness = [float(picture[::8, ::8].mean()) for picture in pictures]
    middle = int(np.argsort(brightness, kind="stable")[len(pictures) // 2])
    coarse = [shrink(picture) for picture in pictures]
    reference = coarse[middle]
    for _ in range(_NUM_EXPOSURE_ROUNDS):
        exposures = [fit_exposure(picture, reference) for picture in coarse]
        aligned = [exposure.remove(picture) for exposure, picture in zip(exposures, coarse, strict=True)]
        reference = np.median(np.stack(aligned), axis=0).astype(np.float32)
    return [exposure.remove(picture) for exposure, picture in zip(exposures, pictures, strict=True)]


def _pad(picture: FloatImage) -> FloatImage:
    """Extend a picture to whole strides, and to one patch at least, by repeating its edge."""
    height, width = picture.shape[:2]
    more_y = max(_PATCH_PX, -(-height // _STRIDE_PX) * _STRIDE_PX) - height
    more_x = max(_PATCH_PX, -(-width // _STRIDE_PX) * _STRIDE_PX) - width
    padded: FloatImage = np.pad(picture, ((0, more_y), (0, more_x), (0, 0)), mode="edge")
    return padded


def _cut_patches(pictures: FloatImage, row: int, stride: int) -> FloatImage:
    """One row of half-overlapping patches: (num_patches, num_pictures, patch pixels * 3)."""
    band = pictures[:, row * stride : (row + 2) * stride]
    views = np.lib.stride_tricks.sliding_window_view(band, 2 * stride, axis=2)[:, :, ::stride]
    patches = views.transpose(2, 0, 1, 4, 3).reshape(views.shape[2], len(pictures), -1)
    return np.ascontiguousarray(patches)


def _compare_patches(pictures: FloatImage) -> FloatImage:
    """Mean squared difference of each patch between all pairs: (rows, columns, pictures, pictures)."""
    stride = _STRIDE_PX // 2
    rows = []
    for row in range(pictures.shape[1] // stride - 1):
        patches = _cut_patches(pictures, row, stride)
        patches = patches - patches.mean(axis=1, keepdims=True)
        products = patches @ patches.transpose(0, 2, 1)
        squares = np.diagonal(products, axis1=1, axis2=2)
        rows.append((squares[:, :, None] + squares[:, None, :] - 2 * products) / patches.shape[2])
    distances: FloatImage = np.maximum(np.stack(rows), 0.0).astype(np.float32)
    return distances


def _measure_texture(pictures: FloatImage) -> FloatImage:
    """Mean squared gradient of each patch, median over the pictures: (rows, columns)."""
    stride = _STRIDE_PX // 2
    energies = []
    for picture in pictures:
        grey = picture.mean(axis=2)
        energy = np.square(np.gradient(grey, axis=0)) + np.square(np.gradient(grey, axis=1))
        cells = energy.reshape(grey.shape[0] // stride, stride, grey.shape[1] // stride, stride).mean((1, 3))
        energies.append((cells[1:, 1:] + cells[:-1, 1:] + cells[1:, :-1] + cells[:-1, :-1]) / 4)
    middle: FloatImage = np.median(np.stack(energies), axis=0).astype(np.float32)
    return middle


def _tolerate(distance: FloatImage, texture: FloatImage) -> FloatImage:
    """The squared difference up to which a patch counts as unchanged: (rows, columns).

    Each patch's nearest look-alike in time shows the noise of the scene; texture adds what a shake of a
    tenth of a pixel does.
    """
    num_pictures = distance.shape[2]
    others = distance + np.where(np.eye(num_pictures, dtype=bool), np.float32(np.inf), np.float32(0))
    noise = min(float(np.median(others.min(axis=3))), _MAX_PATCH_NOISE)
    tolerance: FloatImage = 4.0 * noise + _MIN_TOLERANCE + 0.04 * texture
    return tolerance


def _score_episodes(matches: NDArray[np.bool_]) -> FloatImage:
    """Sum of the square roots of the episode lengths of each look: (rows, columns, pictures)."""
    run = np.zeros(matches.shape[:3], np.float32)
    score = np.zeros(matches.shape[:3], np.float32)
    for index in range(matches.shape[3]):
        seen = matches[..., index]
        run = (run + 1) * seen
        score += np.where(seen, np.sqrt(run) - np.sqrt(np.maximum(run - 1, 0)), 0)
    return score


def _blend_patches(pictures: FloatImage, members: NDArray[np.bool_]) -> tuple[FloatImage, FloatImage]:
    """Average each patch over the pictures that show it, and lay the patches over one another."""
    height, width = pictures.shape[1:3]
    ramp = 1.0 - np.abs(np.linspace(-1, 1, _PATCH_PX + 2)[1:-1])
    window = np.outer(ramp, ramp).astype(np.float32)
    total = np.zeros((height, width, 3), np.float32)
    total_variance = np.zeros((height, width), np.float32)
    total_weight = np.zeros((height, width), np.float32)
    for row in range(members.shape[0]):
        patches = _cut_patches(pictures, row, _STRIDE_PX)
        share = members[row].astype(np.float32)
        share /= share.sum(axis=1, keepdims=True)
        mean = (share[:, None, :] @ patches)[:, 0]
        square = (share[:, None, :] @ np.square(patches))[:, 0]
        shape = (len(patches), _PATCH_PX, _PATCH_PX, 3)
        means = mean.reshape(shape)
        variances = (square - np.square(mean)).reshape(shape).mean(axis=3)
        for column in range(members.shape[1]):
            area = np.s_[
                row * _STRIDE_PX : row * _STRIDE_PX + _PATCH_PX,
                column * _STRIDE_PX : column * _STRIDE_PX + _PATCH_PX,
            ]
            total[area] += means[column] * window[..., None]
            total_variance[area] += variances[column] * window
            total_weight[area] += window
    noise = np.sqrt(np.maximum(total_variance / total_weight, 0.0))
    return total / total_weight[..., None], np.clip(noise, _MIN_NOISE, _MAX_NOISE)
