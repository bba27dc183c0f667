"""From scored moments to ranked objects: one moment, or one moment a step, for each object.

Relations, counts and "stops" need a look at what is around a moment, which is dear. So objects are first
ordered by what they can reach at most, and looked at in that order, until nothing that is left can come
before what was found. The answer is the same as if all had been looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tubelet.index.held_columns import Rows
from tubelet.index.searching.candidates import Candidates
from tubelet.index.searching.grouping import SCORE_DECIMALS, Groups
from tubelet.index.searching.judging import BEFORE_COLUMN, Values, to_numpy
from tubelet.index.searching.listing import Limits
from tubelet.index.searching.relating import Related, RelationJudge, measure_relation_factor
from tubelet.index.searching.scoring import RowScores
from tubelet.index.searching.sequences import match_steps, trace_steps
from tubelet.index.searching.surroundings import Surroundings, Window
from tubelet.index.searching.view import View
from tubelet.index.structured_query import Query
from tubelet.index.tables import ROW_ID

MAX_LOOKED_AT = 2_000
"""At most so many objects are looked at with what is around them."""

MOMENTS_LOOKED_AT = 4
"""Of an object's moments, the best so many are tried against what is around them."""

FIRST_BATCH, BATCH_GROWTH, MAX_BATCH = 64, 4, 256


@dataclass(frozen=True, slots=True)
class Ranked:
    """One object: the row of its best moment, its score, and for each step its row (None: no moment fits)."""

    row: int
    score: float
    steps: tuple[int | None, ...] = ()
    related: tuple[Related, ...] = ()
    count: float | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Objects, best first. `notes` say where not everything was looked at."""

    objects: Sequence[Ranked]
    moments: pa.Table
    notes: tuple[str, ...] = ()


def rank_objects(
    view: View, query: Query, candidates: Candidates, *, num_wanted: int, min_score: float
) -> Ranking:
    """The best `num_wanted` objects that reach `min_score`. Equal scores go by time, then by id."""
    if len(candidates.moments) == 0:
        return Ranking((), candidates.moments)
    groups = Groups(query, candidates)
    bound = groups.score_objects()
    changes = any(condition.kind == "change" for condition in query.list_conditions())
    if not (changes or query.relations or query.count):
        order = groups.sort_objects(bound, num_wanted)
        chosen = order[np.round(bound[order], SCORE_DECIMALS) >= min_score]
        ranked = [_choose(groups, groups.scores, int(number)) for number in chosen]
        return Ranking(ranked, groups.moments)
    return _look_around(view, groups, bound, changes=changes, num_wanted=num_wanted, min_score=min_score)


def _choose(groups: Groups, scores: RowScores, number: int) -> Ranked:
    """An object by its best moment, or by its best moments for the steps."""
    rows = groups.rows_of(number)
    totals = np.round(scores.total[rows], SCORE_DECIMALS)
    if not groups.query.steps:
        row = int(rows[np.argmax(totals)])
        return Ranked(row, float(scores.total[row]))
    factors = [step[rows] for step in scores.steps]
    places = trace_steps(groups.query.steps, factors)
    value = match_steps(groups.query.steps, factors, np.zeros(len(rows), dtype=np.int64))[0]
    score = float(scores.common[rows].max() * scores.likeness[rows].max() * value)
    steps = tuple(None if place is None else int(rows[place]) for place in places)
    shown = next((step for step in steps if step is not None), int(rows[np.argmax(totals)]))
    return Ranked(shown, score, steps)


def _look_around(
    view: View, groups: Groups, bound: Values, *, changes: bool, num_wanted: int, min_score: float
) -> Ranking:
    order = groups.sort_objects(bound, MAX_LOOKED_AT + 1)
    order = order[bound[order] >= min_score - 10**-SCORE_DECIMALS]
    num_possible = int((bound >= min_score - 10**-SCORE_DECIMALS).sum())
    found: list[Ranked] = []
    done, size = 0, FIRST_BATCH
    notes: tuple[str, ...] = ()
    while done < len(order):
        worst = -np.inf
        if len(found) >= num_wanted:
            worst = sorted((item.score for item in found), reverse=True)[num_wanted - 1]
            if worst > bound[order[done]] + 10**-SCORE_DECIMALS:
                break
        if done >= MAX_LOOKED_AT:
            notes = (f"relations, counts and stops were judged on the best {done} of {num_possible} objects",)
            break
        batch = order[done : done + min(size, MAX_LOOKED_AT - done)]
        batch = batch[bound[batch] + 10**-SCORE_DECIMALS >= worst]
        found += _look_at(view, groups, batch, changes=changes)
        done, size = done + len(batch), min(MAX_BATCH, size * BATCH_GROWTH)
    found = [item for item in found if round(item.score, SCORE_DECIMALS) >= min_score]
    found.sort(
        key=lambda item: (
            -round(item.score, SCORE_DECIMALS),
            groups.starts[item.row],
            groups.name_of(item.row),
        )
    )
    return Ranking(found[:num_wanted], groups.moments, notes)


def _look_at(view: View, groups: Groups, numbers: Rows, *, changes: bool) -> list[Ranked]:
    """Some objects, with what is around their best moments."""
    scores = _rescore(view, groups, numbers) if changes else groups.scores
    chosen = [_choose(groups, scores, int(number)) for number in numbers]
    if not (groups.query.relations or groups.query.count):
        return chosen
    tried = [
        _list_tries(groups, scores, item, int(number)) for item, number in zip(chosen, numbers, strict=True)
    ]
    rows = list(dict.fromkeys(row for tries in tried for _, met in tries for row in met))
    windows = [_make_window(groups, row) for row in rows]
    judge = RelationJudge(groups.query, Surroundings.load(view, groups.query, windows), windows)
    words = groups.moments["words"]
    looks = {row: _look(judge, groups.query, place, words[row].as_py()) for place, row in enumerate(rows)}
    best = []
    for tries in tried:
        options = [_apply(item, looks[row]) for item, met in tries for row in met]
        best.append(
            max(options, key=lambda item: (round(item.score, SCORE_DECIMALS), -groups.starts[item.row]))
        )
    return best


def _list_tries(
    groups: Groups, scores: RowScores, item: Ranked, number: int
) -> list[tuple[Ranked, tuple[int, ...]]]:
    """What an object may be ranked as, each with the moments at which its relations may hold."""
    if groups.query.steps:
        met = tuple(row for row in item.steps if row is not None) or (item.row,)
        return [(item, tuple(dict.fromkeys(met)))]
    rows = groups.rows_of(number)
    totals = np.round(scores.total[rows], SCORE_DECIMALS)
    best = rows[np.argsort(-totals, kind="stable")[:MOMENTS_LOOKED_AT]]
    return [(Ranked(int(row), float(scores.total[row])), (int(row),)) for row in best]


def _look(
    judge: RelationJudge, query: Query, place: int, words: str
) -> tuple[tuple[Related, ...], float | None]:
    return tuple(judge.judge_relations(place, words)), judge.judge_count(place) if query.count else None


def _apply(item: Ranked, look: tuple[tuple[Related, ...], float | None]) -> Ranked:
    related, count = look
    score = item.score
    for each in related:
        score *= measure_relation_factor(each.value)
    if count is not None:
        score *= measure_relation_factor(count)
    return Ranked(item.row, score, item.steps, related, count)


def _make_window(groups: Groups, row: int) -> Window:
    moments = groups.moments
    return Window(
        groups.name_of(row),
        moments["video_id"][row].as_py(),
        float(groups.starts[row]),
        float(moments["end_s"][row].as_py()),
    )


def _rescore(view: View, groups: Groups, numbers: Rows) -> RowScores:
    """The scores again, with what some objects did before each of their moments; others' stay as they are."""
    rows = np.concatenate([groups.rows_of(int(number)) for number in numbers])
    moments = groups.moments.take(rows)
    return groups.rescore(rows, moments.append_column(BEFORE_COLUMN, find_before(view, moments)))


def find_before(view: View, moments: pa.Table) -> pa.Array:
    """For each moment whether its object stood in the moment before, null in its first."""
    columns = ("object_id", "start_s", "stopped")
    everything = view.take(Limits(view).list_same_objects(moments[ROW_ID].to_pylist(), None), columns)
    told: dict[str, tuple[NDArray[np.float64], list[bool]]] = {}
    names = pc.cast(everything["object_id"], pa.string()).to_numpy(zero_copy_only=False).astype(str)
    starts = to_numpy(everything["start_s"])
    stopped = everything["stopped"].to_pylist()
    order = np.lexsort((starts, names))
    is_edge = np.append(True, names[order][1:] != names[order][:-1])[: len(order)]
    edges: list[int] = np.flatnonzero(is_edge).tolist()
    for first, last in zip(edges, [*edges[1:], len(order)][: len(edges)], strict=True):
        rows = order[first:last]
        told[str(names[rows[0]])] = (starts[rows], [stopped[row] for row in rows])
    before: list[bool | None] = []
    for name, start_s in zip(moments["object_id"].to_pylist(), to_numpy(moments["start_s"]), strict=True):
        times, states = told[name]
        place = int(np.searchsorted(times, start_s - 1e-6))
        before.append(states[place - 1] if place else None)
    return pa.array(before, pa.bool_())
