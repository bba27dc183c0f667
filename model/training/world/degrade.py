"""What cameras and codecs do to a picture: exposure, tint, blur, rain, noise, H.264."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.h264 import REPRODUCIBLE
from tubelet.model.training.world.textures import cut_noise

Frames = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Damage:
    """Drawn once a clip.

    `table` (256, 3) maps each channel; noise is in grey levels, blur in pixels at 180 lines.
    """

    table: NDArray[np.uint8]
    noise: float
    blur: float
    rain: int
    haze: float
    sky: tuple[float, float, float]
    scale_down: float


def draw_damage(generator: np.random.Generator, *, wanted: bool, weather: str) -> Damage:
    """Mild most of the time: the mean tint is neutral and the mean exposure right."""
    steps = np.arange(256) / 255
    if not wanted:
        table = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        return Damage(table, 0.0, 0.0, 0, 0.0, (220.0, 224.0, 228.0), 1.0)
    gain = float(np.clip(np.exp(generator.normal(0, 0.13)), 0.6, 1.3))
    gamma = float(np.exp(generator.normal(0, 0.12)))
    tint = np.exp(generator.normal(0, 0.02, 3) + np.array([1, 0, -1]) * generator.normal(0, 0.03))
    black = float(generator.uniform(0, 14)) if generator.random() < 0.3 else 0.0
    curve = np.clip(steps[:, None] ** gamma * gain * tint * (255 - black) + black, 0, 255)
    rains = generator.random() < (0.16 if weather == "overcast" else 0.03)
    return Damage(
        table=curve.round().astype(np.uint8),
        noise=float(generator.exponential(2.6)) if generator.random() < 0.7 else 0.0,
        blur=float(generator.uniform(0.4, 1.1)) if generator.random() < 0.3 else 0.0,
        rain=int(generator.integers(30, 160)) if rains else 0,
        haze=float(generator.uniform(0.05, 0.22)) if generator.random() < 0.15 else 0.0,
        sky=(218.0, 222.0, 226.0),
        scale_down=float(generator.uniform(0.5, 0.85)) if generator.random() < 0.15 else 1.0,
    )


def damage_frame(frame: Frames, damage: Damage, generator: np.random.Generator) -> Frames:
    """One frame (h, w, 3) as the camera gives it."""
    height, width = frame.shape[:2]
    if damage.rain:
        frame = _draw_rain(frame, damage.rain, generator)
    if damage.haze:
        grey = np.full_like(frame, damage.sky[0])
        frame = np.asarray(cv2.addWeighted(frame, 1 - damage.haze, grey, damage.haze, 0), np.uint8)
    if damage.scale_down < 1:
        size = (max(2, int(width * damage.scale_down)), max(2, int(height * damage.scale_down)))
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        frame = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    if damage.blur:
        frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), damage.blur * height / 180), np.uint8)
    frame = np.asarray(cv2.LUT(frame, damage.table[:, None, :]), np.uint8)
    if damage.noise > 0.2:
        grain = cut_noise(generator, "fine", height, width)
        scale = damage.noise / 42
        signed = cv2.convertScaleAbs(grain, alpha=scale, beta=0)
        mean = round(128 * scale)
        both = cv2.add(frame, cv2.merge([signed, signed, signed]))
        frame = np.asarray(cv2.subtract(both, np.full_like(frame, mean)), np.uint8)
    return frame


def _draw_rain(frame: Frames, count: int, generator: np.random.Generator) -> Frames:
    height, width = frame.shape[:2]
    streaks = frame.copy()
    xs, ys = generator.uniform(0, width, count), generator.uniform(-0.1 * height, height, count)
    lengths = generator.uniform(0.03, 0.1, count) * height
    for x, y, length in zip(xs.tolist(), ys.tolist(), lengths.tolist(), strict=True):
        cv2.line(streaks, (int(x), int(y)), (int(x - 0.15 * length), int(y + length)), (206, 210, 214), 1)
    return np.asarray(cv2.addWeighted(frame, 0.6, streaks, 0.4, 0), np.uint8)


def recode(frames: Frames, frame_rate: float, quality: int) -> Frames:
    """Frames (t, h, w, 3) through H.264 and back; `quality` is x264's constant rate factor."""
    import av

    count, height, width = frames.shape[:3]
    even_h, even_w = height + height % 2, width + width % 2
    padded = np.pad(frames, ((0, 0), (0, even_h - height), (0, even_w - width), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264",
            rate=Fraction(frame_rate).limit_denominator(1001),
            options={"crf": str(quality), "preset": "veryfast", "threads": "1", **REPRODUCIBLE},
        )
        stream.width, stream.height, stream.pix_fmt = even_w, even_h, "yuv420p"
        for frame in padded:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
            )
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == count, (len(decoded), count)
    return np.ascontiguousarray(np.stack(decoded)[:, :height, :width], dtype=np.uint8)
