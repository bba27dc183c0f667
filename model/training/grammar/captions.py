"""Noun phrases and captions: what a moment's facts sound like in English."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tubelet.model.training.grammar.facts import MomentFacts, RelationFacts, ThingFacts
from tubelet.model.training.grammar.words import (
    COLOUR_WORDS,
    MOVERS,
    NOUNS,
    PHRASES,
    THING,
    WIDER,
    Form,
    Wording,
    inflect,
    pick,
)
from tubelet.model.training.world.spec import Action, RelationKind, Split

MAX_ACTIONS = 4
USUAL_CAPTION_SHARE = 0.7
WORN_SHARE = 0.8
"""How often a person is "in red" and not "red"."""

RELATION_SHARE = 0.4
"""How often a caption over time names another object that the moment's own relations hold."""

TURN_SIDES = {"left": "to the left", "right": "to the right"}

_LINKS = Wording(", then ", (" and then ", " before "), (" and afterwards ", ", after that "))
_COLOUR_LINKS = Wording(" and ")

_FRAMES = Wording(
    "{np} {third}.",
    ("{np} {ing}.", "{np} is {ing}.", "{bare} {third}.", "{bare} {ing}.", "There is {np} {ing}."),
    ("{np} can be seen {ing}.", "We see {np} {ing}.", "Here {np} {third}."),
)
"""One-sentence captions: with a finite verb, a participle, or introduced."""

_STILL_FRAMES = Wording("{np}.", ("{bare}.", "There is {np}."), ("We see {np}.", "The picture shows {np}."))

TAILS: dict[tuple[RelationKind, str], Wording] = {
    ("follows", "subject"): Wording("following {np}", ("behind {np}",), ("closely following {np}",)),
    ("follows", "object"): Wording("followed by {np}", (), ("closely followed by {np}",)),
    ("overtakes", "subject"): Wording("overtaking {np}", ("passing {np}",), ("passing by {np}",)),
    ("overtakes", "object"): Wording("overtaken by {np}", (), ("passed by {np}",)),
    ("next-to", "subject"): Wording("next to {np}", ("beside {np}",), ("alongside {np}",)),
    ("next-to", "object"): Wording("next to {np}", ("beside {np}",), ("alongside {np}",)),
    ("behind", "subject"): Wording("behind {np}"),
    ("behind", "object"): Wording("in front of {np}", ("ahead of {np}",)),
    ("in-front-of", "subject"): Wording("in front of {np}", ("ahead of {np}",)),
    ("in-front-of", "object"): Wording("behind {np}"),
    ("crosses-path-of", "subject"): Wording("passing in front of {np}"),
    ("crosses-path-of", "object"): Wording("behind {np}"),
}
"""What is said of the other object at the end of a caption, by the relation and the described one's role."""


def name_colours(colours: Sequence[str], generator: np.random.Generator, split: Split, usual: float) -> str:
    """Colour words joined by "and"."""
    return " and ".join(COLOUR_WORDS[colour].choose(generator, split, usual=usual) for colour in colours)


def name_thing(
    thing: ThingFacts,
    generator: np.random.Generator,
    split: Split,
    *,
    article: bool = True,
    usual: float = USUAL_CAPTION_SHARE,
) -> str:
    """A noun phrase, "a red and white bus"; people wear their colours in some wordings."""
    noun = NOUNS[thing.category].choose(generator, split, usual=usual)
    colours = name_colours(thing.colours, generator, split, usual)
    if thing.category == "person" and colours and generator.random() < WORN_SHARE:
        phrase = f"{noun} in {colours}"
    else:
        phrase = f"{colours} {noun}" if colours else noun
    return add_article(phrase) if article else phrase


def add_article(phrase: str) -> str:
    """A or an before a noun phrase, by its first sound: "SUV" starts with a vowel's."""
    starts_with_vowel = (
        phrase[0].lower() in "aeio" or phrase.startswith("SUV") or phrase.startswith("individual")
    )
    return f"{'an' if starts_with_vowel else 'a'} {phrase}"


def say_brief(facts: MomentFacts, generator: np.random.Generator, split: Split = "train") -> str:
    """One sentence with what matters most: what it is, and its turn or its first and last action."""
    return _say_sentence(facts, choose_main(facts.actions), generator, split, relation="")


def say_detailed(facts: MomentFacts, generator: np.random.Generator, split: Split = "train") -> str:
    """A caption over time: every action in order, and at times what it has to do with another object."""
    relation = ""
    told = [tail for tail in facts.relations if (tail.kind, tail.role) in TAILS]
    if told and generator.random() < RELATION_SHARE:
        relation = _say_tail(pick(generator, told), generator, split)
    return _say_sentence(facts, facts.actions[:MAX_ACTIONS], generator, split, relation=relation)


def say_actions(facts: MomentFacts, generator: np.random.Generator, split: Split = "train") -> str:
    """What it does, as an answer: "It turns left, then stops."."""
    return f"It {_join_actions(facts, facts.actions[:MAX_ACTIONS], 'third', generator, split)}."


def choose_main(actions: Sequence[Action]) -> tuple[Action, ...]:
    """The actions of a one-sentence caption: two at most, without going straight around the others."""
    telling = dict.fromkeys(action for action in actions if action not in ("straight", "start"))
    return tuple(telling)[:2] or tuple(actions[:1])


def _say_sentence(
    facts: MomentFacts,
    actions: Sequence[Action],
    generator: np.random.Generator,
    split: Split,
    *,
    relation: str,
) -> str:
    frame = (_FRAMES if actions else _STILL_FRAMES).choose(generator, split, usual=USUAL_CAPTION_SHARE)
    sentence = frame
    if "{np}" in frame:
        sentence = sentence.replace("{np}", name_thing(facts.thing, generator, split))
    if "{bare}" in frame:
        sentence = sentence.replace("{bare}", name_thing(facts.thing, generator, split, article=False))
    if actions:
        form: Form = "third" if "{third}" in frame else "ing"
        verbs = _join_actions(facts, actions, form, generator, split)
        sentence = sentence.replace(f"{{{form}}}", verbs)
    if relation:
        sentence = f"{sentence.removesuffix('.')}, {relation}."
    return sentence[0].upper() + sentence[1:]


def _join_actions(
    facts: MomentFacts,
    actions: Sequence[Action],
    form: Form,
    generator: np.random.Generator,
    split: Split,
) -> str:
    joined = ""
    for position, action in enumerate(actions):
        link = _LINKS.choose(generator, split) if position else ""
        is_before = link == " before "
        said = say_action(facts, action, "ing" if is_before else form, generator, split, needs_verb=is_before)
        joined += f"{link}{said}" if joined else said
    return joined


def say_action(
    facts: MomentFacts,
    action: Action,
    form: Form,
    generator: np.random.Generator,
    split: Split,
    *,
    needs_verb: bool = False,
) -> str:
    """One action of the described object. `needs_verb`: "staying parked" where "parked" would not do."""
    phrase = PHRASES[action][MOVERS[facts.thing.category]].choose(generator, split)
    if action == "circle" and facts.turn in TURN_SIDES and set(facts.actions) == {"circle"}:
        phrase += f" {TURN_SIDES[facts.turn]}"
    if needs_verb:
        phrase = phrase.replace("{be}", "{stay}")
    said = inflect(phrase, form)
    if THING in said:
        said = said.replace(THING, _name_other(facts, action, generator, split))
    return said


def _name_other(facts: MomentFacts, action: Action, generator: np.random.Generator, split: Split) -> str:
    """Whom it overtakes or follows: the one that a relation names, or another of its kind."""
    kind = {"overtake": "overtakes", "follow": "follows"}[action]
    for relation in facts.relations:
        if relation.kind == kind and relation.role == "subject":
            return name_thing(relation.other, generator, split)
    return f"another {WIDER[MOVERS[facts.thing.category]]}"


def _say_tail(relation: RelationFacts, generator: np.random.Generator, split: Split) -> str:
    wording = TAILS[relation.kind, relation.role].choose(generator, split)
    return wording.replace("{np}", name_thing(relation.other, generator, split))
