"""The `attributes` captioner: what can be measured on an object, said in one sentence.

No network and no guess: colour names from the mask's pixels, size from its area, motion from its path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tubelet.categories import PARENTS, list_lineage
from tubelet.errors import InputError
from tubelet.model.categories import SPELLINGS
from tubelet.model.describing.appearance import NUM_DIMENSIONS, mean_appearance
from tubelet.model.describing.base import DescribeRequest, Description, ObjectView
from tubelet.model.describing.colour import aggregate_colours
from tubelet.records import Attributes, Motion

Size = Literal["tiny", "small", "medium", "large"]

SIZE_LIMITS: tuple[tuple[float, Size], ...] = ((0.06, "large"), (0.015, "medium"), (0.003, "small"))
"""Least mean share of the frame's area for each size word; below the last it is tiny.

6 % is a box a quarter of the frame wide and high, 1.5 % an eighth, 0.3 % about a twentieth.
"""

SLOW_LENGTHS_PER_S = 0.35
FAST_LENGTHS_PER_S = 2.5
"""A walker of 1.7 m height (box length near 1 m) does 1.4 lengths a second, a car at 50 km/h about 4."""

_DIRECTIONS = {
    "right": "to the right",
    "up-right": "up and to the right",
    "up": "up",
    "up-left": "up and to the left",
    "left": "to the left",
    "down-left": "down and to the left",
    "down": "down",
    "down-right": "down and to the right",
}
_TURNS = {"left": "turns left", "right": "turns right", "u": "makes a U-turn"}


class AttributesCaptioner:
    """Says in plain English what was measured: size, colours, category when known, and motion.

    The confidence is the share of the object that the named colours cover, 0 when no colour was measured.
    """

    name = "attributes@1"
    object_dimensions = NUM_DIMENSIONS
    answers_questions = False

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        """One sentence and appearance vector for each request. A question raises InputError."""
        return [self._describe_one(request) for request in requests]

    def _describe_one(self, request: DescribeRequest) -> Description:
        if request.question is not None:
            raise InputError(
                f"The captioner {self.name} cannot answer the question {request.question!r}",
                expected="no question: it only says what was measured",
                do="choose a captioner that answers questions, such as pixelrefer-lite",
            )
        return Description(
            text=compose_sentence(request.attributes, request.motion),
            confidence=min(1.0, sum(request.attributes.colour_shares)),
            object_vector=mean_appearance([(view.image, view.mask) for view in request.views]),
            source="measured",
        )


def measure_attributes(
    views: Sequence[ObjectView], *, mean_area_share: float, category: str = ""
) -> Attributes:
    """Colours over all views, and the size word of `mean_area_share` (box area over frame area, 0..1).

    Views with an empty mask say nothing about colour; without any other the colours stay empty.
    """
    pictures = [(view.image, view.mask) for view in views if view.mask.any()]
    colours, shares = aggregate_colours(pictures) if pictures else ((), ())
    return Attributes(
        colours=colours, colour_shares=shares, size=name_size(mean_area_share), category=category
    )


def name_size(area_share: float) -> Size:
    """The size word of an object that covers this share of the frame."""
    if not (np.isfinite(area_share) and area_share >= 0):
        raise ValueError(f"area share is {area_share}; expected 0..1")
    return next((word for limit, word in SIZE_LIMITS if area_share >= limit), "tiny")


def compose_sentence(attributes: Attributes, motion: Motion | None) -> str:
    """A sentence such as "A large red car enters from the bottom, moves up and leaves at the top."

    subject = "A" size [colour ["and" colour]] (category | "object")
              of people: "A" size category ["in" colour ["and" colour]]
    clauses = ["enters from the" side] ["stands still" | "moves" [pace] direction] [turn]
              ["comes closer" | "moves away"] ["leaves at the" side]

    Without a motion, as in a single picture, it is the subject alone.
    """
    subject = _name_subject(attributes)
    return f"{subject}." if motion is None else f"{subject} {_join_clauses(_list_clauses(motion))}."


def _name_subject(attributes: Attributes) -> str:
    noun = SPELLINGS.get(attributes.category, attributes.category) or "object"
    colours = _join_colours(attributes)
    if attributes.category in PARENTS and "person" in list_lineage(attributes.category):
        return " ".join(["A", attributes.size, noun, *(["in", *colours] if colours else [])])
    return " ".join(["A", attributes.size, *colours, noun])


def _join_colours(attributes: Attributes) -> list[str]:
    return [" and ".join(attributes.colours)] if attributes.colours else []


def _list_clauses(motion: Motion) -> list[str]:
    clauses = [f"enters from the {motion.entry_side}"] if motion.entry_side else []
    if motion.stopped:
        clauses.append("stands still")
    elif motion.heading != "none":
        clauses.append(f"moves {_name_pace(motion.speed)}{_DIRECTIONS[motion.heading]}")
    elif not (motion.approaching or motion.leaving):
        clauses.append("moves about")
    if motion.turn != "none":
        clauses.append(_TURNS[motion.turn])
    if motion.approaching:
        clauses.append("comes closer")
    if motion.leaving:
        clauses.append("moves away")
    if motion.exit_side:
        clauses.append(f"leaves at the {motion.exit_side}")
    return clauses


def _name_pace(speed: float) -> str:
    if speed < SLOW_LENGTHS_PER_S:
        return "slowly "
    return "fast " if speed > FAST_LENGTHS_PER_S else ""


def _join_clauses(clauses: Sequence[str]) -> str:
    *first, last = clauses
    return f"{', '.join(first)} and {last}" if first else last
