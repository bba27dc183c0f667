"""What a sentence asks for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.index.factories import make_attributes
from tubelet.categories import PARENTS, list_wider
from tubelet.errors import QueryError
from tubelet.index.parsing.lexicon import (
    BACKWARD_RELATIONS,
    CATEGORIES,
    CLOSE_COLOURS,
    COLOURS,
    MEASURED_COLOURS,
    MOVING_RELATIONS,
    NUMBERS,
    RELATIONS,
    SIZES,
)
from tubelet.index.query import choose_label, parse_query
from tubelet.index.query_checks import check_query, read_query
from tubelet.index.searching.judging import FLOORS
from tubelet.index.structured_query import INVERSE, VALUES, Condition, Count, RelationKind
from tubelet.model.describing.colour import COLOUR_NAMES

TRAFFIC = Path(__file__).resolve().parents[3] / "shared" / "queries" / "traffic.json"


def summarise(sentence: str) -> str:
    """A query in one line: `colour=red -pace=stopped :: turn=left > ~exit=top [behind category=car] x2`."""
    query = parse_query(sentence)
    parts = [join(query.conditions)] if query.conditions else []
    if query.steps:
        steps = [("~" if step.same_moment else "") + join(step.conditions) for step in query.steps]
        parts.append(":: " + " > ".join(steps))
    for relation in query.relations:
        words = [relation.kind, *([join(relation.conditions)] if relation.conditions else [])]
        words += [write_count(relation.count)] if relation.count else []
        parts.append(f"[{'not ' if relation.negated else ''}{' '.join(words)}]")
    if query.count:
        parts.append(write_count(query.count))
    return " ".join(parts)


def join(conditions: Iterable[Condition]) -> str:
    return " ".join(
        f"{'-' if condition.negated else ''}{condition.kind}={'|'.join(condition.values)}"
        for condition in conditions
    )


def write_count(count: Count) -> str:
    return f"x{count.least}" + (
        "" if count.most == count.least else "+" if count.most is None else f"-{count.most}"
    )


UNDERSTOOD = {
    # colours
    "red car": "colour=red category=car",
    "a crimson sedan": "colour=red category=sedan",
    "maroon van": "colour=red|brown category=van",
    "navy blue truck": "colour=blue category=truck",
    "silver SUV": "colour=grey category=suv",
    "gray jeep": "colour=grey category=suv",
    "dark-red hatchback": "colour=red category=hatchback",
    "a light blue bus": "colour=blue category=bus",
    "a red and white bus": "colour=red colour=white category=bus",
    "red or blue car": "colour=red|blue category=car",
    "a car crossing a double yellow line": "category=car pace=moving",
    "a van that stops at the red light": "category=van change=stops",
    # categories
    "pedestrians": "category=person",
    "two women": "category=woman x2",
    "white pick-up truck": "colour=white category=pickup",
    "SUV car": "category=suv",
    "car or truck": "category=car|truck",
    "a cross-over in the parking lot": "category=suv",
    "a man and a dog": "category=man [with category=dog]",
    "man riding a bicycle": "category=man [touches category=bicycle]",
    # left and right, six ways
    "car turning left": "category=car turn=left",
    "car turning to the left": "category=car turn=left",
    "car makes a sharp left": "category=car turn=left",
    "a left-turning car": "turn=left category=car",
    "car moving to the left": "category=car heading=left",
    "car drives slowly to the left": "category=car heading=left",
    "car on the left": "category=car place_x=left",
    "car to the left": "category=car place_x=left",
    "car entering from the left": "category=car entry=left",
    "car leaves to the left": "category=car exit=left",
    "car in the left lane": "category=car",
    "car on the left of the black truck": "category=car [left-of colour=black category=truck]",
    "turns left at the top right corner": "turn=left place_x=right place_y=top",
    # turns
    "turning": "turn=left|right|u",
    "turn left or right": "turn=left|right",
    "it makes a U-turn": "turn=u",
    "car turns around": "category=car turn=u",
    "a truck taking a right": "category=truck turn=right",
    "goes straight ahead": "turn=none",
    "going straight, then turns left": ":: turn=none > turn=left",
    "is it my turn signal": "",
    # headings
    "moving left": "heading=left",
    "goes up": "heading=up",
    "going up the screen": "heading=up",
    "drives to the right": "heading=right",
    "person walking towards the bottom": "category=person heading=down",
    "moves up and to the left": "heading=up-left",
    "from right to left": "heading=left",
    "bike going left to right": "category=bicycle heading=right",
    "runs down the street": "pace=moving",
    "drives up a hill": "pace=moving",
    # pace and range
    "parked car": "pace=stopped category=car",
    "a dog standing still": "category=dog pace=stopped",
    "stop sign": "",
    "a fast motorbike": "pace=fast category=motorcycle",
    "moving slowly": "pace=slow",
    "a car approaching the camera": "category=car range=approaching",
    "a car approaching the intersection": "category=car pace=moving",
    "somebody walking away": "category=person range=leaving",
    # entry and exit
    "enters from the top": "entry=top",
    "comes in from the right side": "entry=right",
    "leaves at the top": "exit=top",
    "exits the frame on the right": "exit=right",
    "person enters the frame": "category=person entry=left|right|top|bottom",
    "a car leaving the parking lot": "category=car",
    # places
    "top-right corner": "place_x=right place_y=top",
    "in the upper left": "place_x=left place_y=top",
    "at the bottom of the frame": "place_y=bottom",
    "in the middle": "place_x=centre place_y=middle",
    "in the middle of the road": "",
    # sizes
    "a huge truck": "size=large category=truck",
    "tiny dog": "size=tiny category=dog",
    # negation
    "car not red": "category=car -colour=red",
    "not a red car": "-colour=red category=car",
    "a car that isn't red or blue": "category=car -colour=red|blue",
    "without turning": "-turn=left|right|u",
    "a van that doesn't stop": "category=van -pace=stopped",
    "person not turning left or right": "category=person -turn=left|right",
    "no trucks": "-category=truck",
    "person without a helmet": "category=person -word=helmet",
    "a man who is not wearing a red hat": "category=man -colour=red -word=hat",
    "a van neither red nor blue": "category=van -colour=red|blue",
    # stops and starts
    "a car starts moving": "category=car change=starts",
    "a bus pulls away": "category=bus change=starts",
    "a van comes to a complete stop": "category=van change=stops",
    # other objects
    "a black SUV followed by another white vehicle": (
        "colour=black category=suv [followed-by colour=white category=vehicle]"
    ),
    "black SUV following a blue van and turning left": (
        "colour=black category=suv turn=left [follows colour=blue category=van]"
    ),
    "a grey van passing a parked car": "colour=grey category=van [passes pace=stopped category=car]",
    "white truck behind a van turning right": "colour=white category=truck [behind category=van turn=right]",
    "a red van followed by the pickup turns right": (
        "colour=red category=van turn=right [followed-by category=pickup]"
    ),
    "sedan stops after a maroon truck passes": (
        "category=sedan change=stops [after colour=red|brown category=truck]"
    ),
    "a person next to a dog": "category=person [next-to category=dog]",
    "a car overtakes two trucks": "category=car [overtakes category=truck x2]",
    "behind a truck, a red car": "colour=red category=car [behind category=truck]",
    "a bus turns left with a white van in front of it": (
        "category=bus turn=left [behind colour=white category=van]"
    ),
    "a car with a motorbike following": "category=car [followed-by category=motorcycle]",
    "a woman with a red backpack": "category=woman [touches colour=red category=backpack]",
    "a man on a horse": "category=man [touches category=horse]",
    "two dogs next to each other": "category=dog [next-to category=dog] x2",
    "a dog and a cat near each other": "category=dog [next-to category=cat]",
    "a car turns right while other cars wait": ("category=car turn=right [with category=car pace=stopped]"),
    "a car next to a fence": "category=car",
    "a person in a red jacket": "category=person colour=red",
    "not followed by a bus": "[not followed-by category=bus]",
    "a car without a driver": "category=car [not next-to category=person]",
    "a man walking alone": "category=man pace=moving [not next-to]",
    "something behind something": "[behind]",
    # order
    "a car stops, then turns left": "category=car :: change=stops > turn=left",
    "a car stops and turns left": "category=car :: change=stops > turn=left",
    "a car turns left after stopping": "category=car :: change=stops > turn=left",
    "after stopping, the car turns left": "category=car :: change=stops > turn=left",
    "before turning left, a car stops": "category=car :: change=stops > turn=left",
    "waits before driving off": ":: pace=stopped > change=starts",
    "turns left and then turns left again": ":: turn=left > turn=left",
    "moves slowly and turns left": "pace=slow turn=left",
    "enters from the left, turns right and leaves at the top": (":: entry=left > ~turn=right > ~exit=top"),
    # counts
    "at least three people waiting": "category=person pace=stopped x3+",
    "more than two cars": "category=car x3+",
    "at most 4 vans": "category=van x1-4",
    "several small dogs": "size=small category=dog x3+",
    "a car with 4 doors": "category=car",
    # nothing
    "purple haze": "colour=purple",
    "what is love": "",
    "赤い車 🚗": "",
}


@pytest.mark.parametrize(("sentence", "expected"), UNDERSTOOD.items())
def test_sentences_are_understood(sentence: str, expected: str) -> None:
    assert summarise(sentence) == expected


@pytest.mark.parametrize(
    ("sentence", "window", "text"),
    [
        ("red truck in the first minute", (0, 60, None), "red truck"),
        ("in the first 30 seconds, a dog", (0, 30, None), "a dog"),
        ("a man walking after 00:10:00", (600, None, None), "a man walking"),
        ("after 1:30 onwards", (90, None, None), ""),
        ("cars before 2 min", (0, 120, None), "cars"),
        ("van between 10s and 20 s", (10, 20, None), "van"),
        ("van between 20 s and 10s", (10, 20, None), "van"),
        ("dog from 10 to 20 seconds", (10, 20, None), "dog"),
        ("dog 1:10-1:20", (70, 80, None), "dog"),
        ("bus in the last half a minute", (0, None, 30), "bus"),
        ("slow truck in the second minute", (60, 120, None), "slow truck"),
        ("in the 3rd hour", (7200, 10800, None), ""),
        ("at 00:01:05", (65, 66, None), ""),
        ("around 1 min 30 s a cat", (85, 95, None), "a cat"),
        ("after 10 s and before 20 s", (10, 20, None), ""),
        ("a car with 2 doors after 3 people", None, "a car with 2 doors after 3 people"),
    ],
)
def test_times_are_understood_and_cut_from_the_text(
    sentence: str, window: tuple[float, float | None, float | None] | None, text: str
) -> None:
    parsed = parse_query(sentence)
    found = parsed.time and (parsed.time.start_s, parsed.time.end_s, parsed.time.last_s)
    assert found == window
    assert parsed.text == text


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("FedEx van", ("fedex",)),
        ("red car turning left", ()),
        ("show me all the white cars with ladders", ("ladder",)),
        ("person without a helmet", ()),
        ("not a helmet but an umbrella-shaped kite", ("shape", "kite")),
    ],
)
def test_words_that_no_rule_explains_are_kept_as_stems(sentence: str, words: tuple[str, ...]) -> None:
    assert parse_query(sentence).words == words


@pytest.mark.parametrize("sentence", ["", "   ", "\n\t "])
def test_an_empty_sentence_is_refused(sentence: str) -> None:
    with pytest.raises(QueryError, match="empty"):
        parse_query(sentence)


@pytest.mark.parametrize(
    ("sentence", "since", "until", "text"),
    [
        ("red car on 2026-05-01", (2026, 5, 1), (2026, 5, 2), "red car"),
        ("vans since 3 May", (2026, 5, 3), None, "vans"),
        ("dogs in December", (2025, 12, 1), (2026, 1, 1), "dogs"),
        ("in 2024 a bus", (2024, 1, 1), (2025, 1, 1), "a bus"),
        ("from 1 May 2026 to 3 May 2026", (2026, 5, 1), (2026, 5, 4), ""),
        ("until 31/12/2025", None, (2026, 1, 1), ""),
        ("yesterday a cat", (2026, 11, 24), (2026, 11, 25), "a cat"),
        ("on Monday", (2026, 11, 23), (2026, 11, 24), ""),
        ("last Wednesday", (2026, 11, 18), (2026, 11, 19), ""),
        ("last month", (2026, 10, 1), (2026, 11, 1), ""),
        ("in the last 3 days", (2026, 11, 22), (2026, 11, 26), ""),
        ("2026-05-01 at 2:30 pm", (2026, 5, 1, 14, 30), (2026, 5, 1, 14, 31), ""),
        ("between 8 am and 9:30 on May 1st, 2026", (2026, 5, 1, 8), (2026, 5, 1, 9, 30), ""),
        ("after 20:00 on 5 March", (2026, 3, 5, 20), (2026, 3, 6), ""),
    ],
)
def test_dates_are_understood_and_cut_from_the_text(
    sentence: str, since: tuple[int, ...] | None, until: tuple[int, ...] | None, text: str
) -> None:
    parsed = parse_query(sentence, today=date(2026, 11, 25))
    assert parsed.time is not None
    assert parsed.time.since == (since and datetime(*since))
    assert parsed.time.until == (until and datetime(*until))
    assert parsed.text == text


@pytest.mark.parametrize("sentence", ["on 30.02.2026", "you may 5 see", "car 2026", "31 cats in line"])
def test_what_only_looks_like_a_date_is_none(sentence: str) -> None:
    assert parse_query(sentence, today=date(2026, 11, 25)).time is None


def test_a_condition_remembers_its_phrase() -> None:
    assert parse_query("crimson car making a left").conditions == (
        Condition("colour", ("red",), phrase="crimson"),
        Condition("category", ("car",), phrase="car"),
        Condition("turn", ("left",), phrase="making a left"),
    )


def test_json_holds_all_that_was_understood_and_leaves_out_what_is_empty() -> None:
    parsed = parse_query("red car turning left, not parked, behind two vans, in the first minute, FedEx")
    assert json.loads(json.dumps(parsed.to_json())) == {
        "text": "red car turning left, not parked, behind two vans, FedEx",
        "conditions": [
            {"kind": "colour", "values": ["red"], "phrase": "red"},
            {"kind": "category", "values": ["car"], "phrase": "car"},
            {"kind": "turn", "values": ["left"], "phrase": "turning left"},
            {"kind": "pace", "values": ["stopped"], "negated": True, "phrase": "parked"},
        ],
        "relations": [
            {
                "kind": "behind",
                "conditions": [{"kind": "category", "values": ["van"], "phrase": "vans"}],
                "count": {"least": 2, "most": 2},
                "phrase": "behind two vans",
            }
        ],
        "time": {"end_s": 60.0},
        "words": ["fedex"],
    }


@pytest.mark.parametrize(
    ("caption", "category", "label"),
    [
        ("A red sedan turns left behind a truck.", "", "sedan"),
        ("A red object moves right.", "", ""),
        ("A red object moves right.", "automobile", "car"),
        ("A red object moves right.", "Fire Hydrant", "fire hydrant"),
        ("", "", ""),
    ],
)
def test_a_moment_is_labelled_by_its_category_or_caption(caption: str, category: str, label: str) -> None:
    assert choose_label(caption, make_attributes(category=category)) == label


GLUE = """not without or and left right top turn turning to the on from in first minute 10 s : - . , ' stops
moving enters leaves u-turn straight last half before then while each other it alone two at least another
yesterday since may 2026-05-01 am dark one wearing"""
VOCABULARY = sorted({*COLOURS, *CATEGORIES, *SIZES, *RELATIONS, *NUMBERS, *GLUE.split()} - {""})


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(VOCABULARY), max_size=40).map(" ".join))
def test_any_text_parses_into_what_a_search_takes(sentence: str) -> None:
    if not sentence.strip():
        return
    try:
        parsed = parse_query(sentence)
    except QueryError:
        assert not "".join(sentence.split()).strip()
        return
    written = json.dumps(parsed.to_json())
    if parsed.time is None:  # times may exclude each other, which JSON refuses
        check_query(parsed)
        assert read_query(written) == parsed


@pytest.mark.parametrize(
    "sentence",
    [
        "a red car " * 1000,
        "🚗" * 10_000,
        "'\"([{<%;--" * 1000,
        "1:" * 5000,
        "not red or " * 900,
        "x" * 10_000,
        "not " * 2500,
        "followed by a car " * 555,
        "stops, then turns left " * 434,
        "slowly " * 1428,
        "from the left in the top right " * 322,
    ],
    ids=[
        *("words", "emoji", "signs", "clocks", "negations", "one word", "nots", "relations", "steps"),
        *("adverbs", "places"),
    ],
)
def test_sentences_of_ten_thousand_characters_parse(sentence: str) -> None:
    parsed = parse_query(sentence)
    assert len(parsed.words) <= 64
    assert len(parsed.steps) <= 8


def test_a_longer_sentence_is_refused() -> None:
    with pytest.raises(QueryError, match="10001 characters"):
        parse_query("x" * 10_001)


def test_real_traffic_sentences_parse_and_most_name_colour_category_and_motion() -> None:
    if not TRAFFIC.exists():
        pytest.skip(f"the collection of sentences is not at {TRAFFIC}")
    sentences = json.loads(TRAFFIC.read_text())["sentences"]
    parsed = [parse_query(sentence) for sentence in sentences]
    assert all(query.time is None for query in parsed)
    share = {kind: sum(bool(query.find(kind)) for query in parsed) / len(parsed) for kind in FLOORS}
    assert share["colour"] > 0.9
    assert share["category"] > 0.97
    assert share["turn"] + share["pace"] + share["heading"] + share["change"] > 0.9


def test_every_table_of_the_lexicon_leads_to_known_names() -> None:
    names = {name for means in COLOURS.values() for name in means}
    assert names <= set(COLOURS)
    assert all(pair <= names and len(pair) == 2 for pair in CLOSE_COLOURS)
    assert set(CATEGORIES.values()) == set(PARENTS)
    assert list_wider("pickup") == ["truck", "vehicle"]


def test_words_of_relation_lead_to_known_kinds() -> None:
    of_clauses = {"before", "after"}  # these two are read from the order of clauses, not from the tables
    by_word = {*RELATIONS.values(), *BACKWARD_RELATIONS.values()} - {""}
    assert by_word | of_clauses == set(get_args(RelationKind))
    assert by_word.isdisjoint(of_clauses)
    assert set(get_args(RelationKind)) >= MOVING_RELATIONS
    assert set(BACKWARD_RELATIONS.values()) <= set(INVERSE)
    assert all(INVERSE[INVERSE[kind]] == kind for kind in INVERSE)


def test_measured_colour_names_are_all_in_the_lexicon() -> None:
    assert {name for means in COLOURS.values() for name in means} == set(COLOUR_NAMES)
    assert set(MEASURED_COLOURS) == set(COLOUR_NAMES)
    assert VALUES["colour"] == MEASURED_COLOURS
