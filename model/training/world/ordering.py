"""Which of several bodies hides which: an order to paint them in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class OnGround(Protocol):
    """A body with a rectangle on the ground, in its own frame (x0, x1, y0, y1)."""

    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def z(self) -> float: ...
    @property
    def heading(self) -> float: ...
    @property
    def footprint(self) -> tuple[float, float, float, float]: ...


def sort_units(units: Sequence[OnGround], camera: NDArray[np.float64]) -> list[int]:
    """Indices from the farthest to the nearest.

    Of two rectangles that an edge's line parts, the one on the camera's side of that line is nearer. What
    no line parts, and what is in the air, goes by distance.
    """
    count = len(units)
    corners = np.array([_find_corners(unit) for unit in units])
    distance = np.array(
        [math.hypot(unit.x - camera[0], unit.y - camera[1], unit.z - camera[2]) for unit in units]
    )
    if count < 2:
        return list(range(count))
    edges = np.roll(corners, -1, axis=1) - corners
    normals = np.stack([edges[..., 1], -edges[..., 0]], axis=-1)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    offset = np.einsum("aki,aki->ak", normals, corners)
    reach = np.einsum("aki,bci->akbc", normals, corners).min(axis=3) - offset[:, :, None]
    parted = reach > -0.05
    outside = (np.einsum("aki,i->ak", normals, camera[:2]) - offset > 0)[:, :, None]
    other_nearer = (parted & outside).any(axis=1)
    self_nearer = (parted & ~outside).any(axis=1)
    farther = (other_nearer & ~self_nearer) | (self_nearer & ~other_nearer).T  # farther[a, b]: a behind b
    farther &= ~farther.T
    order: list[int] = []
    waiting = np.ones(count, dtype=bool)
    blockers = farther.sum(axis=0).astype(int)  # how many must be painted before each
    by_distance = np.argsort(-distance, kind="stable").tolist()
    while len(order) < count:
        free = [k for k in by_distance if waiting[k] and blockers[k] == 0]
        chosen = free[0] if free else next(k for k in by_distance if waiting[k])
        order.append(chosen)
        waiting[chosen] = False
        blockers -= farther[chosen]
    return order


def _find_corners(unit: OnGround) -> list[tuple[float, float]]:
    c, s = math.cos(unit.heading), math.sin(unit.heading)
    x0, x1, y0, y1 = unit.footprint
    return [
        (unit.x + c * x - s * y, unit.y + s * x + c * y) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    ]
