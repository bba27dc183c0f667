"""Search: candidates from the index, one score for each object, pages of hits.

A small index is searched exactly: every moment that passes the filters is scored. A large one gives
candidates from several lists (nearest vectors, full text, nearest vectors among the rows that meet every
condition), which are scored together by one formula: docs/search.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from tubelet.errors import QueryError
from tubelet.index.query_checks import check_filter, check_query
from tubelet.index.searching.asking import Numbers, make_ask
from tubelet.index.searching.candidates import (
    CANDIDATES_A_HIT,
    EXACT_MAX_ROWS,
    MIN_CANDIDATES,
    Candidates,
    find_candidates,
)
from tubelet.index.searching.cursor import MAX_OFFSET, Cursor, digest_query, read_cursor
from tubelet.index.searching.hits import make_hits
from tubelet.index.searching.ranking import rank_objects
from tubelet.index.searching.view import View
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import Query, SearchFilter
from tubelet.records import Hit

MAX_LIMIT = 10_000

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
    ask, notes = make_ask(view, query, within, given)
    found = find_candidates(view, ask, pool, exact_max_rows, num_objects=offset + limit + 1)
    ranking = rank_objects(
        view, query, _with_likeness(found), num_wanted=offset + limit + 1, min_score=min_score
    )
    chosen = ranking.objects[offset : offset + limit]
    more = len(ranking.objects) > offset + limit and offset + limit <= MAX_OFFSET
    if not more and not found.is_all:
        num_ranked = len(found.moments) + found.num_left_out
        notes += (f"the best {num_ranked} of {found.num_rows} moments were ranked: narrow the query",)
    return SearchPage(
        hits=tuple(make_hits(view, query, chosen, ranking.moments)),
        next_cursor=Cursor(digest, view.version, offset + limit, pool).write() if more else "",
        notes=(*notes, *ranking.notes),
        num_moments=found.num_rows,
        is_exact=found.is_all,
    )


def _with_likeness(found: Candidates) -> Candidates:
    """With cosines as columns, so that hits can tell them."""
    moments = found.moments
    for name, values in (("_cosine", found.cosines), ("_look", found.looks)):
        if values is not None:
            moments = moments.append_column(name, pa.array(values))
    cosines = None if found.cosines is None else np.nan_to_num(found.cosines, nan=0.0)
    looks = None if found.looks is None else np.nan_to_num(found.looks, nan=-1.0)
    return replace(found, moments=moments, cosines=cosines, looks=looks)


def _check_request(limit: int, min_score: float) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise QueryError(
            f"The limit is {limit}", expected=f"1 to {MAX_LIMIT} hits", do="ask for fewer or more hits"
        )
    if not 0 <= min_score <= 1:
        raise QueryError(f"The least score is {min_score}", expected="0 to 1", do="choose one in that range")
