"""From a sentence to hits: parse, embed, search."""

from __future__ import annotations

from tubelet.index.query import parse_query
from tubelet.index.search import search_moments
from tubelet.orchestration.resources import make_embedder, open_index
from tubelet.records import SearchResult
from tubelet.settings import Settings


def search_index(
    sentence: str, *, settings: Settings, limit: int = 10, min_score: float = 0.0
) -> SearchResult:
    """Find objects by a sentence, one hit an object, best first.

    Raises QueryError for an empty sentence and StoreError where nothing was indexed yet.
    """
    parsed = parse_query(sentence)
    store = open_index(settings)
    vector = make_embedder(settings).embed([parsed.text])[0]
    hits = search_moments(store, parsed, vector, limit=limit, min_score=min_score)
    return SearchResult(query=sentence, parsed=parsed.to_json(), hits=tuple(hits))
