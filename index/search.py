"""Search: candidates from the index, scored by one formula, one moment for each object.

A small index is searched exactly: every moment that passes the filters is scored. A large one gives
candidates from three lists (nearest vectors, full text, nearest vectors among the rows that meet every
condition), which are scored together. We fuse the lists ourselves: LanceDB's hybrid search has applied
filters wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_, or_
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lancedb.expr import Expr, col, lit
from numpy.typing import NDArray

from tubelet.errors import QueryError
from tubelet.index.parsing.lexicon import PARENTS
from tubelet.index.schema import read_attributes, read_box, read_motion
from tubelet.index.searching.explaining import explain_hit
from tubelet.index.searching.scoring import (
    HEADING_ANGLES,
    SCORED_COLUMNS,
    Values,
    judge,
    match_category,
    match_colours,
    score_moments,
)
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import Condition, Query, SearchFilter
from tubelet.index.tables import count_rows, read_rows
from tubelet.index.words import tokenize
from tubelet.records import Hit

EXACT_MAX_ROWS = 50_000
"""Up to so many moments pass the filters, all of them are scored."""

MAX_LIMIT = 10_000
MIN_CANDIDATES = 1_000
CANDIDATES_A_HIT = 20
REFINE_FACTOR = 10

_KEY_COLUMNS = ("moment_id", "object_id", "video_id", "start_s")
_HIT_COLUMNS = (
    *_KEY_COLUMNS,
    *SCORED_COLUMNS,
    *("uri", "end_s", "caption", "category", "heading", "turn_deg", "box_middle", "thumbnail"),
)

Vector = NDArray[np.float32]


def search_moments(
    store: IndexStore,
    query: Query,
    query_vector: Sequence[float] | NDArray[Any] | None,
    *,
    limit: int = 10,
    min_score: float = 0.0,
    within: SearchFilter | None = None,
    exact_max_rows: int = EXACT_MAX_ROWS,
) -> list[Hit]:
    """The objects that fit best, each with its best moment, best first.

    Without a vector only words and conditions count. Raises QueryError for a limit, score or vector that
    cannot be meant.
    """
    _check_request(limit, min_score)
    vector = None if query_vector is None else _check_vector(query_vector, store.text_dimensions)
    where = _make_filter(query, within or SearchFilter())
    found = _find_candidates(store.moments, query, vector, where, limit, exact_max_rows)
    found = _keep_complete(store, found)
    if len(found) == 0:
        return []
    cosines = None if vector is None else 1 - np.nan_to_num(_to_numpy(found["_distance"]), nan=1.0)
    scores = score_moments(query, found, cosines)
    best = [index for index in _choose_best(found, scores, limit) if scores[index] >= min_score]
    if not best:
        return []
    return _make_hits(store.moments, query, found.take(best), scores[best], cosines, best)


def _check_request(limit: int, min_score: float) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise QueryError(
            f"The limit is {limit}", expected=f"1 to {MAX_LIMIT} hits", do="ask for fewer or more hits"
        )
    if not 0 <= min_score <= 1:
        raise QueryError(f"The least score is {min_score}", expected="0 to 1", do="choose one in that range")


def _check_vector(values: Sequence[float] | NDArray[Any], dimensions: int) -> Vector:
    vector = np.asarray(values, dtype=np.float32)
    if vector.shape != (dimensions,) or not np.isfinite(vector).all():
        raise QueryError(
            f"The query vector has shape {vector.shape}, or numbers that are not finite",
            expected=f"{dimensions} finite numbers",
            do="embed the sentence with the model that the index was made with",
        )
    return vector


def _find_candidates(
    table: Any,
    query: Query,
    vector: Vector | None,
    where: Expr | None,
    limit: int,
    exact_max_rows: int,
) -> pa.Table:
    num_rows = count_rows(table, where)
    if num_rows <= exact_max_rows:
        return _read_nearest(table, vector, where, max(1, num_rows), exact=True)
    num_wanted = max(MIN_CANDIDATES, CANDIDATES_A_HIT * limit)
    lists = [_read_nearest(table, vector, where, num_wanted)]
    structured = [
        expression for c in query.list_conditions() if (expression := make_requirement(c)) is not None
    ]
    if structured:
        lists.append(_read_nearest(table, vector, _all_of([where, *structured]), num_wanted))
    if tokens := list(dict.fromkeys(tokenize(query.text)))[:64]:
        text = table.search(" ".join(tokens), query_type="fts", fts_columns="words").limit(num_wanted)
        text = (text if where is None else text.where(where)).select(["moment_id", "_score"])
        ids = read_rows(table, text)["moment_id"]
        named = _all_of([where, col("moment_id").isin(ids.to_pylist())]) if len(ids) else None
        if named is not None:
            lists.append(_read_nearest(table, vector, named, len(ids), exact=True))
    return _drop_repeated(pa.concat_tables([part.select(lists[0].column_names) for part in lists]))


def _read_nearest(
    table: Any, vector: Vector | None, where: Expr | None, num_rows: int, *, exact: bool = False
) -> pa.Table:
    """Rows by distance to the vector, or in any order without one."""
    columns = [*_KEY_COLUMNS, *SCORED_COLUMNS]
    if vector is None:
        request = table.search()
    else:
        request = table.search(vector, vector_column_name="text_vector").distance_type("cosine")
        request = request.bypass_vector_index() if exact else request.refine_factor(REFINE_FACTOR)
        columns.append("_distance")
    if where is not None:
        request = request.where(where)
    return read_rows(table, request.select(columns).limit(num_rows))


def _drop_repeated(found: pa.Table) -> pa.Table:
    _, first = np.unique(found["moment_id"].to_numpy(zero_copy_only=False).astype(str), return_index=True)
    return found.take(np.sort(first))


def _keep_complete(store: IndexStore, found: pa.Table) -> pa.Table:
    """Without the moments of videos that are being written."""
    complete = store.find_complete(found["video_id"].unique().to_pylist())
    return found.filter(pc.is_in(found["video_id"], pa.array(sorted(complete), pa.string())))


def _choose_best(found: pa.Table, scores: Values, limit: int) -> list[int]:
    """Rows of the best moment of each of the best objects. Ties go to the earlier, then by id."""
    objects = found["object_id"].to_numpy(zero_copy_only=False).astype(str)
    moments = found["moment_id"].to_numpy(zero_copy_only=False).astype(str)
    order = np.lexsort((moments, objects, _to_numpy(found["start_s"]), -np.round(scores, 9)))
    _, first = np.unique(objects[order], return_index=True)
    best: list[int] = order[np.sort(first)][:limit].tolist()
    return best


def _make_hits(
    table: Any,
    query: Query,
    best: pa.Table,
    scores: Values,
    cosines: Values | None,
    positions: list[int],
) -> list[Hit]:
    ids = best["moment_id"].to_pylist()
    judged = {condition: judge(condition, best) for condition in query.list_conditions()}
    where = col("moment_id").isin(ids)
    request = table.search().where(where).select(list(dict.fromkeys(_HIT_COLUMNS))).limit(None)
    by_id = {row["moment_id"]: row for row in read_rows(table, request).to_pylist()}
    hits = []
    for index, moment_id in enumerate(ids):
        if moment_id not in by_id:  # replaced since the search began
            continue
        row = by_id[moment_id]
        values = {condition: float(value[index]) for condition, value in judged.items()}
        cosine = None if cosines is None else float(cosines[positions[index]])
        hits.append(
            Hit(
                object_id=row["object_id"],
                moment_id=moment_id,
                video_id=row["video_id"],
                uri=row["uri"],
                start_s=row["start_s"],
                end_s=row["end_s"],
                score=float(scores[index]),
                caption=row["caption"],
                attributes=read_attributes(row),
                motion=read_motion(row),
                box=read_box(row["box_middle"]),
                why=explain_hit(query, row, values, cosine),
                thumbnail=row["thumbnail"],
            )
        )
    return hits


def _make_filter(query: Query, within: SearchFilter) -> Expr | None:
    """What must hold, exactly. Values travel as typed literals, never as SQL text of ours."""
    limits: list[Expr] = []
    if within.video_ids:
        limits.append(col("video_id").isin(within.video_ids))
    if within.uris:
        limits.append(col("uri").isin(within.uris))
    starts = [within.start_s, query.time.start_s if query.time else None]
    ends = [within.end_s, query.time.end_s if query.time else None]
    limits += [col("end_s") >= lit(float(start)) for start in starts if start]
    limits += [col("start_s") < lit(float(end)) for end in ends if end is not None]
    if query.time and query.time.last_s is not None:
        limits.append(col("end_s") >= col("video_duration_s") - lit(float(query.time.last_s)))
    return _all_of(limits)


def _all_of(expressions: Sequence[Expr | None]) -> Expr | None:
    given = [expression for expression in expressions if expression is not None]
    return reduce(and_, given) if given else None


def make_requirement(condition: Condition) -> Expr | None:
    """The rows that meet a condition, for the third list; None where it is a matter of degree."""
    kind, values = condition.kind, condition.values
    if kind == "colour" and not condition.negated:
        words = [f" {token} " for name in sorted(match_colours(values)) for token in tokenize(name)]
        meets = reduce(or_, [col("words").contains(word) for word in words])
    elif kind == "category":
        labels = [label for label in PARENTS if any(match_category(value, label) == 1 for value in values)]
        meets = col("label").isin(labels if condition.negated else [*labels, ""])
    elif kind == "turn":
        straight = (col("turn") == lit("none")) & (col("stopped") == lit(False))
        turning = col("turn").isin([value for value in values if value != "none"])
        meets = turning | straight if "none" in values else turning
    elif kind == "heading":
        angles = [HEADING_ANGLES[value] for value in values]
        meets = col("heading").isin(
            [
                name
                for name, own in HEADING_ANGLES.items()
                if any(abs((own - a + 180) % 360 - 180) < 60 for a in angles)
            ]
        )
    elif kind == "pace" and values in (("stopped",), ("moving",)):
        meets = col("stopped") == lit(values == ("stopped",))
    elif kind == "range":
        meets = reduce(or_, [col(value) == lit(True) for value in values])
    elif kind in ("entry", "exit") and not condition.negated:
        meets = col(f"{kind}_side").isin(values)
    else:
        return None
    return ~meets if condition.negated else meets


def _to_numpy(column: Any) -> Values:
    values: Values = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return values
