"""From a query to what candidates are looked for by: vectors that fit the index, and exact limits as SQL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tubelet.errors import QueryError
from tubelet.index.searching.candidates import KEY_COLUMNS, Ask, Vector
from tubelet.index.searching.filters import count_undated, make_query_filter
from tubelet.index.searching.judging import SCORED_COLUMNS
from tubelet.index.searching.paths import find_time_limits, keep_in_region
from tubelet.index.searching.view import View
from tubelet.index.searching.where import Where, all_of, among, none_of
from tubelet.index.sql import match_name
from tubelet.index.structured_query import Query, SearchFilter

Numbers = Sequence[float] | NDArray[Any]


def make_ask(view: View, query: Query, within: SearchFilter, text: Numbers) -> tuple[Ask, tuple[str, ...]]:
    """What candidates are looked for by, and what must be said about it. `text`: the text's vector, or empty.

    Raises QueryError for vectors that do not fit the index, and for an object to look like that has none.
    """
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
        other = none_of(among("object_id", [query.like])) if query.like else None
        where = all_of([where, other, Where("object_vector IS NOT NULL")])
    columns: tuple[str, ...] = (*KEY_COLUMNS, *SCORED_COLUMNS)
    if _looks_at_words(query):
        columns = (*columns, "words")
    keeps = None
    if query.region is not None and query.region.how != "centre":
        start_s, end_s = find_time_limits(query, within)
        keeps = partial(keep_in_region, region=query.region, start_s=start_s, end_s=end_s)
        columns = (*columns, "path")
    vector = _check_vector(text, view.text_dimensions, "text") if len(text) else None
    says_something = bool(query.text or query.text_vector)
    return Ask(query, vector if says_something else None, look, where, columns, keeps), notes


def _looks_at_words(query: Query) -> bool:
    """Whether the words of moments count for their score, or for that of a relation that they tell."""
    words = any(condition.kind == "word" for condition in query.list_conditions())
    return bool(words or query.words or query.relations or query.count)


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
    rows = view.read(match_name("object_id", query.like), columns)
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
