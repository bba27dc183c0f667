"""Small data sets in DAVIS' layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from tests.model.training.track.polygons import PolygonClips


def write_davis(
    root: Path, *, num_videos: int = 2, num_frames: int = 6, side: int = 64, inside: str = "480p"
) -> Path:
    """Polygons that drift, as JPEG frames and palette PNGs; the seed of a video is its place."""
    for place in range(num_videos):
        clip = PolygonClips(side=side).get(place, num_frames)
        frames = root / "JPEGImages" / inside / f"video-{place:02d}"
        masks = root / "Annotations" / inside / f"video-{place:02d}"
        frames.mkdir(parents=True)
        masks.mkdir(parents=True)
        for time, (frame, labels) in enumerate(zip(clip.frames_THW3, clip.labels_THW, strict=True)):
            Picture.fromarray(frame).save(frames / f"{time:05d}.jpg", quality=95)
            picture = Picture.fromarray(labels)
            picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200])
            picture.save(masks / f"{time:05d}.png")
    return root


def write_labels(file: Path, labels: np.ndarray) -> None:
    Picture.fromarray(labels.astype(np.uint8)).save(file)
