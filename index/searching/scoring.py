"""The score of a moment, 0..1. The formula and its constants are explained in docs/search.md.

    score = S * (0.8 + 0.2 * T) * (0.3 + 0.7 * A)      S, T, A in 0..1

S is the product of one factor for each condition, step, relation and count, from its floor (mismatch) to 1
(match); T is how alike the texts are, A how alike the objects look, each only where it is asked. Every floor
is below 0.8, so no likeness of the text makes up for a mismatch. Where nothing measured is asked, the score
is A * (0.8 + 0.2 * T), or T where no look is asked either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tubelet.index.searching.judging import FLOORS, Values, multiply_factors, to_numpy
from tubelet.index.structured_query import Condition, Query

TEXT_WEIGHT = 0.2
"""How much of the score the text decides where something measured is asked."""

LOOK_FLOOR = 0.3
"""What an object that looks quite different leaves of the score."""

SEEN_WEIGHT, SEEN_FULL_S = 0.2, 3.0
"""What a moment loses that was hardly seen, and for how long it has to be seen to lose nothing: what was seen
briefly is named and measured by little, and often nothing but a piece of a track."""

LOW_COSINE, HIGH_COSINE = 0.1, 0.9
"""Cosines between a sentence and a caption that count as 0 and as 1."""

LOW_LOOK, HIGH_LOOK = 0.7, 0.95
"""Cosines between two objects' vectors that count as 0 and as 1. By the bundled recogniser, halves of one
object have 0.90 in the mean and different objects 0.74: docs/recognising.md."""


@dataclass(frozen=True, slots=True)
class RowScores:
    """Of each moment: what is asked of every moment, and how long it is seen (`common`), of each step
    (`steps`, one row a step), how alike texts and looks are (`likeness`), and the three put together
    (`total`, without the steps)."""

    common: Values
    steps: tuple[Values, ...]
    likeness: Values
    total: Values


def score_rows(
    query: Query, moments: pa.Table, cosines: Values | None = None, looks: Values | None = None
) -> RowScores:
    """Score each row by itself. `cosines` are to the text's vector and `looks` to the object's, if given."""
    common = multiply_factors(query.conditions, moments)
    steps = tuple(multiply_factors(step.conditions, moments) for step in query.steps)
    text = score_text(query, moments, cosines)
    measured = bool(query.conditions or query.steps or query.relations or query.count)
    if measured:
        common = common * measure_seen(moments)
    look = None if looks is None else np.clip((looks - LOW_LOOK) / (HIGH_LOOK - LOW_LOOK), 0.0, 1.0)
    if look is not None:
        shown = LOOK_FLOOR + (1 - LOOK_FLOOR) * look if measured else look
        likeness = shown if text is None else shown * (1 - TEXT_WEIGHT + TEXT_WEIGHT * text)
    elif text is None:
        likeness = np.ones(len(moments))
    else:
        likeness = 1 - TEXT_WEIGHT + TEXT_WEIGHT * text if measured else text
    return RowScores(common, steps, likeness, common * likeness)


def measure_seen(moments: pa.Table) -> Values:
    """What is left of the score by how long each moment is seen: 1 from SEEN_FULL_S on."""
    seconds = to_numpy(moments["end_s"]) - to_numpy(moments["start_s"])
    seen: Values = 1 - SEEN_WEIGHT * (1 - np.clip(seconds / SEEN_FULL_S, 0.0, 1.0))
    return seen


def leave_out_texts(query: Query) -> tuple[Query, float]:
    """A query without what only texts tell, which scores higher, and the share of its score that is left at
    least when the texts are told."""

    def without(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
        return tuple(condition for condition in conditions if condition.kind != "word")

    words = [condition for condition in query.list_conditions() if condition.kind == "word"]
    bare = replace(
        query,
        text="",
        text_vector=(),
        words=(),
        conditions=without(query.conditions),
        steps=tuple(replace(step, conditions=without(step.conditions)) for step in query.steps),
    )
    return bare, (1 - TEXT_WEIGHT) * FLOORS["word"] ** len(words)


def score_text(query: Query, moments: pa.Table, cosines: Values | None) -> Values | None:
    """How alike the texts are, 0..1; None where there is nothing to compare."""
    parts = []
    if cosines is not None and (query.text or query.text_vector):
        parts.append(np.clip((cosines - LOW_COSINE) / (HIGH_COSINE - LOW_COSINE), 0.0, 1.0))
    if query.words:
        found = np.zeros(len(moments))
        for word in query.words:
            found += to_numpy(pc.match_substring(moments["words"], f" {word} "))
        parts.append(found / len(query.words))
    if not parts:
        return None
    text: Values = np.mean(parts, axis=0)
    return text
