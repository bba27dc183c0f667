"""Relations of objects to others, and counts, judged on their paths.

    v(relation) = max over other objects o of  g(kind, path, path of o) * q(o)

g is the relation's formula (geometry.py) and q how well the other object meets what is asked of it: the
product of its conditions' values, at its best moment nearby.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tubelet.index.held_columns import Rows
from tubelet.index.searching.geometry import find_reach, measure_relations
from tubelet.index.searching.judging import UNKNOWN, Values, measure_fit
from tubelet.index.searching.surroundings import (
    LEAST_FIT,
    MARGIN_S,
    ORDER_MARGIN_S,
    ORDERED,
    Surroundings,
    Window,
)
from tubelet.index.structured_query import Count, Query, Relation
from tubelet.index.words import tokenize

RELATION_FLOOR = 0.4
"""What a relation or a count that is not met leaves of the score."""

CAPTION_EVIDENCE = 0.8
"""How well a relation is met whose words the caption holds, where the paths show less."""

MAX_OTHERS = 24
"""So many other objects, those that fit best, are measured against a moment."""

_COUNTED = 0.5
"""From here on an object counts as one that was asked for."""


@dataclass(frozen=True, slots=True)
class Related:
    """How well one relation is met by a moment (NaN: nobody can say), and by which other object."""

    relation: Relation
    value: float
    object_id: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class _Met:
    """How well other objects meet a relation to windows: those of window w, the best first, are from
    `edges[w]` to `edges[w + 1]`, each with its first row."""

    values: Values
    rows: Rows
    edges: Rows


class RelationJudge:
    """Judges relations and the count of a query on moments whose surroundings are loaded."""

    def __init__(self, query: Query, surroundings: Surroundings, windows: Sequence[Window]) -> None:
        self._query = query
        self._around = surroundings
        self._mentions = [set(tokenize(relation.phrase)) for relation in query.relations]
        self._met = [self._measure(relation, windows) for relation in query.relations]
        self._num_others = self._count_others(windows) if query.count else None

    def judge_relations(self, place: int, words: str) -> list[Related]:
        """Every relation of the query, on the window at a place, whose moment's stemmed words are given."""
        return [
            self._judge(relation, mentions, met, place, words)
            for relation, mentions, met in zip(self._query.relations, self._mentions, self._met, strict=True)
        ]

    def judge_count(self, place: int) -> float:
        """How near the number of such objects at the same time is to the one that is asked, 0..1."""
        assert self._num_others is not None, "a count is asked"
        assert self._query.count is not None, "a count is asked"
        return compare_count(1 + int(self._num_others[place]), self._query.count)

    def _judge(self, relation: Relation, mentions: set[str], met: _Met, place: int, words: str) -> Related:
        part = slice(met.edges[place], met.edges[place + 1])
        values: list[float] = met.values[part].tolist()
        value = _combine(values, relation.count)
        name = self._name(int(met.rows[part][0])) if values and values[0] > 0 else ("", "")
        if relation.negated:
            return Related(relation, 1 - value, *name)
        if mentions and all(f" {word} " in words for word in mentions):
            value = max(value, CAPTION_EVIDENCE)
        elif relation.kind == "touches" and value == 0:  # what somebody holds is seldom an object of its own
            value = np.nan
        return Related(relation, value, *name)

    def _measure(self, relation: Relation, windows: Sequence[Window]) -> _Met:
        """How well the others of each window meet a relation, of the `MAX_OTHERS` that fit best."""
        ordered = relation.kind in ORDERED
        margin_s = ORDER_MARGIN_S if ordered else MARGIN_S
        fits = measure_fit(relation.conditions, self._around.moments)
        others = self._around.find_others(windows, margin_s, fits, LEAST_FIT, find_reach(relation.kind))
        others = others.keep_best(MAX_OTHERS)
        own = self._around.join_own(windows, 0.0 if ordered else margin_s)
        if not ordered:
            limits = np.array([(window.start_s - margin_s, window.end_s + margin_s) for window in windows])
            own = own.cut(*limits.T)
        seen = measure_relations(relation.kind, own.take(others.windows), self._around.join_others(others))
        values = others.fits * seen
        order = np.lexsort((-values, others.windows))
        edges = np.searchsorted(others.windows, np.arange(len(windows) + 1))
        return _Met(values[order], others.rows[others.edges[:-1]][order], edges)

    def _count_others(self, windows: Sequence[Window]) -> Rows:
        """How many other objects, such as are counted, are seen at the same time as each window."""
        fits = measure_fit(self._query.conditions, self._around.moments)
        others = self._around.find_others(windows, 0.0, fits, _COUNTED)
        return np.bincount(others.windows, minlength=len(windows))

    def _name(self, row: int) -> tuple[str, str]:
        moments = self._around.moments
        return moments["object_id"][row].as_py(), moments["label"][row].as_py()


def measure_relation_factor(value: float) -> float:
    """What a relation or a count multiplies the score by."""
    return RELATION_FLOOR + (1 - RELATION_FLOOR) * (UNKNOWN if np.isnan(value) else value)


def compare_count(found: int, wanted: Count) -> float:
    """1 within the limits, and the smaller over the larger number outside them."""
    if found < wanted.least:
        return found / wanted.least
    if wanted.most is not None and found > wanted.most:
        return wanted.most / found
    return 1.0


def _combine(values: Sequence[float], count: Count | None) -> float:
    """The best value, or that of the last one that a count needs, less where there are too many."""
    needed = 1 if count is None else count.least
    value = values[needed - 1] if len(values) >= needed else 0.0
    if count is not None and count.most is not None:
        value *= compare_count(max(count.least, sum(each >= _COUNTED for each in values)), count)
    return value
