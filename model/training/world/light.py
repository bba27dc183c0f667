"""Sun, sky and shade."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.camera import Lens
from tubelet.model.training.world.solids import GLOWING, Geometry
from tubelet.model.training.world.textures import Texture

Array = NDArray[np.float64]


GAMMA = 0.5
"""Light adds up linearly, colours are sRGB: about the root of light."""


@dataclass(slots=True)
class Light:
    """`sun` (3) points to the sun. `ambient` is the share of light that comes from everywhere.

    `shadow` is how much darker a cast shadow is, `softness` its blur in supersampled pixels at 360 lines.
    """

    sun: Array
    ambient: float
    shadow: float
    softness: int
    sky: Array
    weather: str
    walls: dict[tuple[int, int], Texture] = field(default_factory=dict)

    def shade_faces(self, rgb_F3: Array, normals_F3: Array, finish_F: Array) -> Array:
        """Colours of lit faces; glossy ones mirror some sky."""
        lit = np.clip(normals_F3 @ self.sun, 0, None) / max(0.55, float(self.sun[2]))
        tilt = 0.88 + 0.12 * normals_F3[:, 2]
        factor = np.clip(self.ambient * tilt + (1 - self.ambient) * lit, 0.2, 1.15) ** GAMMA
        gloss = np.where(finish_F < GLOWING, finish_F, 0)
        mirrored = gloss * (0.03 + 0.12 * np.clip(normals_F3[:, 2], 0, 1) ** 2)
        factor = np.where(finish_F >= GLOWING, 1.0, factor)
        shaded = rgb_F3 * (factor * (1 - mirrored))[:, None] + mirrored[:, None] * self.sky * 0.8
        return np.asarray(shaded)

    def shade_rods(self, rgb_C3: Array, axis_C3: Array) -> tuple[Array, Array]:
        """The dark and the bright colour of rods along unit axes."""
        across = np.sqrt(np.clip(1 - (axis_C3 @ self.sun) ** 2, 0, 1))[:, None]
        bright = self.ambient + (1 - self.ambient) * (0.55 + 0.5 * across)
        dark = self.ambient * 0.9 + (1 - self.ambient) * 0.25
        return rgb_C3 * dark**GAMMA, rgb_C3 * np.minimum(bright, 1.1) ** GAMMA

    def shade_blob(self, rgb_B3: Array, share: float) -> Array:
        """Colours of what gets this share of the direct light."""
        return np.asarray(rgb_B3 * (self.ambient * 0.94 + (1 - self.ambient) * share) ** GAMMA)

    def shade_wall(self, texture: Texture, normal: Array) -> Texture:
        """A wall's texture (h, w, 4) as lit from its side; kept for the next frame."""
        lit = max(0.0, float(normal @ self.sun)) / max(0.55, float(self.sun[2]))
        level = round(20 * min(1.1, max(0.3, 0.9 * self.ambient + (1 - self.ambient) * lit)) ** GAMMA)
        key = (id(texture), level)
        if key not in self.walls:
            scaled = cv2.convertScaleAbs(texture, alpha=level / 20)
            shaded = np.zeros((*texture.shape[:2], 4), np.uint8)
            cv2.mixChannels([scaled], [shaded], [0, 0, 1, 1, 2, 2])
            self.walls[key] = shaded
        return self.walls[key]

    def screen_direction(self, lens: Lens) -> Array:
        """Unit vector (2) in the picture that points to the sun's side."""
        flat = (lens.axes @ self.sun)[:2]
        length = math.hypot(flat[0], flat[1])
        return np.asarray(flat / max(length, 0.3))


def draw_light(generator: np.random.Generator) -> Light:
    """Sunny, hazy or overcast."""
    azimuth = float(generator.uniform(0, math.tau))
    weather = str(generator.choice(["sunny", "hazy", "overcast"], p=[0.45, 0.25, 0.3]))
    elevation = math.radians(
        float(generator.uniform(28, 72) if weather != "overcast" else generator.uniform(70, 86))
    )
    sun = np.array(
        [
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        ]
    )
    low, high = {"sunny": (0.5, 0.64), "hazy": (0.62, 0.75), "overcast": (0.76, 0.87)}[weather]
    shadow = {"sunny": (0.42, 0.62), "hazy": (0.25, 0.42), "overcast": (0.22, 0.4)}[weather]
    return Light(
        sun=sun,
        ambient=float(generator.uniform(low, high)),
        shadow=float(generator.uniform(*shadow)),
        softness={"sunny": 1, "hazy": 3, "overcast": 7}[weather],
        sky=np.array([225.0, 230.0, 238.0]),
        weather=weather,
    )


def cast_shadow_outlines(
    geometry: Geometry, light: Light, x: float, y: float, z: float, heading: float
) -> Array:
    """Polygons (n, 8, 2) on the ground that a body keeps from the sun, metres."""
    c, s = math.cos(heading), math.sin(heading)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    slope = light.sun[:2] / light.sun[2]
    place = np.array([x, y, z])
    result = []
    if len(geometry.faces_F83):
        lit = (geometry.normals_F3 @ (turn.T @ light.sun) > 0.02) & ~geometry.is_detail_F
        lit &= geometry.face_layer_F % 1 == 0
        world = geometry.faces_F83[lit] @ turn.T + place
        result.append(world[..., :2] - world[..., 2:] * slope)
    if len(geometry.ends_C23):
        world = geometry.ends_C23 @ turn.T + place
        flat = world[..., :2] - world[..., 2:] * slope
        along = flat[:, 1] - flat[:, 0]
        length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)[:, None]
        forward = along / length
        left = np.stack([-forward[:, 1], forward[:, 0]], axis=1)
        r0, r1 = geometry.end_radius_C2[:, :1], geometry.end_radius_C2[:, 1:]
        a, b = flat[:, 0], flat[:, 1]
        result.append(
            np.stack(
                [a + r0 * left, a + 0.6 * r0 * (left - forward), a - r0 * forward, a - r0 * left,
                 b - r1 * left, b + r1 * forward, b + 0.6 * r1 * (left + forward), b + r1 * left], axis=1,
            )
        )  # fmt: skip
    if len(geometry.centres_B3):
        world = geometry.centres_B3 @ turn.T + place
        flat = world[:, :2] - world[:, 2:] * slope
        project = np.concatenate([np.eye(2), -slope[:, None]], axis=1) @ turn
        shape = project[None] * geometry.radii_B3[:, None, :]
        cover = shape @ shape.transpose(0, 2, 1)
        p = np.sqrt(np.maximum(cover[:, 0, 0], 1e-6))
        q = cover[:, 0, 1] / p
        r = np.sqrt(np.maximum(cover[:, 1, 1] - q * q, 1e-6))
        angles = np.arange(8) * math.tau / 8
        ring = np.stack(
            [p[:, None] * np.cos(angles), q[:, None] * np.cos(angles) + r[:, None] * np.sin(angles)], axis=-1
        )
        result.append(flat[:, None] + ring)
    return np.concatenate(result) if result else np.zeros((0, 8, 2))
