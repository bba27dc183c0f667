"""Which moments are scored: all that pass the filters, or the best of several lists where those are many.

Vector and full-text search run separately and each is given the filters itself, because LanceDB's hybrid
search has applied filters wrongly in some versions. The lists only name rows; those are read once, their
cosines are computed from the whole vectors, and one formula scores them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tubelet.index.held_columns import HeldColumns, Rows
from tubelet.index.searching.grouping import Groups
from tubelet.index.searching.judging import SCORED_COLUMNS, Values, to_numpy
from tubelet.index.searching.listing import Limits
from tubelet.index.searching.requirements import make_requirement
from tubelet.index.searching.scoring import leave_out_texts, score_rows
from tubelet.index.searching.view import DISTANCE, View
from tubelet.index.searching.where import Where, all_of, among
from tubelet.index.structured_query import Condition, Query
from tubelet.index.tables import ROW_ID
from tubelet.index.words import tokenize

EXACT_MAX_ROWS = 50_000
"""Up to so many moments pass the filters, all of them are scored."""

MIN_CANDIDATES = 200
CANDIDATES_A_HIT = 20
MAX_TEXT_TOKENS = 64

MAX_LISTS = 8
"""So many lists are made side by side."""

MAX_OTHER_ROWS, MAX_OTHER_VIDEOS = 20_000, 2_000
"""A list of their own is given to videos that hold the other object of a relation, up to so many."""

MAX_TAKEN_ROWS = 5_000
"""More rows than this are read by a scan of all that pass the filters, which is quicker than one by one."""

KEY_COLUMNS = ("object_id", "video_id", "start_s", "end_s")

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ask:
    """What candidates are looked for by: the query, its vectors, its filters, and columns to read.

    `keeps` is a filter that needs whole paths: which rows of a table it lets through.
    """

    query: Query
    text_vector: Vector | None = None
    look_vector: Vector | None = None
    where: Where | None = None
    columns: tuple[str, ...] = (*KEY_COLUMNS, *SCORED_COLUMNS)
    keeps: Callable[[pa.Table], NDArray[np.bool_]] | None = None

    @property
    def sql(self) -> str | None:
        """The filters as SQL."""
        return None if self.where is None else self.where.sql


@dataclass(frozen=True, slots=True)
class Candidates:
    """Moments to score, with their row ids. `is_all`: every moment that passes the filters was looked at.

    `cosines` are to the text's vector and `looks` to the object's; NaN where a moment has no vector, None
    where the query has none. `num_rows` pass the filters.
    """

    moments: pa.Table
    num_rows: int
    is_all: bool
    cosines: Values | None = None
    looks: Values | None = None
    num_left_out: int = 0

    def take(self, rows: Rows) -> Candidates:
        """Some of the moments."""
        return replace(
            self,
            moments=self.moments.take(rows),
            cosines=None if self.cosines is None else self.cosines[rows],
            looks=None if self.looks is None else self.looks[rows],
        )


def find_candidates(
    view: View, ask: Ask, num_wanted: int, exact_max_rows: int, num_objects: int | None = None
) -> Candidates:
    """All moments that pass the filters; where they are many, the best `num_wanted` of each list.

    Where only the best `num_objects` are wanted, moments of objects that cannot be among them may be missing.
    Where order is asked, all moments of their objects are there.
    """
    limits = Limits(view)
    num_rows = limits.count(ask.where)
    if num_rows <= exact_max_rows:
        return _keep(ask, _read_all(view, limits, ask, num_rows, num_objects))
    if ask.text_vector is None and ask.look_vector is None:
        rows = _scan(view, ask, num_wanted)
    else:
        rows = _list_rows(view, limits, ask, num_wanted)
    if ask.query.steps and rows:
        rows = limits.list_same_objects(rows, ask.where)
    kept = rows
    if num_objects is not None and view.held is not None and _is_told_by_memory(ask):
        kept = _list_promising(view.held, ask, view.held.find(rows), num_objects)
    found = _measure(ask, view.take(kept, _name_columns(view, ask)), num_rows)
    return _keep(ask, replace(found, num_left_out=len(rows) - len(kept)))


def _list_rows(view: View, limits: Limits, ask: Ask, num_wanted: int) -> list[int]:
    """Row ids from every list, the first list's first. The lists are made side by side."""
    column, vector = (
        ("object_vector", ask.look_vector) if ask.text_vector is None else ("text_vector", ask.text_vector)
    )
    assert vector is not None, "lists are by a vector"
    ranks: list[partial[list[int]]] = [partial(view.list_nearest, column, vector)]
    if ask.text_vector is not None and ask.look_vector is not None:
        ranks.append(partial(view.list_nearest, "object_vector", ask.look_vector))
    if tokens := list(dict.fromkeys(tokenize(ask.query.text)))[:MAX_TEXT_TOKENS]:
        ranks.append(partial(view.list_by_words, tokens))
    with ThreadPoolExecutor(MAX_LISTS) as pool:
        walks = [
            pool.submit(limits.walk, rank, ask.where, num_wanted, by_words=rank.func == view.list_by_words)
            for rank in ranks
        ]
        near = list(_list_limits(limits, ask))
        wanted = [(ranks[0], walks[0], where) for where in near]
        wanted += [(rank, walk, ask.where) for rank, walk in zip(ranks[1:], walks[1:], strict=True)]
        lists: list[Future[list[int]] | list[int]] = []
        for rank, walk, where in wanted:
            picked = limits.pick(walk.result(), where, num_wanted)
            if picked is None:
                lists.append(pool.submit(rank, None if where is None else where.sql, num_wanted))
            else:
                lists.append(picked)
        listed = [rows if isinstance(rows, list) else rows.result() for rows in lists]
    return list(dict.fromkeys(row for rows in listed for row in rows))


def _list_limits(limits: Limits, ask: Ask) -> Iterable[Where | None]:
    """The limits of each list of nearest moments: those of the search, and more with what is wished for."""
    yield ask.where
    for conditions in _list_wishes(ask.query):
        required = all_of(make_requirement(condition) for condition in conditions)
        if required is not None:
            yield all_of([ask.where, required])
    for videos in _list_videos_of_others(limits, ask.query):
        wished = [make_requirement(condition) for condition in ask.query.conditions]
        yield all_of([ask.where, *wished, among("video_id", videos)])


def _list_wishes(query: Query) -> Iterable[Sequence[Condition]]:
    """Conditions that one moment may meet together."""
    if not query.steps:
        yield query.conditions
    for step in query.steps:
        yield (*query.conditions, *step.conditions)


def _list_videos_of_others(limits: Limits, query: Query) -> Iterable[Sequence[str]]:
    """For each relation, the videos that hold such another object, where those are few."""
    for relation in query.relations:
        required = all_of(make_requirement(condition) for condition in relation.conditions)
        if required is None or relation.negated:
            continue
        videos = limits.list_videos(required, MAX_OTHER_ROWS)
        if videos and len(videos) <= MAX_OTHER_VIDEOS:
            yield videos


def _scan(view: View, ask: Ask, num_wanted: int) -> list[int]:
    """Without a vector: every moment is scored, batch by batch, and the best are kept, for each step."""
    kept = [_Best(num_wanted) for _ in range(max(1, len(ask.query.steps)))]
    for batch in view.scan(ask.sql, [*_name_columns(view, ask), ROW_ID]):
        if ask.keeps is not None:
            batch = batch.filter(pa.array(ask.keeps(batch)))
        scores = score_rows(ask.query, batch)
        order = [to_numpy(batch["start_s"]), to_numpy(batch[ROW_ID])]
        for best, step in zip(kept, scores.steps or (np.ones(len(batch)),), strict=True):
            best.add(scores.total * step, *order)
    return list(dict.fromkeys(row for best in kept for row in best.list_rows()))


class _Best:
    """The rows with the highest scores so far; equal ones go by time, then by row."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept = np.empty((3, 0))

    def add(self, scores: Values, starts: Values, rows: Values) -> None:
        """Look at more rows."""
        together = np.concatenate([self._kept, np.stack([-scores, starts, rows])], axis=1)
        order = np.lexsort(together[::-1])[: self._size]
        self._kept = together[:, order]

    def list_rows(self) -> list[int]:
        """Ids of the best rows, best first."""
        rows: list[int] = self._kept[2].astype(np.int64).tolist()
        return rows


def _read_all(view: View, limits: Limits, ask: Ask, num_rows: int, num_objects: int | None) -> Candidates:
    """Every moment that passes the filters, or all that can matter; distances by an exact scan."""
    named = _name_columns(view, ask)
    columns = view.list_unheld(named)
    if ask.text_vector is None and ask.look_vector is None:
        return Candidates(view.read(ask.sql, named), num_rows, True)
    if num_objects is not None and _is_told_by_memory(ask):
        places = limits.list_passing(ask.where)
        if view.held is not None and places is not None:
            return _read_promising(view, view.held, ask, places, num_objects)
    by_text = (
        None
        if ask.text_vector is None
        else view.measure_distances("text_vector", ask.text_vector, ask.sql, num_rows, columns)
    )
    if ask.look_vector is None:
        assert by_text is not None, "one of the vectors is there"
        cosines = 1 - to_numpy(by_text[DISTANCE])
        return Candidates(view.add_held(by_text, named), num_rows, True, cosines)
    wanted = columns if by_text is None else [ROW_ID]
    by_look = view.measure_distances("object_vector", ask.look_vector, ask.sql, num_rows, wanted)
    if by_text is None:
        by_text = by_look
    looks = dict(zip(by_look[ROW_ID].to_pylist(), (1 - to_numpy(by_look[DISTANCE])).tolist(), strict=True))
    return Candidates(
        view.add_held(by_text, named),
        num_rows,
        True,
        cosines=None if ask.text_vector is None else 1 - to_numpy(by_text[DISTANCE]),
        looks=np.array([looks.get(row, np.nan) for row in by_text[ROW_ID].to_pylist()], dtype=np.float64),
    )


def _is_told_by_memory(ask: Ask) -> bool:
    """Whether columns in memory tell what an object can reach at most, so that few vectors need be read."""
    query = ask.query
    if ask.look_vector is not None or ask.keeps is not None or query.relations or query.count:
        return False
    conditions = tuple(query.list_conditions())
    return any(condition.kind != "word" for condition in conditions) and all(
        condition.kind != "change" for condition in conditions
    )


def _read_promising(view: View, held: HeldColumns, ask: Ask, places: Rows, num_objects: int) -> Candidates:
    """The moments of those objects, of all at these places, that can be among the best so many."""
    kept = _list_promising(held, ask, places, num_objects)
    columns = _name_columns(view, ask)
    found = view.take(kept, columns) if len(kept) <= MAX_TAKEN_ROWS else view.read(ask.sql, columns)
    num_left_out = len(places) - len(found)
    return replace(_measure(ask, found, len(places)), is_all=True, num_left_out=num_left_out)


def _list_promising(held: HeldColumns, ask: Ask, places: Rows, num_objects: int) -> list[int]:
    """Ids of the rows, of those at these places, of objects that can be among the best so many.

    Without the texts the score is what an object reaches at most, and they leave a known share of it.
    """
    bare, least_share = leave_out_texts(ask.query)
    some = held.take(places)
    groups = Groups(bare, Candidates(some.table, len(places), False))
    rows: list[int] = some.row_ids[groups.find_promising(least_share, num_objects)].tolist()
    return rows


def _measure(ask: Ask, found: pa.Table, num_rows: int) -> Candidates:
    """Cosines from the vectors of moments that were read with them."""
    return Candidates(
        found,
        num_rows,
        False,
        None if ask.text_vector is None else _measure_cosines(found["text_vector"], ask.text_vector),
        None if ask.look_vector is None else _measure_cosines(found["object_vector"], ask.look_vector),
    )


def _measure_cosines(column: pa.ChunkedArray, vector: Vector) -> Values:
    """Cosines of a column's vectors to one; NaN for what has none."""
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    flat = whole.fill_null([0.0] * len(vector)).flatten() if whole.null_count else whole.flatten()
    vectors = flat.to_numpy(zero_copy_only=False).reshape(len(whole), len(vector)).astype(np.float64)
    own = vector.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(own)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines: Values = np.where(lengths > 0, vectors @ own / lengths, np.nan)
    return cosines


def _keep(ask: Ask, found: Candidates) -> Candidates:
    """Without what is not let through."""
    return found if ask.keeps is None else found.take(np.flatnonzero(ask.keeps(found.moments)))


def _name_columns(view: View, ask: Ask) -> list[str]:
    vectors = [
        column
        for column, vector in (("text_vector", ask.text_vector), ("object_vector", ask.look_vector))
        if vector is not None
    ]
    return view.name_columns(*ask.columns, *vectors)
