"""Which sentence about a moment is shown: the network's or the measured one. The rule: docs/describing.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tubelet.errors import InputError
from tubelet.model.categories import agree, are_kin, choose_narrower
from tubelet.model.describing.attributes import SLOW_LENGTHS_PER_S, compose_sentence
from tubelet.model.describing.base import Description, Naming
from tubelet.model.describing.sentences import (
    SentenceFacts,
    are_close_colours,
    read_sentence,
    recolour,
    rename,
)
from tubelet.model.describing.turning import TURNS
from tubelet.records import Attributes, CaptionSource, Likelihoods, Motion, Turn

MIN_CONFIDENCE = 0.2
"""Below this a network's sentence is not shown, whatever it says."""

MIN_FAMILIARITY = 0.06
"""Below this the object looks like nothing that the network was trained on, and its sentence is not shown."""

MIN_COLOUR_SHARE = 0.5
"""From this share of the object on, its first colour is a fact that a sentence must not contradict."""

MIN_SURE_WAY = 0.8
"""From here on what is read from the path outweighs that the object was measured to stand."""

STRAIGHT_MAX_DEG = 25.0
U_TURN_MIN_DEG = 120.0

_WAYS_IN_WORDS: Mapping[Turn, str] = {
    "left": "it turns left",
    "right": "it turns right",
    "u": "it makes a U-turn",
    "none": "it goes straight",
}

RIDDEN = frozenset({"bicycle", "motorcycle", "horse"})
"""What a person sits on: the two are one object, and either name is right."""


@dataclass(frozen=True, slots=True)
class ChosenSentence:
    """The sentence to show, who said it, and what the moment's attributes and motion are with it.

    `likely` is what else the object may be, whichever sentence is shown.
    `reason` says why the network's sentence was not taken; it is empty where it was, or where there was none.
    """

    text: str
    source: CaptionSource
    attributes: Attributes
    motion: Motion | None
    reason: str = ""
    likely: Likelihoods = field(default_factory=Likelihoods)


def choose_sentence(
    description: Description,
    attributes: Attributes,
    motion: Motion | None,
    moving: Motion | None = None,
) -> ChosenSentence:
    """Show the captioner's sentence unless what was measured speaks against it.

    `attributes.category` is what a recogniser found, with its score. `motion` is None where nobody could
    measure it, as in a single picture; `moving` takes its place where it stands by measurement and the
    captioner knows surely that such an object moves.
    """
    chosen = _choose(description, attributes, motion, moving)
    return replace(chosen, likely=_list_likely(description))


def _choose(
    description: Description, attributes: Attributes, motion: Motion | None, moving: Motion | None
) -> ChosenSentence:
    if description.source == "measured":
        return ChosenSentence(description.text, "measured", attributes, motion)
    facts = read_sentence(description.text)
    naming = _find_naming(facts, description)
    attributes = _adopt_colours(_list_colours(facts, description), _adopt_category(naming, attributes))
    motion = _adopt_way(description, motion, moving)
    if _is_at_home(description):
        return _choose_at_home(facts, description, naming, attributes, motion)
    if reason := _find_contradiction(facts, description, attributes, motion):
        return ChosenSentence(compose_sentence(attributes, motion), "measured", attributes, motion, reason)
    merged = _merge_category(facts, description.confidence, attributes)
    return ChosenSentence(description.text, "model", merged, motion)


def _choose_at_home(
    facts: SentenceFacts,
    description: Description,
    naming: Naming,
    attributes: Attributes,
    motion: Motion | None,
) -> ChosenSentence:
    """The sentence of a network that knows such pictures, which is more than recogniser and measurement do.

    `attributes` bear the name of `naming` and the colours, `motion` the way that are known already.
    """
    text = description.text
    reason = "" if motion is None else _find_motion_contradiction(facts, description, motion)
    said = facts.category
    if said and said != naming.name and not _is_rider(said, naming.name):
        if are_kin(said, naming.name):
            text = rename(text, naming.name)
        else:
            reason = reason or f"it looks like a {naming.name}"
    if facts.colours and facts.colours[0] != attributes.colours[0]:
        text = recolour(text, attributes.colours[0])
    if reason:
        return ChosenSentence(compose_sentence(attributes, motion), "measured", attributes, motion, reason)
    return ChosenSentence(text, "model", attributes, motion)


def refuse_strange(familiarity: float | None, captioner: str) -> None:
    """Raise InputError where an answer of a captioner about an object would be a guess."""
    if _is_strange(familiarity):
        raise InputError(
            f"The object looks like nothing {captioner} was trained on ({familiarity:.3f})",
            expected=f"a familiarity of at least {MIN_FAMILIARITY}",
            do="use published weights, which have seen real footage",
        )


def _is_strange(familiarity: float | None) -> bool:
    """Whether the network is known to have seen nothing like the object."""
    return familiarity is not None and familiarity < MIN_FAMILIARITY


def _is_familiar(description: Description) -> bool:
    """Whether the network is known to have seen the like."""
    return description.familiarity is not None and not _is_strange(description.familiarity)


def _is_at_home(description: Description) -> bool:
    """Whether the network is known to have seen the like, and is not unsure."""
    return _is_familiar(description) and description.confidence >= MIN_CONFIDENCE


def _find_naming(facts: SentenceFacts, description: Description) -> Naming:
    """What the object is called: as its like in training, else by a network that is at home; or nothing."""
    if _is_familiar(description) and description.naming is not None:
        return description.naming
    return Naming(facts.category if _is_at_home(description) else "", description.confidence)


def _list_colours(facts: SentenceFacts, description: Description) -> tuple[str, ...]:
    """The colours, the main one first: that of its like in training, beside what a network at home says."""
    said = facts.colours if _is_at_home(description) else ()
    if not _is_familiar(description) or description.colour is None:
        return said
    main = description.colour.name
    others = [name for name in said[1:] if name != main]
    return main, *((said[0],) if main in said[1:] else others)


def _list_likely(description: Description) -> Likelihoods:
    """What the object may be, where the network is known to have seen the like."""
    if not _is_familiar(description):
        return Likelihoods()
    odds = [naming.odds if naming else () for naming in (description.colour, description.way)]
    colours, ways = (
        (tuple(name for name, _ in pairs), tuple(round(score, 3) for _, score in pairs)) for pairs in odds
    )
    return Likelihoods(*colours, *ways)


def _find_contradiction(
    facts: SentenceFacts, description: Description, attributes: Attributes, motion: Motion | None
) -> str:
    """What speaks against a sentence, in words; empty when nothing does."""
    confidence = description.confidence
    if _is_strange(description.familiarity):
        return "it looks like nothing the captioner was trained on"
    if confidence < MIN_CONFIDENCE:
        return f"confidence {confidence:.2f}"
    if motion is not None and (against := _find_motion_contradiction(facts, description, motion)):
        return against
    measured = attributes.colours
    if (
        facts.colours
        and measured
        and attributes.colour_shares[0] >= MIN_COLOUR_SHARE
        and not are_close_colours(facts.colours, measured)
    ):
        return f"it is {measured[0]}"
    if _is_other_category(facts.category, attributes.category) and attributes.category_score >= confidence:
        return f"it was recognised as a {attributes.category}"
    return ""


def _find_motion_contradiction(facts: SentenceFacts, description: Description, motion: Motion) -> str:
    if motion.stopped:
        return "it stands still" if facts.moving and not facts.still else ""
    way = _find_way(description)
    is_sure = way is not None or motion.speed >= SLOW_LENGTHS_PER_S
    if facts.still and not facts.moving and is_sure:
        return "it moves"
    said, turned = facts.turn, abs(motion.turn_deg)
    if said is None or said == motion.turn:
        return ""
    if said == "none":
        return "it turns"
    if way is not None:
        return _WAYS_IN_WORDS[motion.turn]
    if motion.turn == "none":
        return "it goes straight" if turned < STRAIGHT_MAX_DEG else ""
    if "u" in (said, motion.turn):
        return "" if turned >= U_TURN_MIN_DEG else "it makes no U-turn"
    return _WAYS_IN_WORDS[motion.turn]


def _find_way(description: Description) -> Naming | None:
    """How the object moves, where the network is known to have seen the like."""
    return description.way if _is_familiar(description) else None


def _adopt_way(description: Description, motion: Motion | None, moving: Motion | None) -> Motion | None:
    """The motion with what is known of the way."""
    way = _find_way(description)
    if motion is None or way is None:
        return motion
    if way.name == "still":
        still = replace(motion, heading="none", heading_deg=None, speed=0.0, turn="none", turn_deg=0.0)
        return replace(still, stopped=True, approaching=False, leaving=False)
    if motion.stopped and (moving is None or way.score < MIN_SURE_WAY):
        return motion
    turn: Turn = next(name for name in TURNS if name == way.name)
    return replace(moving if motion.stopped and moving else motion, turn=turn)


def _is_other_category(said: str, recognised: str) -> bool:
    if not said or not recognised or agree(said, recognised):
        return False
    return not _is_rider(said, recognised)


def _is_rider(first: str, second: str) -> bool:
    return "person" in (first, second) and bool(RIDDEN & {first, second})


def _adopt_category(naming: Naming, attributes: Attributes) -> Attributes:
    """What the object is called where that is known; what the recogniser called it stays a word for it."""
    recognised = attributes.category
    if not naming.name or naming.name == recognised:
        return attributes
    kinds = attributes.kinds if not recognised else (recognised, *attributes.kinds)
    return replace(attributes, category=naming.name, category_score=naming.score, kinds=kinds)


def _adopt_colours(said: tuple[str, ...], attributes: Attributes) -> Attributes:
    """The colours that are said, at most two. One that was not measured covers what the others leave over."""
    if not said:
        return attributes
    measured = dict(zip(attributes.colours, attributes.colour_shares, strict=True))
    names = said[:2]
    rest = max(0.0, 1.0 - sum(measured.get(name, 0.0) for name in names))
    return replace(attributes, colours=names, colour_shares=tuple(measured.get(name, rest) for name in names))


def _merge_category(facts: SentenceFacts, confidence: float, attributes: Attributes) -> Attributes:
    """The attributes beside the network's sentence: of two names for one thing the narrower one counts.

    Where the sentence is surer of another category, the recognised one is kept among the words only.
    """
    said, recognised = facts.category, attributes.category
    if not recognised or not said or said == recognised or _is_rider(said, recognised):
        return attributes
    if not agree(said, recognised):
        return replace(attributes, category="", category_score=0.0, kinds=(recognised, *attributes.kinds))
    if choose_narrower(said, recognised) == recognised:
        return attributes
    return replace(attributes, category=said, category_score=confidence)
