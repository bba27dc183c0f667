"""How many: distinct objects that meet a query, in all and by time, video, colour or other columns.

Counts are of what is measured and of words, never of how alike texts are: every moment that passes the
filters is scored without a vector, and an object counts when it reaches the least score. Words that nothing
explains are conditions here, so that "FedEx vans" counts no other vans.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

from tubelet.errors import QueryError
from tubelet.index.query_checks import check_filter, check_query
from tubelet.index.searching.asking import make_ask
from tubelet.index.searching.candidates import Ask, find_candidates
from tubelet.index.searching.filters import read_recorded
from tubelet.index.searching.grouping import SCORE_DECIMALS
from tubelet.index.searching.ranking import rank_objects
from tubelet.index.searching.scoring import score_rows
from tubelet.index.searching.view import View
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import Condition, Query, SearchFilter
from tubelet.index.tables import ROW_ID

By = Literal["", "time", "day", "hour", "video", "label", "colour", "size", "turn", "heading", "state"]

COUNT_MIN_SCORE = 0.8
"""From here on everything that was asked is met; a category that nobody knows stays just below."""

MAX_ORDERED_ROWS = 500_000
"""Orders, relations and counts are judged on so many moments at most."""

MAX_BINS = 100_000
_CALENDAR = {"day": (timedelta(days=1), "%Y-%m-%d"), "hour": (timedelta(hours=1), "%Y-%m-%dT%H")}
_COLUMN = {"label": "label", "size": "size", "turn": "turn", "heading": "heading", "video": "uri"}


@dataclass(frozen=True, slots=True)
class Bin:
    """Distinct objects, and their moments, of one group. `start_s` and `end_s` bound a stretch of time."""

    key: str
    num_objects: int
    num_moments: int
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Distinct objects that meet a query, their moments, and both by group. `notes` say what was left out."""

    num_objects: int
    num_moments: int
    bins: tuple[Bin, ...] = ()
    notes: tuple[str, ...] = ()


def count_objects(
    store: IndexStore,
    query: Query,
    *,
    by: By = "",
    bin_s: float = 60.0,
    min_score: float = COUNT_MIN_SCORE,
    within: SearchFilter | None = None,
) -> Aggregate:
    """Count the objects that reach `min_score`, in all and by group.

    By time, an object counts in every stretch of `bin_s` seconds of its video that one of its moments
    touches; by day and hour, those of the calendar, for videos that have a date.

    Raises QueryError for what cannot be counted by.
    """
    within = within or SearchFilter()
    _check(query, by, bin_s, min_score)
    check_filter(within)
    counted = replace(
        query,
        text="",
        text_vector=(),
        words=(),
        conditions=(*query.conditions, *(Condition("word", (word,)) for word in query.words)),
    )
    view = View(store)
    ask, notes = make_ask(view, counted, within, ())
    column = "colours" if by == "colour" else _COLUMN.get(by)
    ask = replace(ask, columns=(*ask.columns, *([column] if column else [])))
    tally = _Tally(by, bin_s, view if by in ("day", "hour") else None)
    if _looks_around(counted):
        notes += _count_ranked(view, counted, ask, min_score, tally)
    else:
        for batch in view.scan(ask.sql, [*view.name_columns(*ask.columns), ROW_ID]):
            if ask.keeps is not None:
                batch = batch.filter(pa.array(ask.keeps(batch)))
            fits = np.round(score_rows(counted, batch).total, SCORE_DECIMALS) >= min_score
            tally.add(batch.filter(pa.array(fits)))
    return Aggregate(len(tally.objects), tally.num_moments, tuple(tally.make_bins()), (*notes, *tally.notes))


def _check(query: Query, by: str, bin_s: float, min_score: float) -> None:
    check_query(query)
    if by not in get_args(By):
        known = ", ".join(name for name in get_args(By) if name)
        raise QueryError(f"Counting by {by!r}", expected=f"one of: {known}", do="choose one of them")
    if not (math.isfinite(bin_s) and bin_s >= 0.1):
        raise QueryError(f"A bin of {bin_s} s", expected="0.1 seconds or more", do="choose a longer one")
    if not 0 <= min_score <= 1:
        raise QueryError(f"The least score is {min_score}", expected="0 to 1", do="choose one in that range")
    if query.like or query.object_vector:
        raise QueryError(
            "Objects are counted by what they look like",
            expected="something that an object meets or does not",
            do="count by colour or category, or search by looks instead",
        )
    measured = query.conditions or query.steps or query.relations or query.count or query.words
    if (query.text or query.text_vector) and not measured:
        raise QueryError(
            f"Nothing in {query.text!r} can be counted",
            expected="a colour, a category, a motion, a place or a word of captions",
            do="say what the objects have in common",
        )


def _looks_around(query: Query) -> bool:
    """Whether one moment alone cannot tell."""
    changes = any(condition.kind == "change" for condition in query.list_conditions())
    return bool(changes or query.steps or query.relations or query.count)


def _count_ranked(view: View, query: Query, ask: Ask, min_score: float, tally: _Tally) -> tuple[str, ...]:
    """Count by ranked objects, each with the moments that were found for it."""
    found = find_candidates(view, ask, MAX_ORDERED_ROWS, MAX_ORDERED_ROWS)
    ranking = rank_objects(view, query, found, num_wanted=len(found.moments) + 1, min_score=min_score)
    rows = sorted({row for item in ranking.objects for row in (item.row, *item.steps) if row is not None})
    if rows:
        tally.add(ranking.moments.take(rows))
    if found.is_all:
        return ranking.notes
    kept = f"{len(found.moments)} of {found.num_rows}"
    return (f"orders and relations were judged on the best {kept} moments", *ranking.notes)


@dataclass(slots=True)
class _Tally:
    """Counts what is put in, group by group."""

    by: str
    bin_s: float
    view: View | None
    objects: set[str] = field(default_factory=set)
    num_moments: int = 0
    notes: tuple[str, ...] = ()
    _groups: dict[str, tuple[set[str], list[int]]] = field(default_factory=dict)
    _starts: Mapping[str, datetime | None] | None = None

    def add(self, moments: pa.Table) -> None:
        """Count some moments that meet the query."""
        names = moments["object_id"].to_pylist()
        self.objects.update(names)
        self.num_moments += len(names)
        if not self.by:
            return
        for name, keys in zip(names, self._list_keys(moments), strict=True):
            for key in keys:
                objects, count = self._groups.setdefault(key, (set(), [0]))
                objects.add(name)
                count[0] += 1
        if len(self._groups) > MAX_BINS:
            raise QueryError(
                f"There are more than {MAX_BINS} groups",
                expected="fewer",
                do="choose longer stretches",
            )

    def make_bins(self) -> Iterator[Bin]:
        """The groups: in time order, else the largest first."""
        if self.by == "time":
            for key in sorted(self._groups, key=int):
                objects, count = self._groups[key]
                start_s = int(key) * self.bin_s
                end_s = start_s + self.bin_s
                yield Bin(f"{start_s:g}-{end_s:g} s", len(objects), count[0], start_s, end_s)
            return
        order = sorted(self._groups)
        if self.by not in ("day", "hour"):
            order.sort(key=lambda key: -len(self._groups[key][0]))
        for key in order:
            objects, count = self._groups[key]
            yield Bin(key, len(objects), count[0])

    def _list_keys(self, moments: pa.Table) -> Iterable[Iterable[str]]:
        if self.by == "time":
            return [
                [str(place) for place in range(int(start // self.bin_s), int(end // self.bin_s) + 1)]
                for start, end in _list_spans(moments)
            ]
        if self.by in ("day", "hour"):
            return self._list_dates(moments)
        if self.by == "state":
            return [["stopped" if stopped else "moving"] for stopped in moments["stopped"].to_pylist()]
        if self.by == "colour":
            return [names[:1] or ["unknown"] for names in moments["colours"].to_pylist()]
        return [[value or "unknown"] for value in moments[_COLUMN[self.by]].to_pylist()]

    def _list_dates(self, moments: pa.Table) -> Iterable[list[str]]:
        assert self.view is not None, "dates need the videos"
        if self._starts is None:
            self._starts = {video.video_id: read_recorded(video) for video in self.view.videos}
        length, form = _CALENDAR[self.by]
        for video_id, (start_s, end_s) in zip(
            moments["video_id"].to_pylist(), _list_spans(moments), strict=True
        ):
            recorded = self._starts.get(video_id)
            if recorded is None:
                self.notes = ("objects of videos without a date are in no group",)
                yield []
                continue
            first, last = (recorded + timedelta(seconds=second) for second in (start_s, end_s))
            keys = []
            at = first.replace(minute=0, second=0, microsecond=0)
            at = at if self.by == "hour" else at.replace(hour=0)
            while at <= last:
                keys.append(at.strftime(form))
                at += length
            yield keys


def _list_spans(moments: pa.Table) -> Iterable[tuple[float, float]]:
    return zip(moments["start_s"].to_pylist(), moments["end_s"].to_pylist(), strict=True)
