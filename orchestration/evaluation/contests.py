"""What is asked of an archive of clips: queries whose right answer has rivals that differ in one thing only.

A query names colour, category and motion of its target. Clips are chosen so that the archive holds, for as
many targets as possible, another object of another colour, one of another category and one of another motion,
equal in the two other things. What the words would fit as well ("red car" fits a red SUV) is no rival.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Literal, get_args

from tubelet.model.training.grammar.facts import MomentFacts
from tubelet.model.training.world.spec import Action, Category

Difference = Literal["colour", "category", "motion"]
DIFFERENCES: tuple[Difference, ...] = get_args(Difference)

MOTIONS: tuple[Action, ...] = ("turn-left", "turn-right", "straight", "parked", "u-turn")
"""What queries ask for: motions that a search measures and that say enough alone."""

WIDER: Mapping[Category, Category] = {"suv": "car", "pickup": "truck"}
"""What may also be called by a wider name, so that one is no wrong answer for the other."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One object of the archive: in which clip, under which number, and what it is and does there.

    What is not clear (small, seen shortly, or cut in the middle of a turn) may be a right answer, but is
    neither asked for nor a rival.
    """

    clip: int
    number: int
    facts: MomentFacts
    is_clear: bool = True

    @property
    def name(self) -> tuple[int, int]:
        """The clip and the number in it."""
        return self.clip, self.number

    @property
    def motion(self) -> Action | None:
        """The one thing of MOTIONS that it does all the time, setting off and going straight aside."""
        actions = set(self.facts.actions)
        telling = actions - {"straight", "start"} or actions - {"start"}
        motion = next(iter(telling)) if len(telling) == 1 else None
        return motion if motion in MOTIONS else None


@dataclass(frozen=True, slots=True)
class Contest:
    """A query's target, every object that answers it, and its rivals by what tells them apart."""

    target: Candidate
    right: frozenset[tuple[int, int]]
    rivals: dict[Difference, frozenset[tuple[int, int]]]


def list_targets(archive: Sequence[Candidate]) -> list[Candidate]:
    """What can be asked for."""
    return [candidate for candidate in archive if candidate.is_clear and candidate.motion is not None]


def answers(target: Candidate, other: Candidate) -> bool:
    """Whether the words of the target's query are true of another object as well."""
    return _has_colour(target, other) and _is_same_kind(target, other) and _does_the_same(target, other)


def tell_apart(target: Candidate, other: Candidate) -> Difference | None:
    """The one thing in which another object differs; None where it differs in none, in more, or unclearly."""
    differences: list[Difference] = []
    if not _has_colour(target, other):
        differences.append("colour")
    if not _is_same_kind(target, other):
        differences.append("category")
    if not _does_the_same(target, other):
        differences.append("motion")
    is_clear = other.is_clear and (other.motion is not None or "motion" not in differences)
    return differences[0] if len(differences) == 1 and is_clear else None


def list_contests(archive: Sequence[Candidate]) -> list[Contest]:
    """The queries of an archive: one for each colour, category and motion that has all three rivals."""
    contests: dict[tuple[str, str, str], Contest] = {}
    for target in list_targets(archive):
        assert target.motion is not None, "a target does one thing"
        key = (target.facts.thing.colours[0], target.facts.thing.category, target.motion)
        if key in contests:
            continue
        rivals = {
            difference: frozenset(other.name for other in archive if tell_apart(target, other) == difference)
            for difference in DIFFERENCES
        }
        if all(rivals.values()):
            right = frozenset(other.name for other in archive if answers(target, other))
            contests[key] = Contest(target, right, rivals)
    return list(contests.values())


def choose_clips(pool: Sequence[Candidate], num_clips: int) -> list[int]:
    """The clips of an archive, in order: those that add a target with its rivals at the least cost.

    Motions take turns, so that each is asked for about as often. What is left of `num_clips` is filled up
    with the pool's first clips.
    """
    waiting: dict[Action, list[_Wanted]] = {motion: [] for motion in MOTIONS}
    for target in list_targets(pool):
        homes = {
            difference: {other.clip for other in pool if tell_apart(target, other) == difference}
            for difference in DIFFERENCES
        }
        if target.motion is not None and all(homes.values()):
            waiting[target.motion].append(_Wanted(target, homes))
    chosen: set[int] = set()
    num_idle = 0
    for motion in cycle(MOTIONS):
        needs = [chosen | item.list_needed(chosen) for item in waiting[motion]]
        place = min(range(len(needs)), key=lambda place: len(needs[place]), default=None)
        if place is not None and len(needs[place]) <= num_clips:
            chosen = needs[place]
            del waiting[motion][place]
            num_idle = 0
        else:
            num_idle += 1
        if num_idle == len(MOTIONS):
            break
    for clip in dict.fromkeys(candidate.clip for candidate in pool):
        if len(chosen) >= num_clips:
            break
        chosen.add(clip)
    return sorted(chosen)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A target, and for each difference the clips that hold such a rival."""

    target: Candidate
    homes: Mapping[Difference, set[int]]

    def list_needed(self, chosen: set[int]) -> set[int]:
        """The clips that the target and its rivals need, given those that are chosen anyway."""
        needed = {self.target.clip}
        for homes in self.homes.values():
            if not homes & (chosen | needed):
                needed.add(min(homes))
        return needed


def _has_colour(target: Candidate, other: Candidate) -> bool:
    return target.facts.thing.colours[0] in other.facts.thing.colours


def _is_same_kind(target: Candidate, other: Candidate) -> bool:
    """Whether one category lies within the other, as people speak."""
    asked, found = target.facts.thing.category, other.facts.thing.category
    return asked == found or WIDER.get(asked) == found or WIDER.get(found) == asked


def _does_the_same(target: Candidate, other: Candidate) -> bool:
    """Whether another does what the target does, perhaps among other things. What turns is not straight."""
    done = set(other.facts.actions)
    if target.motion == "straight":
        return "straight" in done and not done & (set(MOTIONS) - {"straight"})
    return target.motion in done
