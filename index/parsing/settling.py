"""From pieces, each given to its object, to conditions: one of each kind unless more is said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from tubelet.categories import list_wider
from tubelet.index.parsing.clauses import Other, Reading
from tubelet.index.parsing.ordering import Asked
from tubelet.index.structured_query import (
    MAX_RELATIONS,
    MAX_STEPS,
    MOTION_KINDS,
    Condition,
    Kind,
    Relation,
    RelationKind,
    Step,
)

MAX_PHRASE_CHARACTERS = 200

_STILL = (("pace", ("stopped",)), ("change", ("stops",)))
_MOVING = ("pace", ("moving",))
_GROUPS: tuple[tuple[Kind, ...], ...] = (("entry",), (), ("exit",))
"""What may lie in different moments of one object: how it came in, what it did, how it left."""


def settle_conditions(reading: Reading) -> tuple[tuple[Condition, ...], tuple[Step, ...]]:
    """What is asked of every moment, and the steps where an order of two or more is asked."""
    drafts = [draft for step in reading.order.steps for draft in _split_edges(step)]
    kept: list[tuple[tuple[Condition, ...], bool]] = []
    for items, same_moment in drafts:
        conditions = _settle(items)
        bare = [(c.kind, c.values) for c in conditions if not c.negated] == [_MOVING] and len(conditions) == 1
        if bare and len(drafts) > 1 and not (kept and _ends_still(kept[-1][0])):
            continue  # whatever turns or stops has been moving
        kept.append((conditions, same_moment and bool(kept)))
    if len(kept) < 2:
        alone = [items for items, _ in drafts if _settle(items) in [conditions for conditions, _ in kept]]
        everything = [*reading.common, *(item for items in alone for item in items)]
        return _settle(sorted(everything, key=lambda item: item.piece.start)), ()
    steps = tuple(Step(conditions, same_moment) for conditions, same_moment in kept[:MAX_STEPS])
    return _settle(reading.common), steps


def settle_relations(others: Sequence[Other], own: tuple[Condition, ...], text: str) -> tuple[Relation, ...]:
    """How the object stands to others, and what those are like."""
    relations = []
    for other in others[:MAX_RELATIONS]:
        kind: RelationKind = next(kind for kind in get_args(RelationKind) if kind == other.kind)
        relations.append(
            Relation(
                kind=kind,
                conditions=own if other.each_other else _settle(other.asked),
                negated=other.negated,
                count=other.count,
                phrase=text[other.start : other.end][:MAX_PHRASE_CHARACTERS],
            )
        )
    return tuple(dict.fromkeys(relations))


def _split_edges(step: list[Asked]) -> list[tuple[list[Asked], bool]]:
    """A step cut into entry, motion and exit, which may be the same moment or different ones."""
    if not step:
        return []
    parts: list[list[Asked]] = [[], [], []]
    for item in step:
        kinds = {kind for kind, _ in item.piece.asks}
        place = next((i for i, group in enumerate(_GROUPS) if kinds & set(group) and not item.negated), 1)
        parts[place].append(item)
    filled = [part for part in parts if part]
    return [(part, number > 0) for number, part in enumerate(filled)]


def _ends_still(conditions: tuple[Condition, ...]) -> bool:
    return any((c.kind, c.values) in _STILL and not c.negated for c in conditions)


def _settle(items: Iterable[Asked]) -> tuple[Condition, ...]:
    """One condition for each kind, but one for each colour that must be there."""
    conditions: list[Condition] = []
    for item in items:
        for kind, values in item.piece.asks:
            if item.negated and (kind, values) == ("change", ("stops",)):
                kind, values = "pace", ("stopped",)
            new = Condition(kind, values, item.negated, item.piece.text[:MAX_PHRASE_CHARACTERS])
            _add(conditions, new, item.joined)
    return tuple(_drop_implied(conditions))


def _add(conditions: list[Condition], new: Condition, joined: bool) -> None:
    """Put a condition in: beside the others, or as a further choice in the last one of its kind."""
    same = [i for i, old in enumerate(conditions) if (old.kind, old.negated) == (new.kind, new.negated)]
    if not same or (new.kind == "colour" and not joined and not new.negated):
        if new.values not in [conditions[i].values for i in same]:
            conditions.append(new)
        return
    old = conditions[same[-1]]
    values = tuple(dict.fromkeys((*old.values, *new.values)))
    if not old.negated and new.kind in ("turn", "pace"):
        values = _keep_narrower(old.values, new.values) or values
    if new.kind == "category" and not joined:  # "SUV car", "Volvo wagon": the exact one counts
        wider = {name for value in values for name in list_wider(value)}
        values = tuple(value for value in values if value not in wider)
    phrase = old.phrase if new.phrase in old.phrase else f"{old.phrase}, {new.phrase}"
    conditions[same[-1]] = Condition(old.kind, values, old.negated, phrase[:MAX_PHRASE_CHARACTERS])


def _keep_narrower(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Of "turning" and "turns left", or "moving" and "fast", the one that says more; else nothing."""
    if set(first) >= set(second) or first == ("moving",):
        return second
    return first if set(first) <= set(second) or second == ("moving",) else ()


def _drop_implied(conditions: Iterable[Condition]) -> list[Condition]:
    """Leave out "moving" where something more exact about the motion is asked."""
    kept = list(conditions)
    exact = any(c.kind in MOTION_KINDS and c.values != ("moving",) and not c.negated for c in kept)
    return [c for c in kept if not (exact and c.kind == "pace" and c.values == ("moving",) and not c.negated)]
