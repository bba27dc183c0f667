"""What is true of one object in a stretch of a clip: all that captions and questions are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from tubelet.model.training.world.spec import Action, Category, ObjectTruth, Relation, RelationKind
from tubelet.records import Turn

Role = Literal["subject", "object"]

MIN_PHASE_S = 0.5
"""A phase is told when so much of it, or half of it, lies in the stretch."""

TURN_SHARES = (0.2, 0.8)
"""A turn of which less is seen is no turn, of which more is a whole one; between, nobody can say."""

TURNING: Mapping[Action, Turn] = {"turn-left": "left", "turn-right": "right", "u-turn": "u"}
"""Actions that are turns of one known kind. A circle's depends on where it was cut."""


class ClipTruth(Protocol):
    """What of a clip is needed to tell of its objects; one kept without frames has it too."""

    @property
    def objects(self) -> tuple[ObjectTruth, ...]: ...

    @property
    def relations(self) -> tuple[Relation, ...]: ...


@dataclass(frozen=True, slots=True)
class ThingFacts:
    """What a thing is: its category and one or two colours, the main one first."""

    category: Category
    colours: tuple[str, ...]
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class RelationFacts:
    """How an object and another stand to each other; `role` is the described object's in it."""

    kind: RelationKind
    role: Role
    other: ThingFacts


@dataclass(frozen=True, slots=True)
class MomentFacts:
    """One object in a stretch of time. `actions` are in order and empty for a single picture."""

    thing: ThingFacts
    actions: tuple[Action, ...] = ()
    turn: Turn = "none"
    relations: tuple[RelationFacts, ...] = ()


def tell_thing(truth: ObjectTruth) -> ThingFacts:
    """What an object is, at any time."""
    return ThingFacts(truth.category, truth.colours, dict(truth.attributes))


def tell_moment(clip: ClipTruth, truth: ObjectTruth, start_s: float, end_s: float) -> MomentFacts | None:
    """What an object does from `start_s` to `end_s`; None where that cannot be said with certainty.

    That is so where a turn is cut in the middle, or where little of its angle is seen, so that the path
    as a whole does not turn the way the action is called.
    """
    told: list[Action] = []
    angles: list[Turn] = []
    for phase in truth.actions:
        overlap_s = min(end_s, phase.end_s) - max(start_s, phase.start_s)
        share = overlap_s / max(phase.end_s - phase.start_s, 1e-6)
        is_turning = phase.action in TURNING or phase.action == "circle"
        if is_turning and TURN_SHARES[0] < share < TURN_SHARES[1]:
            return None
        if overlap_s <= 0 or (is_turning and share <= TURN_SHARES[0]):
            continue
        if not is_turning and overlap_s < MIN_PHASE_S and share < 0.5:
            continue
        if not told or told[-1] != phase.action:
            told.append(phase.action)
        if phase.action in TURNING:
            angles.append(TURNING[phase.action])
    if not told:
        return None
    covers_life = start_s <= truth.start_s + MIN_PHASE_S and end_s >= truth.end_s - MIN_PHASE_S
    turn: Turn = add_turns(angles)
    if covers_life:
        if "circle" not in told and turn != truth.turn:
            return None
        turn = truth.turn
    elif "circle" in told:
        return None
    return MomentFacts(
        tell_thing(truth), tuple(told), turn, tell_relations(clip, truth.number, start_s, end_s)
    )


_MIRRORED: Mapping[Action, Action] = {
    "turn-left": "turn-right",
    "turn-right": "turn-left",
    "lane-change-left": "lane-change-right",
    "lane-change-right": "lane-change-left",
}


def mirror_moment(facts: MomentFacts) -> MomentFacts:
    """The same moment seen in a mirror: left is right."""
    turn: Turn = {"left": "right", "right": "left"}.get(facts.turn, facts.turn)  # type: ignore[assignment]
    actions = tuple(_MIRRORED.get(action, action) for action in facts.actions)
    return replace(facts, actions=actions, turn=turn)


def add_turns(turns: list[Turn]) -> Turn:
    """The turn that several in a row make together."""
    if not turns:
        return "none"
    if len(turns) == 1:
        return turns[0]
    quarter = {"left": 1, "right": -1, "u": 2, "none": 0}
    total = sum(quarter[turn] for turn in turns)
    if total in (1, -3):
        return "left"
    if total in (-1, 3):
        return "right"
    return "u" if total in (2, -2) else "none"


def tell_relations(clip: ClipTruth, number: int, start_s: float, end_s: float) -> tuple[RelationFacts, ...]:
    """The relations that hold for half of the stretch, or of their own time, seen from one object."""
    things = {truth.number: tell_thing(truth) for truth in clip.objects}
    found = []
    for relation in clip.relations:
        overlap_s = min(end_s, relation.end_s) - max(start_s, relation.start_s)
        if overlap_s < 0.5 * max(min(end_s - start_s, relation.end_s - relation.start_s), 1e-6):
            continue
        if relation.subject == number and relation.object in things:
            found.append(RelationFacts(relation.kind, "subject", things[relation.object]))
        elif relation.object == number and relation.subject in things:
            found.append(RelationFacts(relation.kind, "object", things[relation.subject]))
    return tuple(found)
