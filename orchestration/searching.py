"""From a request to hits: parse, embed, search."""

from __future__ import annotations

import numpy as np

from tubelet.index.query import parse_query
from tubelet.index.search import search_moments
from tubelet.index.structured_query import Query
from tubelet.orchestration.resources import make_embedder, open_index
from tubelet.records import SearchResult
from tubelet.settings import Settings


def search_index(
    request: str | Query, *, settings: Settings, limit: int = 10, min_score: float = 0.0
) -> SearchResult:
    """Find objects by a sentence or a structured query, one hit an object, best first.

    Raises QueryError for an empty sentence and StoreError where nothing was indexed yet.
    """
    query = parse_query(request) if isinstance(request, str) else request
    store = open_index(settings)
    if query.text_vector:
        vector = np.array(query.text_vector, dtype=np.float32)
    else:
        vector = make_embedder(settings).embed([query.text])[0]
    hits = search_moments(store, query, vector, limit=limit, min_score=min_score)
    told = request if isinstance(request, str) else request.text
    return SearchResult(query=told, parsed=query.to_json(), hits=tuple(hits))
