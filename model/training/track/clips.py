"""Where labelled clips come from: the rendered world, or folders of frames and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from tubelet.errors import InputError

Bytes = NDArray[np.uint8]
Split = Literal["train", "held-out"]

THEMES: tuple[Literal["traffic", "mixed", "park"], ...] = ("traffic", "mixed", "park")
FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """Frames (T, height, width, 3) in RGB, and the number of the visible object at each pixel, 0 for none."""

    frames_THW3: Bytes
    labels_THW: Bytes


class ClipSource(Protocol):
    """Any number of clips, each a function of its number alone; picklable."""

    def get(self, number: int, num_frames: int) -> LabelledClip:
        """The clip of a number, with so many frames; a single frame is a picture."""


@dataclass(frozen=True, slots=True)
class RenderedClips:
    """Clips of the rendered world. `height_px` is the short side; shapes vary around 16 to 9."""

    split: Split = "train"
    height_px: int = 144
    seed: int = 0
    degrade: bool = True
    encode: float = 0.1
    photographs: float = 0.0
    """The share of clips with photographs as grounds and walls."""

    def get(self, number: int, num_frames: int) -> LabelledClip:
        from tubelet.model.training.world import ClipSpec, render_clip, render_image

        generator = np.random.default_rng((self.seed, number, num_frames))
        aspect = float(generator.choice((16 / 9, 16 / 9, 4 / 3, 1.0)))
        spec = ClipSpec(
            num_frames=num_frames,
            frame_rate=float(generator.choice((4.0, 6.0, 6.0, 10.0))),
            width=2 * round(self.height_px * aspect / 2),
            height=self.height_px,
            split=self.split,
            theme=THEMES[int(generator.integers(len(THEMES)))],
            degrade=self.degrade,
            encode=self.encode,
            photographs=self.photographs,
        )
        seed = int(generator.integers(2**31))
        clip = render_image(seed, spec) if num_frames == 1 else render_clip(seed, spec)
        return LabelledClip(clip.frames_THWC, clip.labels_THW)


@dataclass(frozen=True, slots=True)
class FolderClips:
    """Clips of a data set in DAVIS' layout, or of one such video.

    `root` holds a folder of frames and a folder of masks for each video, under names that match:
    `JPEGImages/480p/bear` and `Annotations/480p/bear`, or without the middle folder, as in YouTube-VOS.
    Masks are PNG files whose pixels are object numbers. Of ten
    videos or more, every tenth is held out from training; of fewer, none is, and evaluation sees them all.
    """

    root: Path
    split: Split = "train"
    seed: int = 0
    max_stride: int = 3

    def get(self, number: int, num_frames: int) -> LabelledClip:
        videos = list_videos(self.root, self.split)
        generator = np.random.default_rng((self.seed, number, num_frames))
        video = videos[int(generator.integers(len(videos)))]
        strides = [s for s in range(1, self.max_stride + 1) if (num_frames - 1) * s < len(video.frames)]
        stride = int(generator.choice(strides)) if strides else 1
        reach = (num_frames - 1) * stride
        first = int(generator.integers(max(1, len(video.frames) - reach)))
        # A video shorter than the clip is played to its end and then backwards.
        places = [_bounce(first + at * stride, len(video.frames)) for at in range(num_frames)]
        if generator.random() < 0.5:
            places.reverse()
        frames = np.stack([np.asarray(Picture.open(video.frames[at]).convert("RGB")) for at in places])
        labels = np.stack([_read_labels(video, at, frames.shape[1:3]) for at in places])
        return LabelledClip(frames, labels)


@dataclass(frozen=True, slots=True)
class FolderVideo:
    """The files of one video, in order of name: as many frames as masks."""

    frames: tuple[Path, ...]
    masks: tuple[Path, ...]


@cache
def list_videos(root: Path, split: Split = "train") -> tuple[FolderVideo, ...]:
    """The videos of a data set in DAVIS' layout. Raises InputError where there are none."""
    frames_root, masks_root = root / "JPEGImages", root / "Annotations"
    if not frames_root.is_dir() or not masks_root.is_dir():
        raise InputError(
            f"{root} is not a data set in DAVIS' layout",
            expected="JPEGImages/ with a folder of frames a video, and Annotations/ with one of PNG masks",
            do="name the folder that holds both",
        )
    videos = []
    for folder in sorted(place for place in masks_root.rglob("*") if place.is_dir()):
        masks = {file.stem: file for file in sorted(folder.glob("*.png"))}
        pictures = frames_root / folder.relative_to(masks_root)
        frames = {file.stem: file for file in sorted(pictures.glob("*")) if file.suffix in FRAME_SUFFIXES}
        shared = [name for name in masks if name in frames]
        if masks and not shared:
            raise InputError(
                f"No frame in {pictures} has the name of a mask in {folder}",
                expected="00000.jpg for 00000.png",
                do="name frames and masks alike",
            )
        if shared:
            videos.append(
                FolderVideo(tuple(frames[name] for name in shared), tuple(masks[name] for name in shared))
            )
    if not videos:
        raise InputError(f"There are no PNG masks under {masks_root}", expected="a folder of them a video")
    if len(videos) < 10:
        return tuple(videos)
    return tuple(video for place, video in enumerate(videos) if (place % 10 == 0) == (split == "held-out"))


def _read_labels(video: FolderVideo, place: int, size: Sequence[int]) -> Bytes:
    with Picture.open(video.masks[place]) as opened:
        labels = np.asarray(opened)
    if labels.ndim != 2 or labels.shape != tuple(size):
        raise InputError(
            f"{video.masks[place]} has shape {labels.shape}",
            expected=f"one number a pixel, and the size of its frame, {size[0]} x {size[1]}",
        )
    labels = labels.astype(np.uint8)
    # DAVIS 2016 marks its one object by 255; elsewhere 255 is what nobody judges.
    if set(np.unique(labels).tolist()) <= {0, 255}:
        one: Bytes = (labels == 255).astype(np.uint8)
        return one
    judged: Bytes = np.where(labels == 255, 0, labels).astype(np.uint8)
    return judged


def _bounce(place: int, length: int) -> int:
    if length == 1:
        return 0
    place %= 2 * length - 2
    return min(place, 2 * length - 2 - place)
