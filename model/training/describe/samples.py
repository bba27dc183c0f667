"""What the describer is trained on: regions, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tubelet.model.pixelrefer.config import PixelReferConfig
from tubelet.model.pixelrefer.encoding import PreparedView, ScenePool, prepare_views
from tubelet.model.pixelrefer.regions import Region


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and the answer to learn. The first of a conversation holds a `<region>` for each region."""

    prompt: str
    answer: str


Conversation = tuple[Exchange, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """Objects and conversations about them. Conversations know nothing of each other: each begins anew."""

    regions: tuple[Region, ...]
    conversations: tuple[Conversation, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ViewFeatures:
    """A view's features from a frozen encoder: (patches, C) of crop, local picture and scene."""

    crop: NDArray[Any]
    local: NDArray[Any]
    scene: NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedRegion:
    """A region whose pictures are cut. `features` stand in for the pictures where the encoder is frozen."""

    views: tuple[PreparedView, ...]
    times_s: tuple[float, ...] | None
    features: tuple[ViewFeatures, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSample:
    """A sample that is ready for the network."""

    regions: tuple[PreparedRegion, ...]
    conversations: tuple[Conversation, ...]


def prepare_sample(sample: Sample, config: PixelReferConfig) -> PreparedSample:
    """Cut all pictures of a sample, exactly as the captioner does for a request with the same regions."""
    views = [view for region in sample.regions for view in region.views]
    prepared = iter(prepare_views(views, config, ScenePool(config)))
    regions = tuple(
        PreparedRegion(
            tuple(next(prepared) for _ in region.views),
            tuple(view.time_s for view in region.views) if region.is_video else None,
        )
        for region in sample.regions
    )
    return PreparedSample(regions, sample.conversations)


def choose_evenly(count: int, limit: int) -> Sequence[int]:
    """Places of at most `limit` of `count` items, evenly spread, first and last among them."""
    if count <= limit:
        return range(count)
    return [round(place) for place in np.linspace(0, count - 1, limit)]
