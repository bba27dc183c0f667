"""Numbers with what they were counted on, and how far to trust them.

Objects of one clip share its camera and its light, so intervals come from drawing whole clips anew (a cluster
bootstrap): the central 95 % of the score over NUM_RESAMPLES draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 1000
COVERAGE = 0.95
_SEED = 20_26

Floats = NDArray[np.float64]
Groups = Sequence[Sequence[float]]
"""Values of one measure, one list for each clip or query."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number: a `measure` of a `subject` (whose work it is), over `count` of `unit` ("objects").

    `low` and `high` bound the interval. All three are None where there was nothing to measure, the bounds
    also where one group alone leaves nothing to draw from.
    """

    measure: str
    subject: str
    value: float | None
    low: float | None
    high: float | None
    count: int
    unit: str


def measure_mean(measure: str, subject: str, unit: str, groups: Groups) -> Figure:
    """The mean over all values, each group drawn as a whole for the interval."""
    sums = np.array([float(sum(group)) for group in groups])
    counts = np.array([float(len(group)) for group in groups])

    def divide(weights_G: Floats) -> float:
        total = float(weights_G @ counts)
        return float(weights_G @ sums) / total if total else float("nan")

    return measure_groups(measure, subject, unit, int(counts.sum()), len(groups), divide)


def measure_groups(
    measure: str,
    subject: str,
    unit: str,
    count: int,
    num_groups: int,
    score: Callable[[Floats], float],
) -> Figure:
    """Any score of weighted groups. `score` is given how often each group is counted, (G,), ones at first."""
    if not count:
        return Figure(measure, subject, None, None, None, 0, unit)
    value = score(np.ones(num_groups))
    low, high = draw_interval(num_groups, score)
    return Figure(measure, subject, value, low, high, count, unit)


def draw_interval(num_groups: int, score: Callable[[Floats], float]) -> tuple[float | None, float | None]:
    """The central interval of a score over groups drawn with replacement; always the same draws."""
    if num_groups < 2:
        return None, None
    generator = np.random.default_rng(_SEED)
    draws_RG = generator.multinomial(num_groups, np.full(num_groups, 1 / num_groups), NUM_RESAMPLES)
    scores = np.array([score(weights_G) for weights_G in draws_RG.astype(np.float64)])
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return None, None
    low, high = np.quantile(scores, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)
