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
from numpy.typing import NDArray

from tubelet.index.searching.candidates import Candidates, Rows
from tubelet.index.searching.filters import make_name_filter
from tubelet.index.searching.judging import BEFORE_COLUMN, Values, to_numpy
from tubelet.index.searching.relating import Related, RelationJudge, measure_relation_factor
from tubelet.index.searching.scoring import RowScores, score_rows
from tubelet.index.searching.sequences import match_steps, trace_steps
from tubelet.index.searching.surroundings import Surroundings, Window
from tubelet.index.searching.view import View
from tubelet.index.structured_query import Query

MAX_LOOKED_AT = 2_000
"""At most so many objects are looked at with what is around them."""

MOMENTS_LOOKED_AT = 4
"""Of an object's moments, the best so many are tried against what is around them."""

FIRST_BATCH, BATCH_GROWTH, MAX_BATCH = 32, 2, 256
SCORE_DECIMALS = 9


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


class _Table:
    """Candidates sorted by object and time, with their scores."""

    def __init__(self, query: Query, candidates: Candidates) -> None:
        names = candidates.moments["object_id"].to_numpy(zero_copy_only=False).astype(str)
        ids = candidates.moments["moment_id"].to_numpy(zero_copy_only=False).astype(str)
        order = np.lexsort((ids, to_numpy(candidates.moments["start_s"]), names))
        self.query = query
        self.candidates = candidates.take(order)
        self.moments = self.candidates.moments
        self.objects, self.ids = names[order], ids[order]
        self.starts = to_numpy(self.moments["start_s"])
        self.first = np.flatnonzero(np.append(True, self.objects[1:] != self.objects[:-1]))[: len(order)]
        self.numbers = np.repeat(
            np.arange(len(self.first)), np.diff(np.append(self.first, len(self.objects)))
        )
        self.scores = score_rows(query, self.moments, self.candidates.cosines, self.candidates.looks)

    def bound(self) -> Values:
        """What each object reaches, or reaches at most where its surroundings count."""
        return _score_objects(self.query, self.scores, self.numbers, self.first)

    def rows_of(self, number: int) -> Rows:
        """An object's rows."""
        end = self.first[number + 1] if number + 1 < len(self.first) else len(self.objects)
        return np.arange(self.first[number], end)


def rank_objects(
    view: View, query: Query, candidates: Candidates, *, num_wanted: int, min_score: float
) -> Ranking:
    """The best `num_wanted` objects that reach `min_score`. Equal scores go by time, then by id."""
    if len(candidates.moments) == 0:
        return Ranking((), candidates.moments)
    table = _Table(query, candidates)
    bound = table.bound()
    changes = any(condition.kind == "change" for condition in query.list_conditions())
    if not (changes or query.relations or query.count):
        order = _sort_objects(table, bound)
        chosen = order[: np.searchsorted(-np.round(bound[order], SCORE_DECIMALS), -min_score, side="right")]
        ranked = [_choose(table, table.scores, int(number)) for number in chosen[:num_wanted]]
        return Ranking(ranked, table.moments)
    return _look_around(view, table, bound, changes=changes, num_wanted=num_wanted, min_score=min_score)


def _score_objects(query: Query, scores: RowScores, numbers: Rows, first: Rows) -> Values:
    if not query.steps:
        totals: Values = np.maximum.reduceat(scores.total, first)
        return totals
    common, likeness = (np.maximum.reduceat(part, first) for part in (scores.common, scores.likeness))
    values: Values = common * likeness * match_steps(query.steps, scores.steps, numbers)
    return values


def _sort_objects(table: _Table, scores: Values) -> Rows:
    """Object numbers, best first, by score, then by when their best moment begins, then by id."""
    best = _find_best_rows(table, table.scores.total)
    names = table.objects[table.first]
    order: Rows = np.lexsort((names, table.starts[best], -np.round(scores, SCORE_DECIMALS)))
    return order


def _find_best_rows(table: _Table, totals: Values) -> Rows:
    """Of each object the row with the highest total, the earliest of equal ones."""
    order = np.lexsort((table.ids, table.starts, -np.round(totals, SCORE_DECIMALS), table.numbers))
    best: Rows = order[table.first]
    return best


def _choose(table: _Table, scores: RowScores, number: int) -> Ranked:
    """An object by its best moment, or by its best moments for the steps."""
    rows = table.rows_of(number)
    totals = np.round(scores.total[rows], SCORE_DECIMALS)
    if not table.query.steps:
        row = int(rows[np.argmax(totals)])
        return Ranked(row, float(scores.total[row]))
    factors = [step[rows] for step in scores.steps]
    places = trace_steps(table.query.steps, factors)
    value = match_steps(table.query.steps, factors, np.zeros(len(rows), dtype=np.int64))[0]
    score = float(scores.common[rows].max() * scores.likeness[rows].max() * value)
    steps = tuple(None if place is None else int(rows[place]) for place in places)
    shown = next((step for step in steps if step is not None), int(rows[np.argmax(totals)]))
    return Ranked(shown, score, steps)


def _look_around(
    view: View, table: _Table, bound: Values, *, changes: bool, num_wanted: int, min_score: float
) -> Ranking:
    order = _sort_objects(table, bound)
    order = order[bound[order] >= min_score - 10**-SCORE_DECIMALS]
    found: list[Ranked] = []
    done, size = 0, FIRST_BATCH
    notes: tuple[str, ...] = ()
    while done < len(order):
        if len(found) >= num_wanted:
            worst = sorted((item.score for item in found), reverse=True)[num_wanted - 1]
            if worst > bound[order[done]] + 10**-SCORE_DECIMALS:
                break
        if done >= MAX_LOOKED_AT:
            notes = (f"relations, counts and stops were judged on the best {done} of {len(order)} objects",)
            break
        batch = order[done : done + min(size, MAX_LOOKED_AT - done)]
        found += _look_at(view, table, batch, changes=changes)
        done, size = done + len(batch), min(MAX_BATCH, size * BATCH_GROWTH)
    found = [item for item in found if round(item.score, SCORE_DECIMALS) >= min_score]
    found.sort(
        key=lambda item: (
            -round(item.score, SCORE_DECIMALS),
            table.starts[item.row],
            str(table.objects[item.row]),
        )
    )
    return Ranking(found[:num_wanted], table.moments, notes)


def _look_at(view: View, table: _Table, numbers: Rows, *, changes: bool) -> list[Ranked]:
    """Some objects, with what is around their best moments."""
    scores = _rescore(view, table, numbers) if changes else table.scores
    chosen = [_choose(table, scores, int(number)) for number in numbers]
    if not (table.query.relations or table.query.count):
        return chosen
    tried = [
        _list_tries(table, scores, item, int(number)) for item, number in zip(chosen, numbers, strict=True)
    ]
    windows = {row: _make_window(table, row) for tries in tried for _, rows in tries for row in rows}
    margin_s = RelationJudge.needed_margin_s(table.query)
    around = Surroundings.load(view, list(windows.values()), margin_s)
    judge = RelationJudge(table.query, around)
    words = table.moments["words"]
    looks = {row: _look(judge, table.query, window, words[row].as_py()) for row, window in windows.items()}
    best = []
    for tries in tried:
        options = [_apply(item, looks[row]) for item, rows in tries for row in rows]
        best.append(
            max(options, key=lambda item: (round(item.score, SCORE_DECIMALS), -table.starts[item.row]))
        )
    return best


def _list_tries(
    table: _Table, scores: RowScores, item: Ranked, number: int
) -> list[tuple[Ranked, tuple[int, ...]]]:
    """What an object may be ranked as, each with the moments at which its relations may hold."""
    if table.query.steps:
        met = tuple(row for row in item.steps if row is not None) or (item.row,)
        return [(item, tuple(dict.fromkeys(met)))]
    rows = table.rows_of(number)
    totals = np.round(scores.total[rows], SCORE_DECIMALS)
    best = rows[np.argsort(-totals, kind="stable")[:MOMENTS_LOOKED_AT]]
    return [(Ranked(int(row), float(scores.total[row])), (int(row),)) for row in best]


def _look(
    judge: RelationJudge, query: Query, window: Window, words: str
) -> tuple[tuple[Related, ...], float | None]:
    return tuple(judge.judge_relations(window, words)), judge.judge_count(window) if query.count else None


def _apply(item: Ranked, look: tuple[tuple[Related, ...], float | None]) -> Ranked:
    related, count = look
    score = item.score
    for each in related:
        score *= measure_relation_factor(each.value)
    if count is not None:
        score *= measure_relation_factor(count)
    return Ranked(item.row, score, item.steps, related, count)


def _make_window(table: _Table, row: int) -> Window:
    moments = table.moments
    return Window(
        str(table.ids[row]),
        str(table.objects[row]),
        moments["video_id"][row].as_py(),
        float(table.starts[row]),
        float(moments["end_s"][row].as_py()),
    )


def _rescore(view: View, table: _Table, numbers: Rows) -> RowScores:
    """The scores again, with what some objects did before each of their moments; others' stay as they are."""
    rows = np.concatenate([table.rows_of(int(number)) for number in numbers])
    part = table.candidates.take(rows)
    moments = part.moments.append_column(BEFORE_COLUMN, find_before(view, part.moments))
    new = score_rows(table.query, moments, part.cosines, part.looks)
    old = table.scores

    def put(whole: Values, some: Values) -> Values:
        whole = whole.copy()
        whole[rows] = some
        return whole

    steps = tuple(put(a, b) for a, b in zip(old.steps, new.steps, strict=True))
    return RowScores(
        put(old.common, new.common), steps, put(old.likeness, new.likeness), put(old.total, new.total)
    )


def find_before(view: View, moments: pa.Table) -> pa.Array:
    """For each moment whether its object stood in the moment before, null in its first."""
    objects = moments["object_id"].unique().to_pylist()
    columns = view.name_columns("object_id", "start_s", "stopped")
    everything = view.keep_visible(view.read(make_name_filter("object_id", objects), columns))
    told: dict[str, tuple[NDArray[np.float64], list[bool]]] = {}
    names = everything["object_id"].to_numpy(zero_copy_only=False).astype(str)
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
