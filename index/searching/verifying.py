"""Verification: the best hits are looked at again by a model that answers questions.

The seam is `Verifier`; what looks at videos lives above this layer. The score of a hit that was checked is
multiplied by 0.3 + 0.7 * p, with p the probability of "yes", and that of the others as for p = 0.7, so that
all can be compared. What was not checked is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tubelet.errors import QueryError
from tubelet.index.searching.judging import UNKNOWN
from tubelet.index.structured_query import Condition, Query
from tubelet.records import Hit

VERDICT_FLOOR = 0.3
"""What a "no" of the model leaves of the score."""

MAX_VERIFIED = 100
DEFAULT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The probability that a hit shows what was asked, or None and the reason why it was not checked."""

    probability: float | None
    reason: str = ""


class Verifier(Protocol):
    """Looks at hits and says how likely each is what was asked for."""

    @property
    def name(self) -> str:
        """`name@version` of what looks."""

    def verify(self, question: str, hits: Sequence[Hit], *, seconds: float) -> Sequence[Verdict]:
        """One verdict for each hit, in order. No hit is begun after `seconds`; those left have no verdict."""


def check_verification(count: int, seconds: float) -> None:
    """Raise QueryError for a number of hits or seconds that cannot be meant."""
    if not 0 <= count <= MAX_VERIFIED:
        raise QueryError(
            f"{count} hits should be verified",
            expected=f"0 to {MAX_VERIFIED}",
            do="verify fewer, or turn the page",
        )
    if not 0 < seconds < float("inf"):
        raise QueryError(
            f"The time for verifying is {seconds} s", expected="more than 0 seconds", do="allow some time"
        )


def verify_hits(
    hits: Sequence[Hit], query: Query, verifier: Verifier, *, count: int, seconds: float
) -> tuple[tuple[Hit, ...], tuple[str, ...]]:
    """The hits with the verdicts on the first `count`, best first again, and what must be said about it."""
    check_verification(count, seconds)
    verdicts = list(verifier.verify(make_question(query), hits[:count], seconds=seconds))
    assert len(verdicts) == len(hits[:count]), "one verdict for each hit"
    checked = [_apply(hit, verdict, verifier.name) for hit, verdict in zip(hits, verdicts, strict=False)]
    checked += [_apply(hit, Verdict(None, "not asked"), verifier.name) for hit in hits[count:]]
    reasons = Counter(verdict.reason for verdict in verdicts if verdict.probability is None)
    notes = tuple(
        f"{number} of {len(verdicts)} hits were not verified: {reason}" for reason, number in reasons.items()
    )
    ranked = sorted(checked, key=lambda hit: -hit.score)  # stable: equal scores keep their order
    return tuple(ranked), notes


def make_question(query: Query) -> str:
    """A question that "Yes" or "No" answers: whether an object fits what was asked of it."""
    asked = query.text.strip().rstrip(".") or _phrase(query)
    return f'Does this description fit the object: "{asked}"? Answer with yes or no.'


def _apply(hit: Hit, verdict: Verdict, name: str) -> Hit:
    probability = UNKNOWN if verdict.probability is None else verdict.probability
    told = (
        f"not verified: {verdict.reason}"
        if verdict.probability is None
        else f"verified by {name}: {'yes' if probability >= 0.5 else 'no'} {probability:.2f}"
    )
    return replace(
        hit,
        score=hit.score * (VERDICT_FLOOR + (1 - VERDICT_FLOOR) * probability),
        verified=verdict.probability,
        why=(*hit.why, told),
    )


def _phrase(query: Query) -> str:
    """What a query without a sentence asks, in words."""
    parts = [" ".join(_say(condition) for condition in query.conditions)]
    parts += [", ".join(_say(condition) for condition in step.conditions) for step in query.steps]
    told = ", then ".join(part for part in parts if part)
    others = [
        f"{'not ' if relation.negated else ''}{relation.kind.replace('-', ' ')} "
        + " ".join(["a", *(_say(condition) for condition in relation.conditions)])
        for relation in query.relations
    ]
    return ", ".join(part for part in (told, *others) if part) or "what was asked for"


_WORDS = {
    ("turn", "left"): "turns left",
    ("turn", "right"): "turns right",
    ("turn", "u"): "makes a U-turn",
    ("turn", "none"): "goes straight",
}


def _say(condition: Condition) -> str:
    values = [_WORDS.get((condition.kind, value), value) for value in condition.values]
    told = " or ".join(f"moves {value}" if condition.kind == "heading" else value for value in values)
    return f"not {told}" if condition.negated else told
