"""What a sentence asks for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.index.factories import make_attributes
from tubelet.errors import QueryError
from tubelet.index.parsing.lexicon import CATEGORIES, CLOSE_COLOURS, COLOURS, PARENTS, SIZES, list_wider
from tubelet.index.query import Condition, choose_label, parse_query
from tubelet.index.searching.scoring import FLOORS, HEADING_ANGLES
from tubelet.model.describing.colour import COLOUR_NAMES

TRAFFIC = Path(__file__).resolve().parents[3] / "shared" / "queries" / "traffic.json"


def summarise(sentence: str) -> str:
    """Conditions in one line: `colour=red turn=left|right -pace=stopped`."""
    return " ".join(
        f"{'-' if condition.negated else ''}{condition.kind}={'|'.join(condition.values)}"
        for condition in parse_query(sentence).conditions
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
    "a van that stops at the red light": "category=van pace=stopped",
    # categories
    "pedestrians": "category=person",
    "two women": "category=woman",
    "white pick-up truck": "colour=white category=pickup",
    "SUV car": "category=suv",
    "car or truck": "category=car|truck",
    "a cross-over in the parking lot": "category=suv",
    "a man and a dog": "category=man",
    "man riding a bicycle": "category=man",
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
    "car on the left of the black truck": "category=car",
    "turns left at the top right corner": "turn=left place_x=right place_y=top",
    # turns
    "turning": "turn=left|right|u",
    "turn left or right": "turn=left|right",
    "it makes a U-turn": "turn=u",
    "car turns around": "category=car turn=u",
    "a truck taking a right": "category=truck turn=right",
    "goes straight ahead": "turn=none",
    "going straight, then turns left": "turn=none|left",
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
    "a car approaching the intersection": "category=car",
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
    # other objects
    "A black SUV followed by another white vehicle.": "colour=black category=suv",
    "black SUV following a blue van and turning left": "colour=black category=suv turn=left",
    "a grey van passing a parked car": "colour=grey category=van",
    "white truck behind a van turning right": "colour=white category=truck",
    "A red van followed by the pickup turns right.": "colour=red category=van turn=right",
    "sedan stops after a maroon truck passes": "category=sedan pace=stopped",
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


def test_a_condition_remembers_its_phrase() -> None:
    assert parse_query("crimson car making a left").conditions == (
        Condition("colour", ("red",), phrase="crimson"),
        Condition("category", ("car",), phrase="car"),
        Condition("turn", ("left",), phrase="making a left"),
    )


def test_json_groups_what_was_asked() -> None:
    parsed = parse_query("red car turning left at the top, not parked, in the first minute, FedEx")
    assert json.loads(json.dumps(parsed.to_json())) == {
        "text": "red car turning left at the top, not parked, FedEx",
        "colours": ["red"],
        "categories": ["car"],
        "sizes": [],
        "motion": {"turn": ["left"]},
        "place": ["top"],
        "time": {"start_s": 0.0, "end_s": 60.0, "last_s": None},
        "without": {"motion": {"pace": ["stopped"]}},
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
moving enters leaves behind followed by after between u-turn straight last half"""
VOCABULARY = sorted({*COLOURS, *CATEGORIES, *SIZES, *GLUE.split()})


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(VOCABULARY), max_size=40).map(" ".join))
def test_any_text_parses_into_known_values(sentence: str) -> None:
    if not sentence.strip():
        return
    try:
        parsed = parse_query(sentence)
    except QueryError:
        assert not "".join(sentence.split()).strip()
        return
    json.dumps(parsed.to_json())
    known = {
        "colour": {name for names in COLOURS.values() for name in names},
        "category": set(PARENTS),
        "size": set(SIZES.values()),
        "turn": {"left", "right", "u", "none"},
        "heading": set(HEADING_ANGLES),
        "pace": {"stopped", "moving", "fast", "slow"},
        "range": {"approaching", "leaving"},
        "entry": {"left", "right", "top", "bottom"},
        "exit": {"left", "right", "top", "bottom"},
        "place_x": {"left", "centre", "right"},
        "place_y": {"top", "middle", "bottom"},
    }
    for condition in parsed.conditions:
        assert condition.values
        assert set(condition.values) <= known[condition.kind]


@pytest.mark.parametrize(
    "sentence",
    [
        "a red car " * 1000,
        "🚗" * 10_000,
        "'\"([{<%;--" * 1000,
        "1:" * 5000,
        "not red or " * 900,
        "x" * 10_000,
    ],
    ids=["words", "emoji", "signs", "clocks", "negations", "one word"],
)
def test_long_sentences_parse_in_reasonable_time(sentence: str) -> None:
    assert len(parse_query(sentence).words) <= 64


def test_real_traffic_sentences_parse_and_most_name_colour_category_and_motion() -> None:
    if not TRAFFIC.exists():
        pytest.skip(f"the collection of sentences is not at {TRAFFIC}")
    sentences = json.loads(TRAFFIC.read_text())["sentences"]
    parsed = [parse_query(sentence) for sentence in sentences]
    assert all(query.time is None for query in parsed)
    share = {kind: sum(bool(query.find(kind)) for query in parsed) / len(parsed) for kind in FLOORS}
    assert share["colour"] > 0.9
    assert share["category"] > 0.97
    assert share["turn"] + share["pace"] + share["heading"] > 0.9


def test_every_table_of_the_lexicon_leads_to_known_names() -> None:
    names = {name for means in COLOURS.values() for name in means}
    assert names <= set(COLOURS)
    assert all(pair <= names and len(pair) == 2 for pair in CLOSE_COLOURS)
    assert set(CATEGORIES.values()) == set(PARENTS)
    assert list_wider("pickup") == ["truck", "vehicle"]


def test_measured_colour_names_are_all_in_the_lexicon() -> None:
    assert {name for means in COLOURS.values() for name in means} == set(COLOUR_NAMES)
