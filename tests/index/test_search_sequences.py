"""Steps on one object: dynamic programming against brute force, and searches for an order."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.index.factories import (
    MODELS,
    Find,
    group_objects,
    make_attributes,
    make_moment,
    make_motion,
    make_video,
)
from tubelet.index.searching.judging import FLOORS
from tubelet.index.searching.sequences import match_steps, measure_floor, trace_steps
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import Condition, Step
from tubelet.records import Moment, Motion

STOPPED = make_motion(heading="none", heading_deg=None, stopped=True, speed=0.0)
LEFT, RIGHT = (make_motion(turn=turn) for turn in ("left", "right"))
STRAIGHT = make_motion()

FACTORS = st.sampled_from([0.4, 0.55, 0.7, 0.85, 1.0])
STEPS = st.builds(Step, st.just((Condition("pace", ("stopped",)),)), st.booleans())


@st.composite
def sequences(draw: st.DrawFn) -> tuple[list[Step], list[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """One to three steps, and factors for the moments of one to three objects."""
    steps = draw(st.lists(STEPS, min_size=1, max_size=3))
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    objects = np.repeat(np.arange(len(sizes)), sizes)
    factors = [np.array(draw(st.lists(FACTORS, min_size=len(objects), max_size=len(objects)))) for _ in steps]
    return steps, factors, objects


def find_by_force(steps: list[Step], factors: list[np.ndarray[Any, Any]]) -> float:
    """The best of all ways to put steps on an object's moments, or on none."""
    best = 0.0
    for places in product([None, *range(len(factors[0]))], repeat=len(steps)):
        value, last = 1.0, -1
        for step, factor, place in zip(steps, factors, places, strict=True):
            if place is None:
                value *= measure_floor(step)
                continue
            if place < last or (place == last and not step.same_moment):
                value = 0.0
                break
            value *= factor[place]
            last = place
        best = max(best, value)
    return best


@settings(max_examples=200, deadline=None)
@given(sequences())
def test_the_best_order_is_found(case: tuple[Any, Any, Any]) -> None:
    steps, factors, objects = case
    values = match_steps(steps, factors, objects)
    for number in range(objects.max() + 1):
        own = [factor[objects == number] for factor in factors]
        assert values[number] == pytest.approx(find_by_force(steps, own))
        places = trace_steps(steps, own)
        told = np.prod(
            [
                measure_floor(step) if place is None else factor[place]
                for step, factor, place in zip(steps, own, places, strict=True)
            ]
        )
        assert told == pytest.approx(values[number])
        taken = [place for place in places if place is not None]
        assert taken == sorted(taken)


def fill(store: IndexStore, lives: dict[str, list[Motion]], **fields: Any) -> None:
    """Objects that do one thing after the other, three seconds each, beginning at 1 s."""
    video = make_video()
    moments: list[Moment] = []
    for name, motions in lives.items():
        for place, motion in enumerate(motions):
            moments.append(
                make_moment(
                    len(moments),
                    video,
                    object_id=name,
                    motion=motion,
                    start_s=1.0 + 3 * place,
                    end_s=4.0 + 3 * place,
                    attributes=make_attributes("red", category="car"),
                    **fields,
                )
            )
    store.replace_video(video, group_objects(moments), moments, MODELS)


def test_an_order_is_of_one_object_and_in_time(store: IndexStore, find: Find) -> None:
    fill(
        store,
        {
            "right-order": [STRAIGHT, STOPPED, LEFT],
            "wrong-order": [LEFT, STOPPED],
            "only-left": [STRAIGHT, LEFT],
            "only-stops": [STRAIGHT, STOPPED],
            "neither": [STRAIGHT],
        },
    )
    hits = find("a car stops, then turns left")
    assert hits[0].object_id == "right-order"
    assert hits[0].score > 0.9
    assert hits[-1].object_id == "neither"
    assert all(hit.score < 0.5 for hit in hits[1:])
    first = hits[0]
    assert (first.start_s, first.end_s) == (4.0, 10.0)
    assert [(step.start_s, step.end_s) for step in first.steps] == [(4.0, 7.0), (7.0, 10.0)]
    assert first.moment_id == first.steps[0].moment_id
    assert first.why[1:3] == ("step 1 at 4.0 s: stops", "step 2 at 7.0 s: turns left")


def test_the_same_thing_twice_needs_two_moments(store: IndexStore, find: Find) -> None:
    fill(store, {"twice": [LEFT, STRAIGHT, LEFT], "once": [LEFT, STRAIGHT]})
    hits = find("turns left and then turns left again")
    assert [hit.object_id for hit in hits] == ["twice", "once"]
    assert hits[1].score < 0.5
    assert "step 2: not seen" in hits[1].why


def test_how_it_came_and_left_may_be_the_same_moment(store: IndexStore, find: Find) -> None:
    whole = make_motion(turn="left", entry_side="bottom", exit_side="left")
    parts = [make_motion(entry_side="bottom"), LEFT, make_motion(exit_side="left")]
    fill(store, {"in-one": [whole], "in-three": parts, "stays": [LEFT]})
    hits = find("enters from the bottom, turns left and leaves on the left")
    assert {hit.object_id for hit in hits if hit.score > 0.9} == {"in-one", "in-three"}
    assert hits[-1].object_id == "stays"


def test_stopping_is_more_than_standing(store: IndexStore, find: Find) -> None:
    fill(store, {"stops": [STRAIGHT, STOPPED], "stands": [STOPPED], "drives": [STRAIGHT]})
    hits = find("a car stops")
    assert [hit.object_id for hit in hits] == ["stops", "stands", "drives"]
    assert hits[0].score > 0.9
    assert hits[2].score == pytest.approx(FLOORS["change"], abs=0.01)
    assert find("a parked car")[0].object_id == "stands"


def test_starting_is_moving_after_standing(store: IndexStore, find: Find) -> None:
    fill(store, {"starts": [STOPPED, STRAIGHT], "drives": [STRAIGHT, LEFT], "stops": [STRAIGHT, STOPPED]})
    hits = find("a car starts moving")
    assert hits[0].object_id == "starts"
    assert hits[0].start_s == 4.0
    assert all(hit.score < 0.5 for hit in hits[1:])


def test_what_was_before_counts_even_outside_the_time_that_is_asked(store: IndexStore, find: Find) -> None:
    fill(store, {"stops": [STRAIGHT, STOPPED], "stands": [STOPPED, STOPPED]})
    hits = find("a car stops, after 5 s")
    assert [hit.object_id for hit in hits] == ["stops", "stands"]
    assert hits[0].score > 0.9


def test_all_steps_lie_in_the_time_that_is_asked(store: IndexStore, find: Find) -> None:
    fill(store, {"early": [LEFT, RIGHT, STRAIGHT], "late": [STRAIGHT, LEFT, RIGHT]})
    hits = find("turns left, then turns right, after 5 s")
    assert [hit.object_id for hit in hits] == ["late", "early"]
    assert hits[1].score < 0.5
