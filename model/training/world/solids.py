"""Solid bodies from flat faces, capsules, ellipsoids and rings, in metres: x forward, y left, z up.

Shape letters: F faces, C capsules, B ellipsoids ("blobs"), R rings. A face has up to 8 corners,
counter-clockwise seen from outside; missing ones repeat the last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rgb = tuple[float, float, float]
Point = tuple[float, float, float]

MATTE, GLOSSY, GLOWING = 0.0, 1.0, 2.0
CORNERS = 8


@dataclass(frozen=True, slots=True)
class Geometry:
    """Arrays of one body's parts. `layer` orders parts that lie on each other: higher is drawn later.

    `finish` is MATTE, GLOSSY or GLOWING (unlit); `is_detail` marks what small pictures leave out.
    """

    faces_F83: Array
    corners_F: NDArray[np.intp]
    normals_F3: Array
    face_rgb_F3: Array
    face_layer_F: Array
    finish_F: Array
    is_detail_F: NDArray[np.bool_]
    ends_C23: Array
    end_radius_C2: Array
    capsule_rgb_C3: Array
    capsule_layer_C: Array
    centres_B3: Array
    radii_B3: Array
    blob_rgb_B3: Array
    blob_layer_B: Array
    rings_R7: Array
    """Centre, axis scaled to the ring's radius, and thickness."""
    ring_rgb_R3: Array
    ring_layer_R: Array


Quad = tuple[Point, Point, Point, Point]


@dataclass(slots=True)
class Solid:
    """A convex part with named faces, so that windows and doors can be put on them."""

    faces: dict[str, Quad]
    layer: float


@dataclass(slots=True)
class Builder:
    """Collects parts and makes a Geometry of them."""

    faces: list[tuple[tuple[Point, ...], Rgb, float, float, bool]] = field(default_factory=list)
    capsules: list[tuple[Point, Point, float, float, Rgb, float]] = field(default_factory=list)
    blobs: list[tuple[Point, Point, Rgb, float]] = field(default_factory=list)
    rings: list[tuple[Point, Point, float, Rgb, float]] = field(default_factory=list)

    def add_block(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        rgb: Rgb,
        *,
        inset: tuple[float, float, float] = (0, 0, 0),
        layer: float = 0,
        finish: float = MATTE,
        detail: bool = False,
        skip: str = "",
        top_rgb: Rgb | None = None,
    ) -> Solid:
        """A box whose top is smaller by `inset` at the front, at the rear and on either side."""
        front, rear, side = inset
        (x0, x1), (y0, y1), (z0, z1) = x, y, z
        u0, u1, v0, v1 = x0 + rear, x1 - front, y0 + side, y1 - side
        quads: dict[str, Quad] = {
            "front": ((x1, y0, z0), (x1, y1, z0), (u1, v1, z1), (u1, v0, z1)),
            "rear": ((x0, y1, z0), (x0, y0, z0), (u0, v0, z1), (u0, v1, z1)),
            "left": ((x1, y1, z0), (x0, y1, z0), (u0, v1, z1), (u1, v1, z1)),
            "right": ((x0, y0, z0), (x1, y0, z0), (u1, v0, z1), (u0, v0, z1)),
            "top": ((u0, v0, z1), (u1, v0, z1), (u1, v1, z1), (u0, v1, z1)),
        }
        for name, quad in quads.items():
            if name != skip:
                colour = top_rgb if name == "top" and top_rgb is not None else rgb
                self.faces.append((quad, colour, layer, finish, detail))
        return Solid(quads, layer)

    def add_patch(
        self,
        solid: Solid,
        face: str,
        u: tuple[float, float],
        v: tuple[float, float],
        rgb: Rgb,
        *,
        finish: float = MATTE,
        detail: bool = True,
        above: float = 0.5,
    ) -> None:
        """A patch on a face, in shares of it from its lower left corner seen from outside."""
        a, b, c, d = solid.faces[face]

        def at(s: float, t: float) -> Point:
            return (
                (a[0] * (1 - s) + b[0] * s) * (1 - t) + (d[0] * (1 - s) + c[0] * s) * t,
                (a[1] * (1 - s) + b[1] * s) * (1 - t) + (d[1] * (1 - s) + c[1] * s) * t,
                (a[2] * (1 - s) + b[2] * s) * (1 - t) + (d[2] * (1 - s) + c[2] * s) * t,
            )

        quad = (at(u[0], v[0]), at(u[1], v[0]), at(u[1], v[1]), at(u[0], v[1]))
        self.faces.append((quad, rgb, solid.layer + above, finish, detail))

    def add_side_patches(
        self,
        solid: Solid,
        s: tuple[float, float],
        v: tuple[float, float],
        rgb: Rgb,
        *,
        finish: float = MATTE,
        detail: bool = True,
        above: float = 0.5,
    ) -> None:
        """The same patch on the left and the right face; `s` runs from the rear to the front."""
        self.add_patch(solid, "left", (1 - s[1], 1 - s[0]), v, rgb, finish=finish, detail=detail, above=above)
        self.add_patch(solid, "right", s, v, rgb, finish=finish, detail=detail, above=above)

    def add_disc(
        self, centre: Point, radius: float, rgb: Rgb, *, side: int, layer: float, detail: bool = False
    ) -> None:
        """An upright octagon that faces left (`side` 1) or right (-1)."""
        angles = [side * -math.tau * (k + 0.5) / CORNERS for k in range(CORNERS)]
        corners = tuple(
            (centre[0] + radius * math.cos(a), centre[1], centre[2] + radius * math.sin(a)) for a in angles
        )
        self.faces.append((corners, rgb, layer, MATTE, detail))

    def add_column(
        self,
        centre: tuple[float, float],
        z: tuple[float, float],
        radii: tuple[tuple[float, float], tuple[float, float]],
        rgb: Rgb,
        *,
        layer: float = 0,
        finish: float = MATTE,
        sides: int = 8,
    ) -> None:
        """An upright prism with elliptic rings ((x, y) radii at the bottom, then at the top), and a lid."""
        rings = []
        for height, (a, b) in zip(z, radii, strict=True):
            rings.append(
                [
                    (
                        centre[0] + a * math.cos(math.tau * (k + 0.5) / sides),
                        centre[1] + b * math.sin(math.tau * (k + 0.5) / sides),
                        height,
                    )
                    for k in range(sides)
                ]
            )
        low, high = rings
        for k in range(sides):
            n = (k + 1) % sides
            self.faces.append(((low[k], low[n], high[n], high[k]), rgb, layer, finish, False))
        self.faces.append((tuple(high), rgb, layer, finish, False))

    def add_capsule(
        self, start: Point, end: Point, radius: float, rgb: Rgb, *, end_radius: float = 0, layer: float = 0
    ) -> None:
        """A rod with round ends."""
        self.capsules.append((start, end, radius, end_radius or radius, rgb, layer))

    def add_blob(self, centre: Point, radii: Point, rgb: Rgb, *, layer: float = 0) -> None:
        """An ellipsoid along the body's axes."""
        self.blobs.append((centre, radii, rgb, layer))

    def add_ring(
        self, centre: Point, radius: float, thickness: float, rgb: Rgb, *, layer: float = 0, steer: float = 0
    ) -> None:
        """An upright hoop, as a bicycle's wheel; `steer` turns it about z, radians."""
        axis = (-radius * math.sin(steer), radius * math.cos(steer), 0.0)
        self.rings.append((centre, axis, thickness, rgb, layer))

    def build(self) -> Geometry:
        """The arrays of everything that was added."""
        padded = [corners + (corners[-1],) * (CORNERS - len(corners)) for corners, *_ in self.faces]
        faces = _array(padded, (CORNERS, 3))
        normals = _cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        return Geometry(
            faces_F83=faces,
            corners_F=np.array([len(item[0]) for item in self.faces], dtype=np.intp),
            normals_F3=normals,
            face_rgb_F3=_array([item[1] for item in self.faces], (3,)),
            face_layer_F=_array([item[2] for item in self.faces], ()),
            finish_F=_array([item[3] for item in self.faces], ()),
            is_detail_F=np.array([item[4] for item in self.faces], dtype=bool),
            ends_C23=_array([item[:2] for item in self.capsules], (2, 3)),
            end_radius_C2=_array([item[2:4] for item in self.capsules], (2,)),
            capsule_rgb_C3=_array([item[4] for item in self.capsules], (3,)),
            capsule_layer_C=_array([item[5] for item in self.capsules], ()),
            centres_B3=_array([item[0] for item in self.blobs], (3,)),
            radii_B3=_array([item[1] for item in self.blobs], (3,)),
            blob_rgb_B3=_array([item[2] for item in self.blobs], (3,)),
            blob_layer_B=_array([item[3] for item in self.blobs], ()),
            rings_R7=_array([(*item[0], *item[1], item[2]) for item in self.rings], (7,)),
            ring_rgb_R3=_array([item[3] for item in self.rings], (3,)),
            ring_layer_R=_array([item[4] for item in self.rings], ()),
        )


def _cross(a: Array, b: Array) -> Array:
    """Cross products of rows (n, 3), without the overhead of numpy's own on small arrays."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)


def _array(rows: object, shape: tuple[int, ...]) -> Array:
    return np.array(rows, dtype=np.float64).reshape(-1, *shape)


def shade(rgb: Rgb, factor: float) -> Rgb:
    """The same colour with its light scaled."""
    return (min(255.0, rgb[0] * factor), min(255.0, rgb[1] * factor), min(255.0, rgb[2] * factor))
