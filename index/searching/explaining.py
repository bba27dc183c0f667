"""Why a moment was found, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tubelet.index.searching.judging import LIKELY_NAMES, match_colours
from tubelet.index.searching.relating import Related
from tubelet.index.structured_query import Condition, Query
from tubelet.index.words import tokenize

MATCH, MISMATCH = 0.5, 0.25
"""From here on a condition counts as met; below this it is told as not met, in between as partly met."""

_TURNS = {"left": "turns left", "right": "turns right", "u": "makes a U-turn", "none": "goes straight"}


@dataclass(frozen=True, slots=True)
class Judged:
    """How well a row meets a condition; NaN: nobody can say."""

    condition: Condition
    value: float
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reasons:
    """What was found about a hit: on its moment, on each step's (empty where no moment fits), around it."""

    common: tuple[Judged, ...]
    steps: tuple[tuple[Judged, ...], ...] = ()
    related: tuple[Related, ...] = ()
    count: float | None = None
    cosine: float | None = None
    look: float | None = None


def explain_hit(query: Query, row: Mapping[str, Any], reasons: Reasons) -> tuple[str, ...]:
    """Time and place, one phrase a condition, step, relation and count, then words and likeness."""
    told = ["in the time that was asked"] if query.time else []
    if query.region:
        told.append("in the region that was asked")
    told += [_explain(each) for each in reasons.common]
    told += [_explain_step(number, step) for number, step in enumerate(reasons.steps, 1)]
    told += [_explain_relation(each) for each in reasons.related]
    if reasons.count is not None:
        told.append("as many as asked" if reasons.count >= 1 else "another number than asked")
    found = [word for word in dict.fromkeys(_list_query_words(query.text)) if f" {word[1]} " in row["words"]]
    if found:
        told.append("words: " + ", ".join(word for word, _ in found))
    if reasons.cosine is not None and (query.text or query.text_vector):
        told.append(f"text similarity {reasons.cosine:.2f}")
    if reasons.look is not None:
        told.append(f"looks alike {reasons.look:.2f}")
    return tuple(told)


def _explain_step(number: int, step: tuple[Judged, ...]) -> str:
    if not step:
        return f"step {number}: not seen"
    at_s = step[0].row["start_s"]
    return f"step {number} at {at_s:.1f} s: {', '.join(_explain(each) for each in step)}"


def _explain_relation(related: Related) -> str:
    relation = related.relation
    told = relation.phrase or relation.kind
    if np.isnan(related.value):
        return f"{told}: unknown"
    met = "yes" if related.value >= MATCH else "partly" if related.value >= MISMATCH else "no"
    if relation.negated:
        return f"not {told}: {met}"
    label = f" {related.label}" if related.label else ""
    return f"{told}: {met}" + (f" ({relation.kind}{label} {related.object_id})" if related.object_id else "")


@lru_cache(maxsize=16)
def _list_query_words(text: str) -> Sequence[tuple[str, str]]:
    """The words of the sentence as written, each with its stem."""
    words = []
    for word in text.split():
        stems = tokenize(word)
        if len(stems) == 1:
            words.append((word.strip(".,;:!?\"'()").lower(), stems[0]))
    return words


def _explain(judged: Judged) -> str:
    condition, value = judged.condition, judged.value
    seen = _tell(condition, judged.row)
    if condition.kind == "change" and value > MATCH and not condition.negated:
        return " or ".join(condition.values)
    if np.isnan(value):
        return f"{_NAMES[condition.kind]} unknown"
    if value >= MATCH:
        return seen
    wanted = " or ".join(_word(condition, name) for name in condition.values)
    if condition.negated:
        return f"{seen}, though not wanted"
    if chance := _find_chance(condition, judged.row):
        return f"{seen}, perhaps {wanted} ({100 * chance:.0f} %)"
    return f"{seen}, {'only partly' if value >= MISMATCH else 'not'} {wanted}"


def _find_chance(condition: Condition, row: Mapping[str, Any]) -> float:
    """How likely an object that is told otherwise is what was asked for; 0 where nobody knows."""
    if condition.kind not in ("colour", "turn"):
        return 0.0
    wanted = match_colours(condition.values) if condition.kind == "colour" else condition.values
    likely = f"likely_{LIKELY_NAMES[condition.kind]}"
    names, scores = row.get(f"{likely}s") or (), row.get(f"{likely}_scores") or ()
    return float(sum(score for name, score in zip(names, scores, strict=True) if name in wanted))


def _word(condition: Condition, value: str) -> str:
    if condition.kind == "turn":
        return {"none": "straight", "u": "a U-turn"}.get(value, value)
    return value


def _tell(condition: Condition, row: Mapping[str, Any]) -> str:
    """What the row says about the condition's subject."""
    kind = condition.kind
    if kind == "colour":
        return _tell_colour(condition, row)
    if kind == "category":
        return f"category {row['label']}"
    if kind == "size":
        return f"size {row['size']}"
    if kind == "turn":
        return "stopped" if row["stopped"] else _TURNS[row["turn"]]
    if kind == "heading":
        return "stopped" if row["stopped"] else f"moves {row['heading']}"
    if kind == "word":
        return "words: " + ", ".join(v for v in condition.values if f" {v} " in row["words"])
    if kind in ("pace", "change"):
        return "stopped" if row["stopped"] else f"moves at {row['speed']:.1f} own lengths/s"
    if kind == "range":
        return "approaches" if row["approaching"] else "leaves" if row["leaving"] else "keeps its distance"
    if kind in ("entry", "exit"):
        side = row[f"{kind}_side"]
        verb = "enters" if kind == "entry" else "leaves"
        return (
            f"{verb} at the {side}"
            if side
            else f"does not {verb[:-1] if kind == 'entry' else 'leave'} the frame"
        )
    return _tell_place(row)


def _tell_colour(condition: Condition, row: Mapping[str, Any]) -> str:
    shares = dict(zip(row["colours"], row["colour_shares"], strict=True))
    wanted = match_colours(condition.values)
    name = next((name for name in shares if name in wanted), next(iter(shares), ""))
    return f"colour {name} ({100 * shares.get(name, 0.0):.0f} % of the object)"


def _tell_place(row: Mapping[str, Any]) -> str:
    box = row["box_mean"]
    x = (box["x0"] + box["x1"]) / 2 / row["frame_width"]
    y = (box["y0"] + box["y1"]) / 2 / row["frame_height"]
    return f"at {100 * x:.0f} % of the width, {100 * y:.0f} % of the height"


_NAMES = {
    "colour": "colour",
    "category": "category",
    "size": "size",
    "turn": "turn",
    "heading": "heading",
    "pace": "pace",
    "change": "pace",
    "range": "distance",
    "entry": "entry",
    "exit": "exit",
    "place_x": "place",
    "place_y": "place",
    "word": "words",
}
