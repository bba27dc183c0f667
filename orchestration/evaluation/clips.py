"""Clips that nothing was trained on, and what is true of them in the form that scores need."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tubelet.model.frame import Frame
from tubelet.model.masks import encode_mask
from tubelet.model.training.world import ClipSpec, RenderedClip, render_clip
from tubelet.model.training.world.spec import ObjectTruth
from tubelet.records import Rle

TINY_SHARE = 0.003
"""What covers less of the frame is left out everywhere, whether found or not: the size word's own limit."""

LARGE_SHARE = 0.01
"""What has to be found, in tracking and search."""

VISIBLE_ENOUGH = 0.5
"""Share of an object's own pixels that must be seen for a frame to count."""

MIN_FRAMES = 3


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """Which clips: `num_clips` of the held-out split, numbered from `first_seed`."""

    num_clips: int
    first_seed: int
    spec: ClipSpec = field(default_factory=lambda: ClipSpec(split="held-out", encode=0.5))

    def __post_init__(self) -> None:
        assert self.spec.split == "held-out", "what was trained on is no test"

    def render(self, besides: Container[int] = ()) -> Iterator[RenderedClip]:
        """The clips, one at a time, without those of some seeds."""
        for seed in range(self.first_seed, self.first_seed + self.num_clips):
            if seed not in besides:
                yield render_clip(seed, self.spec)


@dataclass(frozen=True, slots=True)
class SeenObject:
    """One object through a clip of T frames.

    `masks` are what is seen of it, None where that is no pixel; `share_T` is how much of the frame they
    cover, `visible_T` how much of the object they are.
    """

    truth: ObjectTruth
    masks: tuple[Rle | None, ...]
    share_T: NDArray[np.float64]
    visible_T: NDArray[np.float64]

    def frames_where(self, *, min_share: float, min_visible: float = VISIBLE_ENOUGH) -> NDArray[np.intp]:
        """The frames in which it is large enough and shows enough of itself."""
        return np.flatnonzero((self.share_T >= min_share) & (self.visible_T >= min_visible))


def list_seen(clip: RenderedClip) -> list[SeenObject]:
    """Every object of the clip that is ever seen."""
    num_pixels = clip.labels_THW[0].size
    seen = []
    for place, truth in enumerate(clip.objects):
        masks = [_encode(labels == truth.number) for labels in clip.labels_THW]
        areas_T = (clip.labels_THW == truth.number).sum(axis=(1, 2))
        if areas_T.any():
            shares_T = areas_T / num_pixels
            seen.append(SeenObject(truth, tuple(masks), shares_T, clip.visible_TO[:, place].astype(float)))
    return seen


def make_frames(clip: RenderedClip) -> list[Frame]:
    """The clip's pictures as trackers take them."""
    height, width = clip.labels_THW.shape[1:]
    return [
        Frame(time_s, image, width, height)
        for time_s, image in zip(clip.times_s, clip.frames_THWC, strict=True)
    ]


def spread_context(frames: list[Frame], count: int) -> list[Frame]:
    """Up to `count` frames spread over the clip, as a chunk's surroundings are in indexing."""
    if count == 0:
        return []
    places = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int))
    return [frames[place] for place in places]


def _encode(mask: NDArray[np.bool_]) -> Rle | None:
    return encode_mask(mask) if mask.any() else None
