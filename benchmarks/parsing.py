"""How well sentences are understood: precision and recall of motion, colour and relation on labelled ones.

    python benchmarks/parsing.py [--show]     # --show lists what was read otherwise than labelled

The labels (tests/data/query_labels.json) are ours; what each means stands in that file. A third of them was
held out while the rules were written. An item is right when it is the same in every part: a relation by its
kind and by colour and category of the other object.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tubelet.index.query import parse_query
from tubelet.index.structured_query import Condition, Query, Relation

LABELS = Path(__file__).resolve().parent.parent / "tests" / "data" / "query_labels.json"
ASPECTS = ("motion", "colour", "relation", "order")

_WORDS = {
    ("turn", "none"): "straight",
    ("turn", "u"): "u-turn",
    ("turn", "left|right|u"): "turn any",
    ("change", "stops"): "stop",
    ("change", "starts"): "start",
    ("pace", "moving"): "move",
}


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many items were read and right (`hits`), read (`found`) and labelled (`wanted`)."""

    hits: int
    found: int
    wanted: int

    @property
    def precision(self) -> float:
        return self.hits / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        return self.hits / self.wanted if self.wanted else 1.0


def load_labels() -> list[dict[str, Any]]:
    """The labelled sentences."""
    labels: list[dict[str, Any]] = json.loads(LABELS.read_text())["labels"]
    return labels


def measure(labels: Iterable[dict[str, Any]], *, show: bool = False) -> dict[str, Agreement]:
    """Agreement of the parser with the labels in each aspect."""
    totals = {aspect: [0, 0, 0] for aspect in ASPECTS}
    for label in labels:
        wanted, found = read_label(label), read_parse(parse_query(label["sentence"]))
        for aspect in ASPECTS:
            hits = (Counter(wanted[aspect]) & Counter(found[aspect])).total()
            for place, number in enumerate((hits, len(found[aspect]), len(wanted[aspect]))):
                totals[aspect][place] += number
            if show and wanted[aspect] != found[aspect]:
                print(f"{label['index']:4} {aspect}: {wanted[aspect]} read as {found[aspect]}")
                print(f"     {label['sentence']}")
    return {aspect: Agreement(*numbers) for aspect, numbers in totals.items()}


def read_label(label: dict[str, Any]) -> dict[str, list[str]]:
    """The items of a label. The order counts where more than one step is labelled."""
    steps = [step.strip() for step in label["motion"].split(">") if step.strip()]
    return {
        "motion": sorted(item.strip() for step in steps for item in step.split(",")),
        "colour": [label["colour"]] if label["colour"] else [],
        "relation": [label["relation"]] if label["relation"] else [],
        "order": [" > ".join(steps)] if len(steps) > 1 else [],
    }


def read_parse(query: Query) -> dict[str, list[str]]:
    """The items of a parsed sentence, in the words of the labels."""
    groups = [step.conditions for step in query.steps] or [query.conditions]
    steps = [[word for condition in group if (word := _name_motion(condition))] for group in groups]
    exact = any(word != "move" for step in steps for word in step)
    told: list[list[str]] = []
    for step in steps:
        still = bool(told) and bool({"stop", "stopped"} & set(told[-1]))
        kept = [word for word in step if word != "move" or still or not exact]
        if kept:
            told.append(kept)
    return {
        "motion": sorted(word for step in told for word in step),
        "colour": _name_colours(query.conditions),
        "relation": [_name_relation(relation) for relation in query.relations],
        "order": [" > ".join(", ".join(step) for step in told)] if len(told) > 1 else [],
    }


def _name_motion(condition: Condition) -> str:
    if condition.kind not in ("turn", "heading", "pace", "change", "range", "entry", "exit"):
        return ""
    values = "|".join(condition.values)
    word = _WORDS.get((condition.kind, values)) or (
        values if condition.kind == "pace" else f"{condition.kind} {values}"
    )
    if condition.negated:
        return "not " + ("stop" if word == "stopped" else word)
    return word


def _name_relation(relation: Relation) -> str:
    colours = "".join(_name_colours(relation.conditions))
    categories = "".join(c.values[0] for c in relation.conditions if c.kind == "category")
    return f"{'not ' if relation.negated else ''}{relation.kind}|{colours}|{categories}"


def _name_colours(conditions: Sequence[Condition]) -> list[str]:
    return [c.values[0] for c in conditions if c.kind == "colour" and not c.negated]


def main() -> None:
    """Print the table."""
    labels = load_labels()
    parts = {
        "all": labels,
        "seen": [label for label in labels if not label["held_out"]],
        "held out": [label for label in labels if label["held_out"]],
    }
    for name, part in parts.items():
        for aspect, agreement in measure(part, show=name == "seen" and "--show" in sys.argv).items():
            print(
                f"{name:9} {len(part):4} sentences  {aspect:9} precision {agreement.precision:.3f}  "
                f"recall {agreement.recall:.3f}  ({agreement.hits} of {agreement.found} read, "
                f"{agreement.wanted} labelled)"
            )


if __name__ == "__main__":
    main()
