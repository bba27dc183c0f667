"""Textured polygons that drift over a textured ground, with exact labels: cheap things to learn from."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tubelet.model.training.track.clips import LabelledClip


@dataclass(frozen=True)
class PolygonClips:
    """A source of clips of a few polygons each."""

    side: int = 96
    seed: int = 0
    max_objects: int = 3

    def get(self, number: int, num_frames: int) -> LabelledClip:
        generator = np.random.default_rng((self.seed, number, num_frames))
        side = self.side
        ground = self._texture(generator)
        shapes = []
        for _ in range(int(generator.integers(1, self.max_objects + 1))):
            angles = np.sort(generator.uniform(0, 2 * np.pi, int(generator.integers(4, 8))))
            radius = side * generator.uniform(0.12, 0.28) * generator.uniform(0.7, 1.3, len(angles))
            points = np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None]
            start = generator.uniform(0.2, 0.8, 2) * side
            speed = generator.normal(0, 0.03, 2) * side
            shapes.append((points, start, speed, self._texture(generator)))
        frames, labels = [], []
        for time in range(num_frames):
            frame, label = ground.copy(), np.zeros((side, side), np.uint8)
            for place, (points, start, speed, texture) in enumerate(shapes, 1):
                mask = np.zeros((side, side), np.uint8)
                cv2.fillPoly(mask, [np.round(points + start + time * speed).astype(np.int32)], 1)
                frame[mask > 0] = texture[mask > 0]
                label[mask > 0] = place
            noisy = frame + generator.normal(0, 4, frame.shape)
            frames.append(noisy.clip(0, 255).astype(np.uint8))
            labels.append(label)
        return LabelledClip(np.stack(frames), np.stack(labels))

    def _texture(self, generator: np.random.Generator) -> np.ndarray:
        coarse = generator.normal(0, 25, (6, 6, 3)) + generator.uniform(30, 225, 3)
        large = cv2.resize(coarse, (self.side, self.side), interpolation=cv2.INTER_CUBIC)
        texture: np.ndarray = large.clip(0, 255).astype(np.uint8)
        return texture
