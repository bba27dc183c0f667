"""Lists of the best rows within limits: the nearest to a vector, and those that full text ranks highest.

Where the limits' columns are held in memory, one walk through the nearest rows of all serves every list: each
takes the first that pass. A list that the walk does not fill is made by LanceDB, with the limit in it, so a
list never lacks a row for having been made the quick way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tubelet.index.held_columns import HeldColumns, Mask, Rows
from tubelet.index.searching.view import View
from tubelet.index.searching.where import Where
from tubelet.index.sql import join_all, make_name_filter
from tubelet.index.tables import ROW_ID

MIN_WALK, MAX_WALK = 1_000, 10_000
"""So many rows are walked through."""

WALK_MARGIN = 1.5
"""How many more rows are walked through than would do if the limits had nothing to do with the ranking."""

Rank = Callable[[str | None, int], list[int]]
"""Ids of the best rows within a limit, so many at most."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Rows in the order of a list. `is_all`: no other row is ranked at all."""

    rows: HeldColumns
    is_all: bool


class Limits:
    """What limits let through, by the columns in memory where they are held, else by asking LanceDB."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.held = view.held
        self._masks: dict[str, Mask | None] = {}

    def count(self, where: Where | None) -> int:
        """How many moments a limit lets through."""
        mask = self.find_mask(where)
        if mask is not None:
            return int(np.count_nonzero(mask))
        if where is None:
            return self._view.num_moments
        return self._view.count(where.sql)

    def find_mask(self, where: Where | None) -> Mask | None:
        """Which of the held moments pass; None where that cannot be told by them."""
        if self.held is None or where is None or where.test is None:
            return None
        if where.sql not in self._masks:
            self._masks[where.sql] = where.test(self.held)
        return self._masks[where.sql]

    def list_passing(self, where: Where | None) -> Rows | None:
        """Places of the held moments that pass; None where that cannot be told by them."""
        if self.held is None:
            return None
        if where is None:
            return np.arange(len(self.held))
        mask = self.find_mask(where)
        return None if mask is None else np.flatnonzero(mask)

    def list_same_objects(self, rows: Sequence[int], where: Where | None) -> list[int]:
        """Ids of all moments, within a limit, of the objects that these rows are of."""
        if self.held is None or (where is not None and where.test is None):
            objects = self._view.take(rows, ["object_id"])["object_id"].unique().to_pylist()
            own = join_all([None if where is None else where.sql, make_name_filter("object_id", objects)])
            ids: list[int] = self._view.read(own, ["object_id"])[ROW_ID].to_pylist()
            return ids
        same = self.held.find_same("object_id", self.held.find(rows))
        mask = self.find_mask(where)
        ids = self.held.row_ids[same if mask is None else same & mask].tolist()
        return ids

    def list_videos(self, where: Where, most_rows: int) -> list[str] | None:
        """The videos that hold a moment that passes; None where more than so many pass."""
        mask = self.find_mask(where)
        if mask is None or self.held is None:
            rows = self._view.read(where.sql, ["video_id"], limit=most_rows + 1)["video_id"]
        else:
            rows = self.held.table["video_id"].filter(pa.array(mask))
        return None if len(rows) > most_rows else pc.cast(rows, pa.string()).unique().to_pylist()

    def walk(self, rank: Rank, where: Where | None, wanted: int, *, by_words: bool) -> Walk | None:
        """The best rows of all, so many that the first within a limit should be among them.

        None where columns in memory cannot tell which pass. An index of vectors may end before all are seen,
        one of words does not.
        """
        mask = self.find_mask(where)
        if self.held is None or (where is not None and mask is None):
            return None
        passing = len(self.held) if mask is None else max(1, int(np.count_nonzero(mask)))
        needed = math.ceil(WALK_MARGIN * wanted * len(self.held) / passing)
        length = max(wanted, MIN_WALK, min(MAX_WALK, needed))
        row_ids = np.array(rank(None, length), dtype=np.uint64)
        places = self.held.find(row_ids)
        return Walk(self.held.take(places[places >= 0]), by_words and len(row_ids) < length)

    def pick(self, walk: Walk | None, where: Where | None, wanted: int) -> list[int] | None:
        """Ids of the best rows within a limit, from a walk; None where it does not tell them."""
        if walk is None or self.held is None:
            return None
        if where is None:
            first: list[int] = walk.rows.row_ids[:wanted].tolist()
            return first
        if where.test is None:
            return None
        passing: list[int] = walk.rows.row_ids[where.test(walk.rows)][:wanted].tolist()
        if len(passing) == wanted or walk.is_all:
            return passing
        mask = self.find_mask(where)
        if mask is None or np.count_nonzero(mask) > wanted:
            return None
        everything: list[int] = self.held.row_ids[mask].tolist()
        return everything
