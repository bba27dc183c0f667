"""The captioner seam: pictures of one object over time in, a sentence out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tubelet.model.frame import Image
from tubelet.model.masks import Mask
from tubelet.records import Attributes, Box, CaptionSource, Motion

MIN_ODDS = 0.05
"""Words that are less likely than this are not kept as what else an object may be."""


@dataclass(frozen=True, slots=True)
class ObjectView:
    """One decoded look at an object.

    `image` is (h, w, 3) RGB, the part `crop` of the upright source frame; `mask` is (h, w), True on the
    object. `scene` is the whole frame, small (h', w', 3), or None when it was not kept. `frame_size` is
    (width, height) of the source frame, or None where nobody recorded it.
    """

    time_s: float
    image: Image
    mask: Mask
    crop: Box
    scene: Image | None = None
    frame_size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Looks:
    """How an object looks to a recogniser (`name@version`): the vector it gave."""

    recogniser: str
    vector: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Naming:
    """A word for what an object is, its colour or its way, and how likely that is right (0..1).

    `odds` are all words that are not too unlikely, this one first, with how likely each is.
    """

    name: str
    score: float
    odds: tuple[tuple[str, float], ...] = ()


def choose_name(names: Sequence[str], shares_K: NDArray[np.float32]) -> Naming:
    """The likeliest of K names. `shares_K` are their probabilities."""
    order = np.argsort(-shares_K, kind="stable")
    odds = tuple((names[place], float(shares_K[place])) for place in order if shares_K[place] >= MIN_ODDS)
    best = int(order[0])
    return Naming(names[best], float(shares_K[best]), odds)


@dataclass(frozen=True, slots=True)
class DescribeRequest:
    """One object over one moment: a few views in time order, and what was measured about it.

    `shape` is its path in the numbers of `model.trajectory.shape`; None where nobody saw one. `moving` is how
    it moves if it does, where `motion` says that it stands.
    """

    views: tuple[ObjectView, ...]
    attributes: Attributes
    motion: Motion
    question: str | None = None
    looks: Looks | None = None
    shape: NDArray[np.float32] | None = field(default=None, compare=False)
    moving: Motion | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """A sentence about an object, how sure the captioner is (0..1), and its vector (may be empty).

    `source` says whether a network said it, or it only tells what was measured. `familiarity` (0..1) says how
    much the object looks like the network's training, `naming` and `colour` what it would be called there and
    `way` how it moves, one of `turning.WAYS`; None where nobody knows.
    """

    text: str
    confidence: float
    object_vector: tuple[float, ...] = ()
    source: CaptionSource = "model"
    familiarity: float | None = None
    naming: Naming | None = None
    colour: Naming | None = None
    way: Naming | None = None


class Captioner(Protocol):
    """Describes many objects in one call. The answer to a request never depends on its neighbours."""

    @property
    def name(self) -> str:
        """`name@version`, written into every row."""

    @property
    def object_dimensions(self) -> int:
        """Length of the object vectors it gives; 0 for none."""

    @property
    def answers_questions(self) -> bool:
        """Whether a request may carry a question."""

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        """One description for each request, in order."""
