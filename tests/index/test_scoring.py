"""How well one moment meets one condition, and the formula of the score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.index.factories import (
    MODELS,
    TEXT_DIMENSIONS,
    make_attributes,
    make_moment,
    make_motion,
    make_path,
    make_video,
)
from tubelet.index.query import parse_query
from tubelet.index.schema import make_moment_row, make_moments_schema
from tubelet.index.searching.judging import FLOORS, LIKELY_WEIGHTS, UNKNOWN_CATEGORY, judge, match_category
from tubelet.index.searching.scoring import SEEN_WEIGHT, TEXT_WEIGHT, score_rows
from tubelet.index.structured_query import Condition, Kind, Query
from tubelet.records import Likelihoods, Moment


def make_table(*moments: Moment) -> pa.Table:
    """Moments as rows, without a store."""
    rows = [make_moment_row(moment, make_video(), MODELS, "g1") for moment in moments]
    return pa.Table.from_pylist(rows, schema=make_moments_schema(TEXT_DIMENSIONS, 0))


def judge_one(kind: Any, value: str, moment: Moment, *, negated: bool = False) -> float:
    return float(judge(Condition(kind, (value,), negated), make_table(moment))[0])


@pytest.mark.parametrize(
    ("colours", "shares", "asked", "expected"),
    [
        (("red",), (0.6,), "red", 1.0),
        (("grey", "red"), (0.6, 0.3), "red", 0.8),
        (("grey", "red"), (0.6, 0.15), "red", 0.4),
        (("orange",), (0.6,), "red", 0.4),
        (("teal",), (0.6,), "red", 0.0),
        (("maroon",), (0.6,), "red", 1.0),
    ],
)
def test_colours_are_judged_by_name_and_share(
    colours: tuple[str, ...], shares: tuple[float, ...], asked: str, expected: float
) -> None:
    moment = make_moment(attributes=make_attributes(colours=colours, colour_shares=shares))
    assert judge_one("colour", asked, moment) == pytest.approx(expected)
    assert judge_one("colour", asked, moment, negated=True) == pytest.approx(1 - expected)


def test_an_object_without_colours_is_unknown() -> None:
    moment = make_moment(attributes=make_attributes(colours=(), colour_shares=()))
    assert np.isnan(judge_one("colour", "red", moment))
    assert np.isnan(judge_one("colour", "red", moment, negated=True))


LIKELY = Likelihoods(("teal", "green"), (0.6, 0.3), ("left", "still"), (0.7, 0.2))


@pytest.mark.parametrize(
    ("kind", "asked", "value", "likelihood"),
    [
        ("colour", "teal", 1.0, 0.6),
        ("colour", "green", 0.4, 0.3),
        ("colour", "red", 0.0, 0.0),
        ("turn", "left", 1.0, 0.7),
        ("turn", "right", 0.0, 0.0),
        ("pace", "stopped", 0.0, 0.2),
        ("pace", "moving", 1.0, 0.8),
    ],
)
def test_what_else_an_object_may_be_counts_beside_what_is_said(
    kind: Kind, asked: str, value: float, likelihood: float
) -> None:
    said = make_moment(
        attributes=make_attributes(colours=("teal",), colour_shares=(0.9,)),
        motion=make_motion(turn="left", turn_deg=60.0),
    )
    assert judge_one(kind, asked, said) == pytest.approx(value)
    share = LIKELY_WEIGHTS[kind]
    expected = (1 - share) * value + share * likelihood
    assert judge_one(kind, asked, replace(said, likely=LIKELY)) == pytest.approx(expected)
    assert judge_one(kind, asked, replace(said, likely=LIKELY), negated=True) == pytest.approx(1 - expected)


def test_likelihoods_of_one_row_do_not_count_for_its_neighbours() -> None:
    plain = make_moment(0, motion=make_motion(turn="right", turn_deg=-60.0))
    table = make_table(plain, replace(plain, likely=LIKELY), plain)
    alone = judge_one("turn", "right", replace(plain, likely=LIKELY))
    assert judge(Condition("turn", ("right",)), table).tolist() == pytest.approx([1.0, alone, 1.0])


def test_a_colour_beside_the_main_one_is_worth_as_much_however_unlikely_as_main() -> None:
    likely = Likelihoods(("grey",), (0.99,))
    moment = make_moment(attributes=make_attributes(colours=("grey", "red"), colour_shares=(0.6, 0.3)))
    assert judge_one("colour", "red", replace(moment, likely=likely)) == judge_one("colour", "red", moment)


@pytest.mark.parametrize(
    ("asked", "label", "expected"),
    [
        ("car", "car", 1.0),
        ("car", "sedan", 1.0),
        ("sedan", "car", 1.0),
        ("vehicle", "pickup", 1.0),
        ("sedan", "suv", 0.5),
        ("car", "truck", 0.25),
        ("car", "person", 0.0),
        ("car", "zeppelin", 0.0),
    ],
)
def test_categories_are_judged_by_kinship(asked: str, label: str, expected: float) -> None:
    assert match_category(asked, label) == expected


@pytest.mark.parametrize(
    ("heading_deg", "asked", "expected"),
    [
        (180.0, "left", 1.0),
        (209.0, "left", 1.0),
        (240.0, "left", 0.5),
        (275.0, "left", 0.0),
        (350.0, "right", 1.0),
    ],
)
def test_headings_are_judged_by_angle(heading_deg: float, asked: str, expected: float) -> None:
    moment = make_moment(motion=make_motion(heading_deg=heading_deg))
    assert judge_one("heading", asked, moment) == pytest.approx(expected)


def test_what_stands_has_no_heading_and_does_not_go_straight() -> None:
    moment = make_moment(motion=make_motion(heading="none", heading_deg=None, stopped=True, speed=0.0))
    assert judge_one("heading", "left", moment) == 0
    assert judge_one("turn", "none", moment) == 0
    assert judge_one("pace", "stopped", moment) == 1
    assert judge_one("pace", "slow", moment) == 0


@pytest.mark.parametrize(
    ("speed", "fast", "slow"), [(0.35, 0.0, 1.0), (0.85, 0.0, 0.5), (1.75, 0.5, 0.0), (2.5, 1.0, 0.0)]
)
def test_pace_is_judged_in_own_lengths_a_second(speed: float, fast: float, slow: float) -> None:
    moment = make_moment(motion=make_motion(speed=speed))
    assert judge_one("pace", "fast", moment) == pytest.approx(fast)
    assert judge_one("pace", "slow", moment) == pytest.approx(slow)


@pytest.mark.parametrize(
    ("centre", "left", "middle", "right"),
    [
        (0.1, 1, 0, 0),
        (1 / 3, 1, 1, 0),
        (5 / 12, 0.5, 1, 0),
        (0.5, 0, 1, 0),
        (0.75, 0, 0.5, 1),
        (0.9, 0, 0, 1),
    ],
)
def test_places_are_thirds_with_soft_edges(centre: float, left: float, middle: float, right: float) -> None:
    # the factory's path moves 40 px to the right, so the mean centre is 45 px right of its first edge
    across = make_moment(path=make_path(x=1280 * centre - 45))
    along = make_moment(path=make_path(y=720 * centre - 15))
    for names, kind, moment in (
        (("left", "centre", "right"), "place_x", across),
        (("top", "middle", "bottom"), "place_y", along),
    ):
        judged = [judge_one(kind, name, moment) for name in names]
        assert judged == pytest.approx([left, middle, right], abs=1e-4)


@pytest.mark.parametrize(("score", "expected"), [(1.0, 1.0), (0.4, 0.94), (0.0, 1.0)])
def test_of_two_of_a_category_the_surer_one_fits_better(score: float, expected: float) -> None:
    """A score of 0 stands for none: the caption names the category."""
    moment = make_moment(attributes=make_attributes(category="car", category_score=score))
    assert judge_one("category", "car", moment) == pytest.approx(expected)
    assert judge_one("category", "suv", moment) == pytest.approx(expected * match_category("suv", "car"))
    assert judge_one("category", "bus", moment) < 0.3


@pytest.mark.parametrize(
    ("turn", "turn_deg", "expected"),
    [
        ("left", 90.0, 1.0),
        ("left", 0.0, 0.85),
        ("left", -60.0, 0.85),
        ("right", -22.5, 0.925),
        ("none", 30.0, 1.0),
        ("none", -90.0, 0.85),
        ("u", -150.0, 1.0),
    ],
)
def test_a_turn_that_the_angle_shows_fits_better(turn: str, turn_deg: float, expected: float) -> None:
    moment = make_moment(motion=make_motion(turn=turn, turn_deg=turn_deg))
    assert judge_one("turn", turn, moment) == pytest.approx(expected)
    assert judge_one("turn", "right" if turn == "left" else "left", moment) == 0


def test_the_formula_is_the_documented_one() -> None:
    moment = make_moment(attributes=make_attributes("teal"), motion=make_motion(turn="left"))
    query = parse_query("red car turning left")
    (score,) = score_rows(query, make_table(moment), np.array([0.5])).total
    category = FLOORS["category"] + (1 - FLOORS["category"]) * UNKNOWN_CATEGORY
    structure = FLOORS["colour"] * category * 1.0
    assert score == pytest.approx(structure * (1 - TEXT_WEIGHT + TEXT_WEIGHT * 0.5))


def test_what_nobody_could_name_comes_after_relatives_and_before_other_colours() -> None:
    """Asked is a red car. Of what is asked not to be a car, an unknown thing is nearly as good as a dog."""
    things = [("red", "car"), ("red", "suv"), ("red", "truck"), ("red", ""), ("red", "dog"), ("blue", "car")]
    table = make_table(
        *(make_moment(attributes=make_attributes(colour, category=category)) for colour, category in things)
    )
    scores = score_rows(parse_query("red car"), table, np.full(len(things), 0.5)).total
    assert list(np.argsort(-scores, kind="stable")) == [0, 1, 2, 3, 4, 5]
    assert scores[3] < 0.5 * scores[0]
    unasked = score_rows(parse_query("red, not a car"), table, np.full(len(things), 0.5)).total
    assert unasked[0] < unasked[3] < unasked[4]
    assert unasked[3] > 0.9 * unasked[4]


def test_no_text_makes_up_for_a_mismatch() -> None:
    assert all(floor < 1 - TEXT_WEIGHT for floor in FLOORS.values())


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 0.8), (1.5, 0.9), (3.0, 1.0), (60.0, 1.0)])
def test_what_is_hardly_seen_loses_a_little(seconds: float, expected: float) -> None:
    moment = make_moment(attributes=make_attributes("red"), start_s=2.0, end_s=2.0 + seconds)
    red = Query(conditions=(Condition("colour", ("red",)),))
    (score,) = score_rows(red, make_table(moment)).total
    assert score == pytest.approx(expected)
    (bare,) = score_rows(Query(text="red"), make_table(moment), np.array([0.9])).total
    assert bare == pytest.approx(1.0), "where nothing measured is asked"


def test_nothing_seen_for_long_makes_up_for_a_mismatch() -> None:
    assert all(floor < 1 - SEEN_WEIGHT for floor in FLOORS.values())
