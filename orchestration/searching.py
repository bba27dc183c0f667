"""From a request to hits: parse, embed, search, and look again where that is asked."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from tubelet.index.query import parse_query
from tubelet.index.search import search_page
from tubelet.index.searching.aggregating import COUNT_MIN_SCORE, Aggregate, By, count_objects
from tubelet.index.searching.verifying import DEFAULT_SECONDS, check_verification, verify_hits
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import Query, SearchFilter
from tubelet.model.embedding import TextEmbedder
from tubelet.orchestration.resources import make_embedder, open_index
from tubelet.orchestration.verifying import VideoVerifier
from tubelet.records import SearchResult
from tubelet.settings import Settings

MAX_KEPT_VECTORS = 1024
"""Vectors of so many sentences are kept, the last asked; at 384 numbers they take 1.5 MB."""


class SentenceVectors:
    """Vectors of sentences that were asked lately: the next page asks the same, and so do other users."""

    def __init__(self, most: int = MAX_KEPT_VECTORS) -> None:
        self._most = most
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()

    def get(self, embedder: TextEmbedder, text: str) -> NDArray[np.float32]:
        """The vector that this embedder gives a text. It cannot be written to."""
        key = (embedder.name, text)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        vector: NDArray[np.float32] = embedder.embed([text])[0]
        vector.setflags(write=False)
        with self._lock:
            self._kept[key] = vector
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return vector


_VECTORS = SentenceVectors()


@dataclass(frozen=True, slots=True)
class Verification:
    """How many of the best hits to look at again, and the seconds after which none is begun."""

    count: int = 0
    seconds: float = DEFAULT_SECONDS


def search_index(
    request: str | Query,
    *,
    settings: Settings,
    limit: int = 10,
    min_score: float = 0.0,
    within: SearchFilter | None = None,
    cursor: str = "",
    verification: Verification | None = None,
    store: IndexStore | None = None,
) -> SearchResult:
    """Find objects by a sentence or a structured query, one hit an object, best first.

    `cursor` is the `next_cursor` of the page before. Hits that are verified are ranked anew on their page.
    `store` is the index, where it is open already.

    Raises QueryError for a request that cannot be meant and StoreError where nothing was indexed yet.
    """
    query = parse_query(request) if isinstance(request, str) else request
    wanted = verification or Verification()
    check_verification(wanted.count, wanted.seconds)
    store = store or open_index(settings)
    vector = None
    if query.text and not query.text_vector:
        vector = _VECTORS.get(make_embedder(settings), query.text)
    page = search_page(store, query, vector, limit=limit, min_score=min_score, within=within, cursor=cursor)
    hits, notes = page.hits, page.notes
    if wanted.count and hits:
        hits, said = verify_hits(
            hits, query, VideoVerifier(settings, store), count=wanted.count, seconds=wanted.seconds
        )
        notes += said
    told = request if isinstance(request, str) else request.text
    return SearchResult(
        query=told,
        parsed=_without_vectors(query).to_json(),
        hits=hits,
        next_cursor=page.next_cursor,
        notes=notes,
    )


def count_index(
    request: str | Query,
    *,
    settings: Settings,
    by: By = "",
    bin_s: float = 60.0,
    min_score: float = COUNT_MIN_SCORE,
    within: SearchFilter | None = None,
) -> tuple[Query, Aggregate]:
    """Count the objects that meet a request, in all and by group; also what was understood of it."""
    query = parse_query(request) if isinstance(request, str) else request
    store = open_index(settings)
    return query, count_objects(store, query, by=by, bin_s=bin_s, min_score=min_score, within=within)


def _without_vectors(query: Query) -> Query:
    """What is shown of a query: a thousand numbers tell nobody anything."""
    return replace(query, object_vector=(), text_vector=())
