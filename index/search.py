"""Search: candidates from the index, one score for each object, pages of hits.

A small index is searched exactly: every moment that passes the filters is scored. A large one gives
candidates from several lists (nearest vectors, full text, nearest vectors among the rows that meet every
condition), which are scored together by one formula: docs/search.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tubelet.errors import QueryError
from tubelet.index.query_checks import check_filter, check_query
from tubelet.index.searching.candidates import (
    CANDIDATES_A_HIT,
    EXACT_MAX_ROWS,
    KEY_COLUMNS,
    MIN_CANDIDATES,
    Ask,
    Candidates,
    Vector,
    find_candidates,
)
from tubelet.index.searching.cursor import MAX_OFFSET, Cursor, digest_query, read_cursor
from tubelet.index.searching.filters import (
    count_undated,
    join_all,
    make_name_filter,
    make_query_filter,
)
from tubelet.index.searching.hits import make_hits
from tubelet.index.searching.judging import SCORED_COLUMNS
from tubelet.index.searching.paths import find_time_limits, keep_in_region
from tubelet.index.searching.ranking import rank_objects
from tubelet.index.searching.view import View
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import Query, SearchFilter
from tubelet.records import Hit

MAX_LIMIT = 10_000

Numbers = Sequence[float] | NDArray[Any]

__all__ = ["MAX_LIMIT", "SearchFilter", "SearchPage", "search_moments", "search_page"]


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Hits, best first, and the cursor of the next page, empty on the last.

    `notes` say where less was done than was asked for. `num_moments` pass the filters; `is_exact` tells that
    all of them were scored.
    """

    hits: tuple[Hit, ...]
    next_cursor: str
    notes: tuple[str, ...]
    num_moments: int
    is_exact: bool


def search_moments(
    store: IndexStore,
    query: Query,
    query_vector: Numbers | None,
    *,
    limit: int = 10,
    min_score: float = 0.0,
    within: SearchFilter | None = None,
    exact_max_rows: int = EXACT_MAX_ROWS,
) -> list[Hit]:
    """The hits of the first page: see `search_page`."""
    page = search_page(
        store,
        query,
        query_vector,
        limit=limit,
        min_score=min_score,
        within=within,
        exact_max_rows=exact_max_rows,
    )
    return list(page.hits)


def search_page(
    store: IndexStore,
    query: Query,
    text_vector: Numbers | None = None,
    *,
    limit: int = 10,
    min_score: float = 0.0,
    within: SearchFilter | None = None,
    cursor: str = "",
    exact_max_rows: int = EXACT_MAX_ROWS,
) -> SearchPage:
    """The objects that fit best, each with its best moment, best first, or the page after a cursor.

    `text_vector` is that of the query's text; without one (here or in the query) only words, conditions and
    looks count. A cursor goes on with the index as it was at the first page.

    Raises QueryError for a limit, score, vector, cursor or query that cannot be meant.
    """
    within = within or SearchFilter()
    _check_request(limit, min_score)
    check_query(query)
    check_filter(within)
    given = query.text_vector if text_vector is None else text_vector
    digest = digest_query(query, within, min_score, np.asarray(given, dtype=np.float32).tobytes())
    start = read_cursor(cursor, digest) if cursor else None
    view = View(store) if start is None else View.at_version(store, start.version)
    pool = max(MIN_CANDIDATES, CANDIDATES_A_HIT * limit) if start is None else start.pool
    offset = 0 if start is None else start.offset
    ask, notes = _make_ask(view, query, within, given)
    found = find_candidates(view, ask, pool, exact_max_rows)
    ranking = rank_objects(
        view, query, _with_likeness(found), num_wanted=offset + limit + 1, min_score=min_score
    )
    chosen = ranking.objects[offset : offset + limit]
    more = len(ranking.objects) > offset + limit and offset + limit <= MAX_OFFSET
    if not more and not found.is_all:
        notes += (f"the best {len(found.moments)} of {found.num_rows} moments were ranked: narrow the query",)
    return SearchPage(
        hits=tuple(make_hits(view, query, chosen, ranking.moments)),
        next_cursor=Cursor(digest, view.version, offset + limit, pool).write() if more else "",
        notes=(*notes, *ranking.notes),
        num_moments=found.num_rows,
        is_exact=found.is_all,
    )


def _make_ask(view: View, query: Query, within: SearchFilter, text: Numbers) -> tuple[Ask, tuple[str, ...]]:
    """What candidates are looked for by, and what must be said about it."""
    notes: tuple[str, ...] = ()
    dated = query.time is not None and (query.time.since is not None or query.time.until is not None)
    videos = view.videos if dated else None
    if videos is not None:
        without = count_undated(videos)
        if without:
            notes = (f"{without} of {len(videos)} videos have no date and were left out",)
    where = make_query_filter(query, within, videos)
    look = _find_look(view, query)
    if look is not None:  # an object without a vector looks like nothing
        other = f"NOT ({_name_object(query.like)})" if query.like else None
        where = join_all([where, other, "object_vector IS NOT NULL"])
    columns: tuple[str, ...] = (*KEY_COLUMNS, *SCORED_COLUMNS)
    keeps = None
    if query.region is not None and query.region.how != "centre":
        start_s, end_s = find_time_limits(query, within)
        keeps = partial(keep_in_region, region=query.region, start_s=start_s, end_s=end_s)
        columns = (*columns, "path")
    vector = _check_vector(text, view.text_dimensions, "text") if len(text) else None
    says_something = bool(query.text or query.text_vector)
    return Ask(query, vector if says_something else None, look, where, columns, keeps), notes


def _find_look(view: View, query: Query) -> Vector | None:
    """The vector that hits should look like: the one that is given, or the mean of an object's."""
    if query.like and query.object_vector:
        raise QueryError(
            "Both an object to look like and an object vector were given",
            expected="one of them",
            do="leave one out",
        )
    if query.object_vector:
        return _check_vector(query.object_vector, view.object_dimensions, "object")
    if not query.like:
        return None
    columns = view.name_columns("object_id", "object_vector")
    rows = view.keep_visible(view.read(_name_object(query.like), columns))
    if len(rows) == 0:
        raise QueryError(
            f"There is no object {query.like!r}", expected="an id from a search", do="search again"
        )
    vectors = [] if "object_vector" not in columns else rows["object_vector"].drop_null().to_pylist()
    if not vectors:
        raise QueryError(
            f"No vector of object {query.like!r} is kept",
            expected="an object that was indexed by models that give object vectors",
            do="choose another object, or index with such models",
        )
    mean: NDArray[np.float32] = np.mean(np.array(vectors, dtype=np.float32), axis=0)
    return mean


def _name_object(object_id: str) -> str:
    return make_name_filter("object_id", [object_id])


def _with_likeness(found: Candidates) -> Candidates:
    """With cosines as columns, so that hits can tell them."""
    moments = found.moments
    for name, values in (("_cosine", found.cosines), ("_look", found.looks)):
        if values is not None:
            moments = moments.append_column(name, pa.array(values))
    cosines = None if found.cosines is None else np.nan_to_num(found.cosines, nan=0.0)
    looks = None if found.looks is None else np.nan_to_num(found.looks, nan=-1.0)
    return Candidates(moments, found.num_rows, found.is_all, cosines, looks)


def _check_request(limit: int, min_score: float) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise QueryError(
            f"The limit is {limit}", expected=f"1 to {MAX_LIMIT} hits", do="ask for fewer or more hits"
        )
    if not 0 <= min_score <= 1:
        raise QueryError(f"The least score is {min_score}", expected="0 to 1", do="choose one in that range")


def _check_vector(values: Numbers, dimensions: int, kind: str) -> Vector:
    vector = np.asarray(values, dtype=np.float32)
    if vector.shape != (dimensions,) or not np.isfinite(vector).all():
        raise QueryError(
            f"The {kind} vector of the query has shape {vector.shape}, or numbers that are not finite",
            expected=f"{dimensions} finite numbers"
            if dimensions
            else f"none: the index keeps no {kind} vectors",
            do="use the model that the index was made with",
        )
    return vector
