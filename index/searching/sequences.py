"""Steps on one object: the best moments for "stops, then turns left", in time order.

Each step is put on a moment, later than the one of the step before (or the same one, where the step allows
it), or on none, which costs the step's floor. The best choice is found by dynamic programming over an
object's moments in time order: with g_i(m) the factor of step i on moment m, f_i its floor, and p the moment
before m,

    M_0(m) = 1        M_i(m) = max( M_i(p), g_i(m) * M_(i-1)(p), f_i * M_(i-1)(m) )

where M_i before the first moment is f_1 * ... * f_i. The object's value is M_k of its last moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from tubelet.index.searching.judging import FLOORS, Values
from tubelet.index.structured_query import Step

Codes = NDArray[np.int64]


def measure_floor(step: Step) -> float:
    """What a step that no moment meets leaves of the score."""
    return prod(FLOORS[condition.kind] for condition in step.conditions)


def match_steps(steps: Sequence[Step], factors: Sequence[Values], objects: Codes) -> Values:
    """The value of each object, 0..1, by its number.

    Rows are moments, sorted by object and then by time; `objects` numbers them from 0 without gaps, and
    `factors` holds one row of factors for each step.
    """
    first = np.flatnonzero(np.diff(objects, prepend=-1))
    last = np.append(first[1:], len(objects)) - 1
    best = np.ones(len(objects))
    missed = 1.0
    for step, factor in zip(steps, factors, strict=True):
        if step.same_moment:
            before = best
        else:
            before = np.roll(best, 1)
            before[first] = missed
        floor = measure_floor(step)
        best = np.maximum(_highest_so_far(factor * before, objects), best * floor)
        missed *= floor
    values: Values = best[last]
    return values


def trace_steps(steps: Sequence[Step], factors: Sequence[Values]) -> list[int | None]:
    """The moment of each step, by its place, for one object's moments in time order; None for a step without.

    Of several best choices, the earliest moments are given.
    """
    count = len(factors[0])
    best = [[1.0] * (count + 1)]  # best[i][m]: steps up to i on moments before m
    chosen: list[list[int | None]] = []
    for step, factor in zip(steps, factors, strict=True):
        floor, before = measure_floor(step), best[-1]
        row, picks = [before[0] * floor], [None]  # type: list[float], list[int | None]
        for place in range(count):
            value = float(factor[place]) * before[place + 1 if step.same_moment else place]
            options = [(row[-1], picks[-1]), (before[place + 1] * floor, None), (value, place)]
            top = max(option[0] for option in options)
            row.append(top)
            picks.append(next(pick for option, pick in options if option >= top - 1e-12))
        best.append(row)
        chosen.append(picks)
    places: list[int | None] = []
    end = count
    for step, picks in zip(reversed(steps), reversed(chosen), strict=True):
        picked = picks[end]
        places.append(picked)
        if picked is not None:
            end = picked + 1 if step.same_moment else picked
    return places[::-1]


def _highest_so_far(values: Values, objects: Codes) -> Values:
    """The running maximum within each object; values are at most 1, so its number keeps it apart."""
    shifted: Values = np.maximum.accumulate(values + 2.0 * objects) - 2.0 * objects
    return shifted
