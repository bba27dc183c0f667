"""Questions about a moment and their answers; yes-no questions are as often one as the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tubelet.model.training.grammar.captions import (
    add_article,
    name_colours,
    name_thing,
    say_action,
    say_actions,
)
from tubelet.model.training.grammar.facts import MomentFacts, RelationFacts, ThingFacts
from tubelet.model.training.grammar.words import COLOUR_WORDS, NOUNS, Wording, pick
from tubelet.model.training.world.spec import CATEGORIES, COLOURS, Action, Category, Split
from tubelet.records import Turn

Topic = Literal["colour", "category", "phrase", "turn", "stop", "action", "yes-no", "choice", "relation"]

REGION = "<region>"
NUM_CHOICES = 4
LETTERS = "ABCD"
ANSWER_USUAL = 0.95
"""Answers keep to the usual word: a question has one right answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answer. `text` holds `<region>` for each object only where there are two."""

    topic: Topic
    text: str
    answer: str


_COLOUR = Wording(
    "What colour is it?",
    ("What colour is the object?", "What color is it?", "Which colour does it have?", "What is its colour?"),
    ("Name its colour.", "Tell me the colour of the object.", "Of which colour is this thing?"),
)
_CATEGORY = Wording(
    "What is it?",
    ("What kind of object is this?", "What is the marked object?", "Which category is it?", "What is this?"),
    ("Can you tell what this is?", "Name the kind of object."),
)
_PHRASE = Wording(
    "Name the object in a few words.",
    ("What is the object, in short?", "Give a short phrase for it."),
    ("Put a short label on it.",),
)
_TURN = Wording(
    "Which way does it turn?",
    ("Does it turn left or right?", "In which direction does it turn?", "Where does it turn?"),
    ("Tell me which way it turns.", "To which side is it turning?"),
)
_STOP = Wording("Does it stop?", ("Does it come to a stop?",), ("Is it stopping?",))
_ACTION = Wording(
    "What does it do?",
    ("What is it doing?", "How does it move?", "What happens to the object?"),
    ("Describe what it does.", "Say how it moves."),
)
_IS_A = Wording("Is it {np}?", ("Is this {np}?", "Is the object {np}?"), ("Would you call it {np}?",))
_IS_COLOUR = Wording(
    "Is it {c}?", ("Is the object {c}?", "Is its colour {c}?"), ("Would you say that it is {c}?",)
)
_DOES = Wording("Does it {v}?", ("Does the object {v}?",), ("Is it true that it will {v}?",))
_CHOICES = Wording("{q} Choose one: {choices}.", ("{q} {choices}.",), ("{q} Pick from these: {choices}.",))
_BETWEEN = Wording(
    "What does <region> do to <region>?",
    ("How does <region> stand to <region>?", "What is <region> doing to <region>?"),
    ("What has <region> to do with <region>?",),
)

TURN_ANSWERS: dict[Turn, str] = {
    "left": "It turns left.",
    "right": "It turns right.",
    "u": "It makes a U-turn.",
    "none": "It does not turn.",
}

_BETWEEN_ANSWERS = {
    "follows": ("It follows it.", "It is followed by it."),
    "overtakes": ("It overtakes it.", "It is overtaken by it."),
    "next-to": ("It is next to it.", "It is next to it."),
    "behind": ("It is behind it.", "It is in front of it."),
    "in-front-of": ("It is in front of it.", "It is behind it."),
    "crosses-path-of": ("It crosses its path.", "Its path is crossed by it."),
}
"""By the first region's role in the relation: subject, object."""

CONFUSED: Mapping[Category, tuple[Category, ...]] = {
    "car": ("suv", "van", "pickup"),
    "suv": ("car", "van", "pickup"),
    "van": ("suv", "bus", "truck"),
    "pickup": ("car", "suv", "truck"),
    "truck": ("bus", "van", "pickup"),
    "bus": ("truck", "van"),
    "motorbike": ("bicycle", "person"),
    "bicycle": ("motorbike", "person"),
}
"""Categories that look alike: half of the wrong answers offered come from here."""


def ask(
    facts: MomentFacts, generator: np.random.Generator, split: Split = "train", *, count: int = 3
) -> list[Question]:
    """Some questions about one object, each of another topic where there are enough."""
    makers: list[Callable[[MomentFacts, np.random.Generator, Split], Question]] = [
        ask_colour,
        ask_category,
        ask_phrase,
        ask_yes_no,
        ask_choice,
    ]
    if facts.actions:
        makers += [ask_turn, ask_stop, ask_action]
    order = generator.permutation(len(makers))
    return [makers[index](facts, generator, split) for index in order[:count]]


def ask_colour(facts: MomentFacts, generator: np.random.Generator, split: Split = "train") -> Question:
    """What colour is it?"""
    colours = name_colours(facts.thing.colours, generator, "train", ANSWER_USUAL)
    return Question("colour", _COLOUR.choose(generator, split, usual=0.4), f"{colours.capitalize()}.")


def ask_category(facts: MomentFacts, generator: np.random.Generator, split: Split = "train") -> Question:
    """What is it?"""
    noun = NOUNS[facts.thing.category].choose(generator, "train", usual=ANSWER_USUAL)
    answer = add_article(noun)
    return Question(
        "category", _CATEGORY.choose(generator, split, usual=0.4), f"{answer[0].upper()}{answer[1:]}."
    )


def ask_phrase(facts: MomentFacts, generator: np.random.Generator, split: Split = "train") -> Question:
    """A short noun phrase for it."""
    phrase = name_thing(facts.thing, generator, "train", article=False, usual=ANSWER_USUAL)
    return Question("phrase", _PHRASE.choose(generator, split, usual=0.4), phrase)


def ask_turn(facts: MomentFacts, generator: np.random.Generator, split: Split = "train") -> Question:
    """Which way does it turn?"""
    return Question("turn", _TURN.choose(generator, split, usual=0.4), TURN_ANSWERS[facts.turn])


def ask_stop(facts: MomentFacts, generator: np.random.Generator, split: Split = "train") -> Question:
    """Does it stop?"""
    return Question("stop", _STOP.choose(generator, split), "Yes." if "stop" in facts.actions else "No.")


def ask_action(facts: MomentFacts, generator: np.random.Generator, split: Split = "train") -> Question:
    """What does it do?"""
    return Question(
        "action", _ACTION.choose(generator, split, usual=0.4), say_actions(facts, generator, "train")
    )


def ask_yes_no(facts: MomentFacts, generator: np.random.Generator, split: Split = "train") -> Question:
    """A question whose answer is yes in half of the cases."""
    is_true = bool(generator.random() < 0.5)
    answer = "Yes." if is_true else "No."
    kind = int(generator.integers(3 if facts.actions else 2))
    if kind == 0:
        category = facts.thing.category if is_true else _choose_wrong(facts.thing, generator)
        noun = NOUNS[category].choose(generator, split)
        return Question("yes-no", _IS_A.choose(generator, split).replace("{np}", add_article(noun)), answer)
    if kind == 1:
        wrong = [colour for colour in COLOURS if colour not in facts.thing.colours]
        colour = facts.thing.colours[0] if is_true else pick(generator, wrong)
        word = COLOUR_WORDS[colour].choose(generator, split)
        return Question("yes-no", _IS_COLOUR.choose(generator, split).replace("{c}", word), answer)
    action = pick(generator, facts.actions if is_true else _list_wrong_actions(facts))
    verb = say_action(facts, action, "base", generator, split)
    return Question("yes-no", _DOES.choose(generator, split).replace("{v}", verb), answer)


def ask_choice(facts: MomentFacts, generator: np.random.Generator, split: Split = "train") -> Question:
    """A question with four answers to choose from; the answer is its letter and words."""
    if generator.random() < 0.5 or (facts.actions and facts.turn == "u"):
        question = _CATEGORY.choose(generator, split)
        right = NOUNS[facts.thing.category].usual
        others = [NOUNS[category].usual for category in CATEGORIES if category != facts.thing.category]
    elif facts.actions and generator.random() < 0.6:
        question = _TURN.choose(generator, split)
        words = {"left": "left", "right": "right", "none": "it does not turn", "u": "it makes a U-turn"}
        right = words.pop(facts.turn)
        others = list(words.values())
    else:
        question = _COLOUR.choose(generator, split)
        right = facts.thing.colours[0]
        others = [colour for colour in COLOURS if colour not in facts.thing.colours]
    offered = [right, *(others[index] for index in generator.permutation(len(others))[: NUM_CHOICES - 1])]
    order = [int(index) for index in generator.permutation(len(offered))]
    choices = " ".join(f"({letter}) {offered[index]}" for letter, index in zip(LETTERS, order, strict=False))
    letter = LETTERS[order.index(0)]
    text = _CHOICES.choose(generator, split).replace("{q}", question).replace("{choices}", choices)
    return Question("choice", text, f"({letter}) {right}")


def ask_relation(relation: RelationFacts, generator: np.random.Generator, split: Split = "train") -> Question:
    """What does one object do to another? The first `<region>` is the one whose role `relation` tells."""
    answer = _BETWEEN_ANSWERS[relation.kind][0 if relation.role == "subject" else 1]
    return Question("relation", _BETWEEN.choose(generator, split), answer)


def _choose_wrong(thing: ThingFacts, generator: np.random.Generator) -> Category:
    alike = CONFUSED.get(thing.category, ())
    if alike and generator.random() < 0.5:
        return pick(generator, alike)
    return pick(generator, [category for category in CATEGORIES if category != thing.category])


def _list_wrong_actions(facts: MomentFacts) -> list[Action]:
    """Actions that the moment certainly does not hold; a turn the other way among them more often."""
    wrong: list[Action] = []
    for action in ("turn-left", "turn-right", "u-turn", "stop", "parked", "circle", "fall"):
        if action not in facts.actions and "circle" not in facts.actions:
            wrong.append(action)
    if facts.turn in ("left", "right"):
        wrong += ["turn-right" if facts.turn == "left" else "turn-left"] * 2
        if "straight" not in facts.actions:
            wrong.append("straight")
    return [action for action in wrong if action not in facts.actions] or ["fall"]
