"""Where objects are expected next, and which of the things seen is which object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tubelet.model.tracking.camera import Affine

_POSITION_NOISE = 0.04
_START_SPEED = 1.0
_ACCELERATION = 2.0
_SIZE_MEMORY_S = 0.3


class BoxFilter:
    """A Kalman filter of constant velocity over a box's centre and size.

    The four values (centre x, centre y, width, height, in pixels) are filtered alike and independently:
    each has a position and a velocity, so the covariance is one 2 x 2 matrix a value. A size stops changing
    soon when it is not measured. Noise is in shares of
    the object's size, so that near and far objects are treated alike.
    """

    def __init__(self, box: NDArray[np.float64]) -> None:
        self.state = np.zeros((4, 2))
        self.state[:, 0] = _to_centre(box)
        size = self._size()
        self.covariance = np.tile(
            np.diag([(_POSITION_NOISE * size) ** 2, (_START_SPEED * size) ** 2]), (4, 1, 1)
        )

    def _size(self) -> float:
        return max(4.0, float(np.sqrt(max(self.state[2, 0], 1.0) * max(self.state[3, 0], 1.0))))

    @property
    def box(self) -> NDArray[np.float64]:
        """The box (x0, y0, x1, y1) as of the last prediction or update."""
        (x, y), (width, height) = self.state[:2, 0], np.maximum(self.state[2:, 0], 1.0)
        return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])

    @property
    def position_spread_px(self) -> float:
        """Standard deviation of the centre, in pixels."""
        return float(np.sqrt(self.covariance[:2, 0, 0].mean()))

    def predict(self, step_s: float, camera: Affine) -> None:
        """Move on by `step_s` seconds, through the camera's movement in the meantime."""
        transition = np.array([[1.0, step_s], [0.0, 1.0]])
        push = (_ACCELERATION * self._size()) ** 2
        process = push * np.array([[step_s**4 / 4, step_s**3 / 2], [step_s**3 / 2, step_s**2]])
        self.state = self.state @ transition.T
        self.state[2:, 1] *= np.exp(-step_s / _SIZE_MEMORY_S)
        self.state[:2, 0] = camera[:, :2] @ self.state[:2, 0] + camera[:, 2]
        self.covariance = transition @ self.covariance @ transition.T + process

    def update(self, box: NDArray[np.float64], trust: float = 1.0) -> None:
        """Take in a measured box; `trust` below 1 widens the measurement noise."""
        noise = (_POSITION_NOISE * self._size() / max(trust, 0.05)) ** 2
        innovation = _to_centre(box) - self.state[:, 0]
        gain = self.covariance[:, :, 0] / (self.covariance[:, 0, 0] + noise)[:, None]
        self.state = self.state + gain * innovation[:, None]
        self.covariance = self.covariance - gain[:, :, None] * self.covariance[:, None, 0, :]


def _to_centre(box: NDArray[np.float64]) -> NDArray[np.float64]:
    x0, y0, x1, y1 = box
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0])


def compare_boxes(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of all pairs of (num_first, 4) and (num_second, 4) boxes."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.prod(np.clip(high - low, 0.0, None), axis=2)
    area_first = np.prod(first[:, 2:] - first[:, :2], axis=1)
    area_second = np.prod(second[:, 2:] - second[:, :2], axis=1)
    union = area_first[:, None] + area_second[None, :] - both
    return np.asarray(both / np.maximum(union, 1e-9), np.float64)


def assign(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The cheapest pairing of rows and columns (Hungarian method); infinite cost forbids a pair."""
    if cost.size == 0:
        return []
    allowed = np.isfinite(cost)
    forbidden = 1.0 + 2.0 * float(np.abs(cost[allowed]).sum()) if allowed.any() else 1.0
    rows, columns = linear_sum_assignment(np.where(allowed, cost, forbidden))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if allowed[r, c]]
