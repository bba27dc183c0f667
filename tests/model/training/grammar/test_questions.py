"""Questions have right answers, and yes is as common as no."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tubelet.model.training.grammar.facts import (
    MomentFacts,
    RelationFacts,
    ThingFacts,
    tell_moment,
)
from tubelet.model.training.grammar.questions import (
    LETTERS,
    ask,
    ask_choice,
    ask_relation,
    ask_stop,
    ask_turn,
    ask_yes_no,
)
from tubelet.model.training.grammar.reading import read_caption
from tubelet.model.training.world.spec import ObjectTruth, Phase, Relation

CAR = MomentFacts(ThingFacts("car", ("red",)), ("straight", "turn-left", "stop"), "left")
BOX = MomentFacts(ThingFacts("box", ("teal",)))


class Clip:
    """The truth that telling needs."""

    def __init__(self, *objects: ObjectTruth, relations: tuple[Relation, ...] = ()) -> None:
        self.objects, self.relations = objects, relations


def make_truth(*phases: Phase, number: int = 1, turn: str = "none") -> ObjectTruth:
    return ObjectTruth(number, "car", ("red",), phases, turn, 0.0, phases[0].start_s, phases[-1].end_s, {})


def test_yes_and_no_are_balanced_and_right() -> None:
    generator = np.random.default_rng(0)
    answers: Counter[str] = Counter()
    for _ in range(2000):
        question = ask_yes_no(CAR, generator)
        answers[question.answer] += 1
        read = read_caption(question.text.replace("Does it", "it").replace("Does the object", "it"))
        if read.category is not None:
            assert (question.answer == "Yes.") == (read.category == "car"), question
        elif read.colours:
            assert (question.answer == "Yes.") == (read.colours == ("red",)), question
        elif read.actions:
            assert (question.answer == "Yes.") == (read.actions[0] in CAR.actions), question
    assert 0.45 < answers["Yes."] / 2000 < 0.55


def test_choices_hold_the_right_one_once() -> None:
    generator = np.random.default_rng(0)
    letters: Counter[str] = Counter()
    for _ in range(400):
        question = ask_choice(CAR, generator)
        letter, right = question.answer[1], question.answer[4:]
        letters[letter] += 1
        assert f"({letter}) {right}" in question.text
        assert right in ("car", "red", "left")
        offered = [question.text.split(f"({other}) ")[1].split(" (")[0].rstrip(".") for other in LETTERS]
        assert len(set(offered)) == 4
    assert min(letters[letter] for letter in LETTERS) > 60


def test_turn_and_stop() -> None:
    generator = np.random.default_rng(0)
    assert ask_turn(CAR, generator).answer == "It turns left."
    assert ask_stop(CAR, generator).answer == "Yes."
    assert ask_turn(BOX, generator).answer == "It does not turn."


def test_a_single_picture_is_asked_nothing_about_motion() -> None:
    generator = np.random.default_rng(0)
    topics = {question.topic for _ in range(50) for question in ask(BOX, generator, count=5)}
    assert topics == {"colour", "category", "phrase", "yes-no", "choice"}


def test_two_objects() -> None:
    generator = np.random.default_rng(0)
    follows = RelationFacts("follows", "object", ThingFacts("van", ("white",)))
    question = ask_relation(follows, generator)
    assert question.text.count("<region>") == 2
    assert question.answer == "It is followed by it."


def test_a_stretch_is_told_by_what_happens_in_it() -> None:
    truth = make_truth(Phase("straight", 0, 2), Phase("turn-left", 2, 4), Phase("stop", 4, 6), turn="left")
    clip = Clip(truth)
    whole, before = tell_moment(clip, truth, 0, 6), tell_moment(clip, truth, 0, 2.1)
    assert whole is not None
    assert (whole.actions, whole.turn) == (("straight", "turn-left", "stop"), "left")
    assert before is not None
    assert (before.actions, before.turn) == (("straight",), "none")
    assert tell_moment(clip, truth, 0, 3) is None, "half a turn is neither"


def test_a_turn_that_the_path_does_not_show_is_not_told() -> None:
    truth = make_truth(Phase("turn-left", 0, 2), turn="none")
    assert tell_moment(Clip(truth), truth, 0, 2) is None


@pytest.mark.parametrize(("number", "role"), [(1, "subject"), (2, "object")])
def test_relations_are_seen_from_both_sides(number: int, role: str) -> None:
    first, second = (make_truth(Phase("straight", 0, 4), number=n) for n in (1, 2))
    clip = Clip(first, second, relations=(Relation("follows", 1, 2, 0, 4), Relation("behind", 1, 2, 3.9, 4)))
    told = tell_moment(clip, (first, second)[number - 1], 0, 3.5)
    assert told is not None
    assert [(r.kind, r.role) for r in told.relations] == [("follows", role)]
