"""Candidates grouped by object, each object's moments in time order, without copying their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tubelet.index.held_columns import Rows
from tubelet.index.searching.judging import Values, to_numpy
from tubelet.index.searching.scoring import RowScores, score_rows
from tubelet.index.searching.sequences import match_steps
from tubelet.index.structured_query import Query

if TYPE_CHECKING:
    from tubelet.index.searching.candidates import Candidates

SCORE_DECIMALS = 9


class Groups:
    """Objects by number; rows are those of the candidates' table.

    `order` are all rows by object and time, object i from `first[i]` on; `numbers` are their objects.
    """

    def __init__(self, query: Query, candidates: Candidates) -> None:
        self.query = query
        self.candidates = candidates
        self.moments = candidates.moments
        self.starts = to_numpy(self.moments["start_s"])
        encoded = pc.dictionary_encode(_join_chunks(self.moments["object_id"]))
        used, codes = np.unique(encoded.indices.to_numpy(zero_copy_only=False), return_inverse=True)
        self.names = encoded.dictionary.take(pa.array(used))  # columns in memory know all names of the index
        self.order: Rows = np.lexsort((self.starts, codes))
        self.numbers: Rows = codes[self.order]
        self.first: Rows = np.searchsorted(self.numbers, np.arange(len(self.names)))
        self.scores = score_rows(query, self.moments, candidates.cosines, candidates.looks)

    def rows_of(self, number: int) -> Rows:
        """An object's rows in time order."""
        end = self.first[number + 1] if number + 1 < len(self.first) else len(self.order)
        return self.order[self.first[number] : end]

    def score_objects(self) -> Values:
        """What each object reaches, or reaches at most where its surroundings count."""
        scores = self.scores
        if not self.query.steps:
            return self._find_highest(scores.total)
        factors = [step[self.order] for step in scores.steps]
        values: Values = (
            self._find_highest(scores.common)
            * self._find_highest(scores.likeness)
            * match_steps(self.query.steps, factors, self.numbers)
        )
        return values

    def find_promising(self, least_share: float, num_wanted: int) -> Rows:
        """Rows of the objects that may be among the best so many, if an object reaches what it scores here at
        most, and that share of it at least."""
        scores = self.score_objects()
        if num_wanted >= len(scores):
            return np.sort(self.order)
        enough = np.partition(scores, len(scores) - num_wanted)[len(scores) - num_wanted]
        may = scores >= least_share * enough - 10.0 ** (1 - SCORE_DECIMALS)
        return np.sort(self.order[may[self.numbers]])

    def sort_objects(self, scores: Values, limit: int) -> Rows:
        """The best `limit` objects: by score, then by when their best moment begins, then by id."""
        rounded = np.round(scores, SCORE_DECIMALS)
        if limit < len(rounded):
            least = np.partition(rounded, len(rounded) - limit)[len(rounded) - limit]
            numbers = np.flatnonzero(rounded >= least)
        else:
            numbers = np.arange(len(rounded))
        names = self.names.take(pa.array(numbers)).to_numpy(zero_copy_only=False).astype(str)
        starts = self.starts[self._find_best_rows()[numbers]]
        order: Rows = numbers[np.lexsort((names, starts, -rounded[numbers]))][:limit]
        return order

    def name_of(self, row: int) -> str:
        """The object of a row."""
        name: str = self.moments["object_id"][row].as_py()
        return name

    def rescore(self, rows: Rows, moments: pa.Table) -> RowScores:
        """The scores with those of some rows made anew, from rows with more columns."""
        part = self.candidates.take(rows)
        new = score_rows(self.query, moments, part.cosines, part.looks)
        old = self.scores

        def put(whole: Values, some: Values) -> Values:
            whole = whole.copy()
            whole[rows] = some
            return whole

        return RowScores(
            put(old.common, new.common),
            tuple(put(a, b) for a, b in zip(old.steps, new.steps, strict=True)),
            put(old.likeness, new.likeness),
            put(old.total, new.total),
        )

    def _find_highest(self, values: Values) -> Values:
        highest: Values = np.maximum.reduceat(values[self.order], self.first)
        return highest

    def _find_best_rows(self) -> Rows:
        """Of each object the row with the highest total, the earliest of equal ones."""
        totals = np.round(self.scores.total[self.order], SCORE_DECIMALS)
        highest = np.maximum.reduceat(totals, self.first)
        places = np.flatnonzero(totals == highest[self.numbers])
        best: Rows = self.order[places[np.searchsorted(places, self.first)]]
        return best


def _join_chunks(column: pa.ChunkedArray) -> pa.Array:
    joined = column.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined
