"""The recogniser seam: pictures of objects in, categories and vectors of how they look out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tubelet.model.frame import Image
from tubelet.model.masks import Mask
from tubelet.records import Box


@dataclass(frozen=True, slots=True)
class Crop:
    """One look at an object, with some of what is around it.

    `image` is (h, w, 3) RGB and `mask` (h, w), True on the object, which may be the whole of `box` where
    nobody knows better. `box` is in pixels of `image`. `weight`, above 0, says how much this look counts
    beside the others of its object.
    """

    image: Image
    mask: Mask
    box: Box
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Recognition:
    """What an object is.

    `category` is a name of `tubelet.categories`, or empty where the recogniser is not sure enough.
    `score` is the probability that it is right, 0..1 (0 without one). `words` name it more exactly, the
    surest first: a breed, a make of ball. `vector` has length 1; the cosine of two is high when the objects
    look alike.
    """

    category: str
    score: float
    words: tuple[str, ...]
    vector: tuple[float, ...]


class Recogniser(Protocol):
    """Recognises many objects in one call. The same crops get the same answer, whatever is beside them."""

    @property
    def name(self) -> str:
        """`name@version`, written into every row."""

    @property
    def num_dimensions(self) -> int:
        """Length of every vector."""

    def recognise(self, objects: Sequence[Sequence[Crop]]) -> list[Recognition]:
        """One answer for each object, in order, each seen in one or more crops."""
