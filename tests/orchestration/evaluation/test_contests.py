"""Which queries an archive allows, and which clips make one that allows many."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tubelet.model.training.grammar.facts import MomentFacts, ThingFacts
from tubelet.model.training.grammar.reading import read_caption
from tubelet.model.training.world.spec import Action, Category
from tubelet.orchestration.evaluation.contests import (
    DIFFERENCES,
    Candidate,
    answers,
    choose_clips,
    list_contests,
    tell_apart,
)
from tubelet.orchestration.evaluation.searching import phrase_query


def make(
    clip: int,
    category: Category,
    colour: str,
    *actions: Action,
    second: tuple[str, ...] = (),
    is_clear: bool = True,
) -> Candidate:
    turn = "left" if "turn-left" in actions else "right" if "turn-right" in actions else "none"
    facts = MomentFacts(ThingFacts(category, (colour, *second)), actions, turn)  # type: ignore[arg-type]
    return Candidate(clip, 1, facts, is_clear)


TARGET = make(1, "car", "red", "straight", "turn-left", "straight")
RIVALS = (
    make(2, "car", "blue", "turn-left"),
    make(3, "bus", "red", "turn-left"),
    make(4, "car", "red", "turn-right"),
)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (RIVALS[0], "colour"),
        (RIVALS[1], "category"),
        (RIVALS[2], "motion"),
        (make(5, "car", "red", "straight"), "motion"),
        (make(5, "suv", "red", "turn-left"), None),  # may be called a car
        (make(5, "car", "blue", "turn-left", second=("red",)), None),  # partly red
        (make(5, "car", "red", "stop", "turn-left"), None),  # turns left, too
        (make(5, "bus", "blue", "turn-left"), None),  # differs in two
        (make(5, "car", "red", "stop", "circle"), None),  # nothing that a query names
        (make(5, "car", "blue", "turn-left", is_clear=False), None),
    ],
)
def test_what_tells_another_apart(other: Candidate, difference: str | None) -> None:
    assert tell_apart(TARGET, other) == difference


def test_what_turns_does_not_go_straight() -> None:
    straight = make(1, "car", "red", "straight")
    assert not answers(straight, TARGET)
    assert tell_apart(straight, TARGET) == "motion"
    assert answers(straight, make(9, "car", "red", "start", "straight"))


def test_a_contest_names_rivals_and_all_right_answers() -> None:
    same = make(6, "car", "red", "turn-left", is_clear=False)
    contests = list_contests([TARGET, *RIVALS, same])
    targets = {contest.target.name: contest for contest in contests}
    contest = targets[TARGET.name]
    assert contest.right == {(1, 1), (6, 1)}
    assert contest.rivals == {"colour": {(2, 1)}, "category": {(3, 1)}, "motion": {(4, 1)}}


@pytest.mark.parametrize("missing", range(3))
def test_without_a_rival_of_every_kind_there_is_no_contest(missing: int) -> None:
    rivals = [rival for place, rival in enumerate(RIVALS) if place != missing]
    assert TARGET.name not in {contest.target.name for contest in list_contests([TARGET, *rivals])}


def test_clips_are_chosen_for_their_contests() -> None:
    fillers = [make(clip, "dog", "white", "parked") for clip in range(10, 20)]
    assert choose_clips([*fillers, *RIVALS, TARGET], 4) == [1, 2, 3, 4]


candidates = st.lists(
    st.builds(
        lambda clip, category, colour, action: make(clip, category, colour, action),
        st.integers(0, 12),
        st.sampled_from(["car", "bus", "dog"]),
        st.sampled_from(["red", "blue"]),
        st.sampled_from(["turn-left", "straight", "parked", "stop"]),
    ),
    max_size=24,
)


@settings(max_examples=30, deadline=None)
@given(candidates, st.integers(1, 10))
def test_as_many_clips_as_asked_for_and_there_are(pool: list[Candidate], count: int) -> None:
    chosen = choose_clips(pool, count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, len({candidate.clip for candidate in pool}))


@settings(max_examples=30, deadline=None)
@given(candidates)
def test_rivals_never_answer_and_differ_in_one_thing(pool: list[Candidate]) -> None:
    for contest in list_contests(pool):
        assert contest.target.name in contest.right
        assert set(contest.rivals) == set(DIFFERENCES)
        for rivals in contest.rivals.values():
            assert rivals
            assert not rivals & contest.right or len(pool) > len({item.name for item in pool})


def test_queries_ask_for_colour_category_and_motion() -> None:
    """Two colours would be another query: only the main one is named."""
    sentences = {phrase_query(make(clip, "car", "red", "turn-left", second=("white",))) for clip in range(30)}
    assert len(sentences) > 10
    for sentence in sentences:
        read = read_caption(sentence)
        assert (read.category, read.colours, read.turn) == ("car", ("red",), "left")
