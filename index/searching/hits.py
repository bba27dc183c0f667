"""From ranked moments to hits: the rest of each row is read, and reasons are put into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tubelet.index.schema import read_attributes, read_box, read_motion
from tubelet.index.searching.candidates import KEY_COLUMNS
from tubelet.index.searching.explaining import Judged, Reasons, explain_hit
from tubelet.index.searching.judging import BEFORE_COLUMN, SCORED_COLUMNS, judge
from tubelet.index.searching.ranking import Ranked, find_before
from tubelet.index.searching.view import View
from tubelet.index.structured_query import Condition, Query
from tubelet.index.tables import ROW_ID
from tubelet.records import Hit, HitRelation, HitStep

_HIT_COLUMNS = (
    *KEY_COLUMNS,
    *SCORED_COLUMNS,
    *(
        "moment_id",
        "words",
        "uri",
        "caption",
        "category",
        "kinds",
        "heading",
        "box_middle",
    ),
    *("thumbnail", "caption_source"),
)


def make_hits(view: View, query: Query, ranked: Sequence[Ranked], moments: pa.Table) -> list[Hit]:
    """The hits of some ranked objects, in their order."""
    places = sorted({row for item in ranked for row in (item.row, *item.steps) if row is not None})
    if not places:
        return []
    some = moments.take(places)
    if any(condition.kind == "change" for condition in query.list_conditions()):
        some = some.append_column(BEFORE_COLUMN, find_before(view, some))
    place_of = {row: place for place, row in enumerate(places)}
    judged = {condition: judge(condition, some) for condition in query.list_conditions()}
    rows = _read_rows(view, some)
    hits = []
    for item in ranked:
        row = rows[place_of[item.row]]
        taken = [None if step is None else place_of[step] for step in item.steps]
        seen = [rows[place] for place in taken if place is not None]
        reasons = Reasons(
            common=_list_judged(query.conditions, judged, place_of[item.row], row),
            steps=tuple(
                () if place is None else _list_judged(step.conditions, judged, place, rows[place])
                for step, place in zip(query.steps, taken, strict=False)
            ),
            related=item.related,
            count=item.count,
            cosine=_get(some, "_cosine", place_of[item.row]),
            look=_get(some, "_look", place_of[item.row]),
        )
        hits.append(_make_hit(query, item, row, reasons, seen))
    return hits


def _make_hit(
    query: Query, item: Ranked, row: Mapping[str, Any], reasons: Reasons, steps: Sequence[Mapping[str, Any]]
) -> Hit:
    told = tuple(HitStep(step["moment_id"], step["start_s"], step["end_s"]) for step in steps)
    return Hit(
        object_id=row["object_id"],
        moment_id=row["moment_id"],
        video_id=row["video_id"],
        uri=row["uri"],
        start_s=min([row["start_s"], *(step.start_s for step in told)]),
        end_s=max([row["end_s"], *(step.end_s for step in told)]),
        score=item.score,
        caption=row["caption"],
        attributes=read_attributes(row),
        motion=read_motion(row),
        box=read_box(row["box_middle"]),
        why=explain_hit(query, row, reasons),
        thumbnail=row["thumbnail"],
        steps=told,
        relations=tuple(
            HitRelation(
                f"{'not ' if each.relation.negated else ''}{each.relation.kind}",
                0.0 if np.isnan(each.value) else each.value,
                each.object_id,
            )
            for each in item.related
        ),
        **({"caption_source": row["caption_source"]} if "caption_source" in row else {}),
    )


def _list_judged(
    conditions: Sequence[Condition],
    judged: Mapping[Condition, Any],
    place: int,
    row: Mapping[str, Any],
) -> tuple[Judged, ...]:
    return tuple(Judged(condition, float(judged[condition][place]), row) for condition in conditions)


def _read_rows(view: View, moments: pa.Table) -> list[dict[str, Any]]:
    """What hits tell of some moments: what is known of them, and the rest, which is read."""
    known = [name for name in _HIT_COLUMNS if name in moments.column_names]
    rest = [name for name in view.name_columns(*_HIT_COLUMNS) if name not in known]
    read = view.take(moments[ROW_ID].to_pylist(), rest)
    pairs = zip(moments.select(known).to_pylist(), read.to_pylist(), strict=True)
    return [one | other for one, other in pairs]


def _get(moments: pa.Table, column: str, place: int) -> float | None:
    if column not in moments.column_names:
        return None
    value = moments[column][place].as_py()
    return None if value is None or np.isnan(value) else float(value)
