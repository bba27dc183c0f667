"""The domain that a trained checkpoint is written with: see `tubelet.model.describing.domain`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from tubelet.model.categories import WORDS
from tubelet.model.describing.base import Looks
from tubelet.model.describing.domain import Domain, fit_domain
from tubelet.model.training.describe.pool import Pool
from tubelet.model.training.world.spec import Category
from tubelet.records import View

LookAt = Callable[[Sequence[Sequence[View]]], Sequence[Looks]]
"""How each of some objects, given by their views, looks to a recogniser."""

OBJECTS_A_CALL = 16


def make_domain(seen: Pool, held_out: Pool, look_at: LookAt, *, num_objects: int, num_axes: int) -> Domain:
    """The domain of the first `num_objects` objects of a pool, compared with all of the held-out one's."""
    categories, looks = _look_at_each(islice(_iterate_objects(seen), num_objects), look_at)
    _, usual = _look_at_each(_iterate_objects(held_out), look_at)
    return fit_domain(looks[0].recogniser, _stack(looks), categories, _stack(usual), num_axes=num_axes)


def _stack(looks: Sequence[Looks]) -> np.ndarray:
    return np.array([own.vector for own in looks], np.float32)


def _iterate_objects(pool: Pool) -> Iterator[tuple[Category, tuple[View, ...]]]:
    """What each object is and its views."""
    for number in range(len(pool)):
        clip = pool[number]
        yield from ((clip.find(own).category, views) for own, views in sorted(clip.views.items()) if views)


def _look_at_each(
    objects: Iterator[tuple[Category, tuple[View, ...]]], look_at: LookAt
) -> tuple[list[str], list[Looks]]:
    """What the objects are, in the words of rows and queries, and how they look."""
    categories: list[str] = []
    looks: list[Looks] = []
    while batch := list(islice(objects, OBJECTS_A_CALL)):
        categories += [WORDS[category] for category, _ in batch]
        looks += look_at([views for _, views in batch])
    return categories, looks
