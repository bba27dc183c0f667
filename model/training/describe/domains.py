"""The domain that a trained checkpoint is written with: see `tubelet.model.describing.domain`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from tubelet.model.describing.base import Looks
from tubelet.model.describing.domain import Domain, fit_domain
from tubelet.model.training.describe.pool import Pool
from tubelet.records import View

LookAt = Callable[[Sequence[Sequence[View]]], Sequence[Looks]]
"""How each of some objects, given by their views, looks to a recogniser."""

OBJECTS_A_CALL = 16


def make_domain(seen: Pool, held_out: Pool, look_at: LookAt, *, num_objects: int, num_axes: int) -> Domain:
    """The domain of the first `num_objects` objects of a pool, compared with all of the held-out one's."""
    looks = list(_look_at_each(islice(_iterate_objects(seen), num_objects), look_at))
    usual = list(_look_at_each(_iterate_objects(held_out), look_at))
    return fit_domain(looks[0].recogniser, _stack(looks), _stack(usual), num_axes=num_axes)


def _stack(looks: Sequence[Looks]) -> np.ndarray:
    return np.array([own.vector for own in looks], np.float32)


def _iterate_objects(pool: Pool) -> Iterator[tuple[View, ...]]:
    for number in range(len(pool)):
        yield from (views for _, views in sorted(pool[number].views.items()) if views)


def _look_at_each(objects: Iterator[tuple[View, ...]], look_at: LookAt) -> Iterator[Looks]:
    while batch := list(islice(objects, OBJECTS_A_CALL)):
        yield from look_at(batch)
