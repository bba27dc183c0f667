"""Relations of objects to others, and counts, judged on their paths.

    v(relation) = max over other objects o of  g(kind, path, path of o) * q(o)

g is the relation's formula (geometry.py) and q how well the other object meets what is asked of it: the
product of its conditions' values, at its best moment nearby.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tubelet.index.searching.candidates import Rows
from tubelet.index.searching.geometry import find_reach, is_paired, measure_relation, measure_relations
from tubelet.index.searching.judging import UNKNOWN, Values, measure_fit
from tubelet.index.searching.pairs import Track
from tubelet.index.searching.surroundings import LEAST_FIT, MARGIN_S, ORDER_MARGIN_S, Surroundings, Window
from tubelet.index.structured_query import Count, Query, Relation
from tubelet.index.words import tokenize

RELATION_FLOOR = 0.4
"""What a relation or a count that is not met leaves of the score."""

CAPTION_EVIDENCE = 0.8
"""How well a relation is met whose words the caption holds, where the paths show less."""

MAX_OTHERS = 24
"""So many other objects, those that fit best, are measured against a moment."""

Met = tuple[float, Rows]
"""How well another object meets a relation, and its rows."""

_COUNTED = 0.5
"""From here on an object counts as one that was asked for."""


@dataclass(frozen=True, slots=True)
class Related:
    """How well one relation is met by a moment (NaN: nobody can say), and by which other object."""

    relation: Relation
    value: float
    object_id: str = ""
    label: str = ""


class RelationJudge:
    """Judges relations and the count of a query on moments whose surroundings are loaded."""

    def __init__(self, query: Query, surroundings: Surroundings, windows: Sequence[Window]) -> None:
        self._query = query
        self._around = surroundings
        self._labels = surroundings.moments["label"]
        self._fits = [measure_fit(relation.conditions, surroundings.moments) for relation in query.relations]
        self._mentions = [set(tokenize(relation.phrase)) for relation in query.relations]
        self._found = [
            self._measure_together(relation, fits, windows) if is_paired(relation.kind) else {}
            for relation, fits in zip(query.relations, self._fits, strict=True)
        ]
        self._own_fit = measure_fit(query.conditions, surroundings.moments) if query.count else None

    def judge_relations(self, window: Window, words: str) -> list[Related]:
        """Every relation of the query, on one moment, whose stemmed words are given."""
        return [
            self._judge(relation, fits, mentions, found, window, words)
            for relation, fits, mentions, found in zip(
                self._query.relations, self._fits, self._mentions, self._found, strict=True
            )
        ]

    def judge_count(self, window: Window) -> float:
        """How near the number of such objects at the same time is to the one that is asked, 0..1."""
        assert self._own_fit is not None, "a count is asked"
        assert self._query.count is not None, "a count is asked"
        others = self._around.find_others(window, 0.0, self._own_fit, _COUNTED)
        return compare_count(1 + len(others), self._query.count)

    def _judge(
        self,
        relation: Relation,
        fits: Values,
        mentions: set[str],
        known: Mapping[Window, list[Met]],
        window: Window,
        words: str,
    ) -> Related:
        found = known[window] if window in known else self._measure_others(relation, fits, window)
        value = _combine([each for each, _ in found], relation.count)
        if relation.negated:
            return Related(relation, 1 - value, *self._name(found))
        if mentions and all(f" {word} " in words for word in mentions):
            value = max(value, CAPTION_EVIDENCE)
        elif relation.kind == "touches" and value == 0:  # what somebody holds is seldom an object of its own
            value = np.nan
        return Related(relation, value, *self._name(found))

    def _measure_together(
        self, relation: Relation, fits: Values, windows: Sequence[Window]
    ) -> dict[Window, list[Met]]:
        """How well the others of each window meet a relation, the best first."""
        firsts, seconds = [], []
        found: dict[Window, list[Met]] = {}
        for window in windows:
            found[window] = self._find_others(relation, fits, window)
            if found[window]:
                own = self._join_own(relation, window)
                firsts += [own] * len(found[window])
                seconds += [self._around.join_tracks(rows) for _, rows in found[window]]
        values = iter(measure_relations(relation.kind, firsts, seconds))
        return {
            window: sorted(((fit * next(values), rows) for fit, rows in others), key=lambda met: -met[0])
            for window, others in found.items()
        }

    def _measure_others(self, relation: Relation, fits: Values, window: Window) -> list[Met]:
        """The same for one window, until none that is left can do better."""
        others = self._find_others(relation, fits, window)
        if not others:
            return []
        own = self._join_own(relation, window)
        needed = 1 if relation.count is None else relation.count.least
        measured: list[Met] = []
        for fit, rows in others:
            if len(measured) >= needed and fit <= measured[needed - 1][0] and not _has_most(relation.count):
                break
            track = self._around.join_tracks(rows)
            measured.append((fit * measure_relation(relation.kind, own, track), rows))
            measured.sort(key=lambda pair: -pair[0])
        return measured

    def _find_others(self, relation: Relation, fits: Values, window: Window) -> list[Met]:
        """Other objects that may meet a relation, those that fit best first, and how well they fit."""
        margin_s = _find_margin_s(relation)
        others = self._around.find_others(window, margin_s, fits, LEAST_FIT, find_reach(relation.kind))
        fitting = ((float(fits[rows].max()), rows) for rows in others)
        return sorted(fitting, key=lambda pair: -pair[0])[:MAX_OTHERS]

    def _join_own(self, relation: Relation, window: Window) -> Track:
        """The path of the window's object where the relation looks at it."""
        margin_s = _find_margin_s(relation)
        if margin_s == ORDER_MARGIN_S:
            return self._around.join_tracks(self._around.find_own(window, 0.0))
        own = self._around.join_tracks(self._around.find_own(window, margin_s))
        return own.cut(window.start_s - margin_s, window.end_s + margin_s)

    def _name(self, found: Sequence[tuple[float, Rows]]) -> tuple[str, str]:
        if not found or found[0][0] <= 0:
            return "", ""
        row = int(found[0][1][0])
        return self._around.moments["object_id"][row].as_py(), self._labels[row].as_py()


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


def _find_margin_s(relation: Relation) -> float:
    return ORDER_MARGIN_S if relation.kind in ("after", "before") else MARGIN_S


def _has_most(count: Count | None) -> bool:
    return count is not None and count.most is not None


def _combine(values: Sequence[float], count: Count | None) -> float:
    """The best value, or that of the last one that a count needs, less where there are too many."""
    needed = 1 if count is None else count.least
    value = values[needed - 1] if len(values) >= needed else 0.0
    if count is not None and count.most is not None:
        value *= compare_count(max(count.least, sum(each >= _COUNTED for each in values)), count)
    return value
