"""How well one moment meets one condition, 0..1. Formulas and thresholds are explained in docs/search.md."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tubelet.categories import list_wider
from tubelet.index.parsing.lexicon import CLOSE_COLOURS, COLOURS
from tubelet.index.structured_query import Condition, Kind

Values = NDArray[np.float64]

FLOORS: Mapping[Kind, float] = {
    "colour": 0.3,
    "category": 0.3,
    "turn": 0.3,
    "heading": 0.3,
    "pace": 0.4,
    "change": 0.4,
    "range": 0.4,
    "entry": 0.4,
    "exit": 0.4,
    "place_x": 0.5,
    "place_y": 0.5,
    "size": 0.7,
    "word": 0.5,
}
"""What a condition that is not met leaves of the score."""

UNKNOWN = 0.7
"""How well a condition is met that nobody can judge, such as the direction of what has no path."""

UNKNOWN_CATEGORY = 0.1
"""The same for categories: what nobody could name is seldom what is asked for, and often no whole thing."""

CLOSE_COLOUR, SIBLING_CATEGORY, COUSIN_CATEGORY = 0.4, 0.5, 0.25
SECOND_COLOUR, SECOND_COLOUR_FULL_SHARE = 0.8, 0.3
"""What a colour beside the main one is worth, and the share of an object from which on it is."""

LIKELY_WEIGHTS: Mapping[Kind, float] = {"colour": 0.5, "turn": 0.7, "pace": 0.3}
"""How much of a value is how likely it is, where that is known; the rest is what the moment says."""

LIKELY_NAMES: Mapping[Kind, str] = {"colour": "colour", "turn": "way", "pace": "way"}
"""Of what the likelihoods are, which are in the columns `likely_NAMEs` and `likely_NAME_scores`."""

CATEGORY_DOUBT = 0.1
"""What a category loses that nobody is sure of: of two red cars the surer one comes first."""

TURN_DOUBT, TURN_FULL_DEG = 0.15, 45.0
"""What a turn loses that does not show in the measured angle, and from which angle on it shows fully."""

STATE_ONLY = 0.5
"""How well "stops" is met by an object that stands and was not seen moving before."""

HEADING_ANGLES = {
    "right": 0.0,
    "up-right": 45.0,
    "up": 90.0,
    "up-left": 135.0,
    "left": 180.0,
    "down-left": 225.0,
    "down": 270.0,
    "down-right": 315.0,
}

SIZES = ("tiny", "small", "medium", "large")

SCORED_COLUMNS = (
    *("label", "category_score", "colours", "colour_shares", "size", "heading_deg", "speed"),
    *("turn", "turn_deg", "stopped"),
    *("approaching", "leaving", "entry_side", "exit_side", "box_mean", "frame_width", "frame_height"),
    *("likely_colours", "likely_colour_scores", "likely_ways", "likely_way_scores"),
)
"""What judging reads of the table of moments, beside `words` where conditions ask for words."""

BEFORE_COLUMN = "_stopped_before"
"""Whether the object stood in its moment before this one; null in its first. Only `change` looks at it."""


def judge(condition: Condition, moments: pa.Table) -> Values:
    """How well each row meets a condition: 0..1, NaN where that is unknown.

    "stops" and "starts" need `BEFORE_COLUMN`; without it they are met as well as they can be at most.
    """
    if condition.kind == "change" and condition.negated and BEFORE_COLUMN not in moments.column_names:
        return np.ones(len(moments))
    values = np.maximum.reduce([_JUDGES[condition.kind](value, moments) for value in condition.values])
    met: Values = 1 - values if condition.negated else values
    return met


def measure_factor(condition: Condition, values: Values) -> Values:
    """What a condition multiplies the score by."""
    floor = FLOORS[condition.kind]
    return floor + (1 - floor) * _fill_unknown(condition, values)


def multiply_factors(conditions: Iterable[Condition], moments: pa.Table) -> Values:
    """The product of every condition's factor, for each row."""
    product = np.ones(len(moments))
    for condition in conditions:
        product *= measure_factor(condition, judge(condition, moments))
    return product


def measure_fit(conditions: Iterable[Condition], moments: pa.Table) -> Values:
    """How well each row meets conditions together: the product of their values."""
    fit = np.ones(len(moments))
    for condition in conditions:
        fit *= _fill_unknown(condition, judge(condition, moments))
    return fit


def _fill_unknown(condition: Condition, values: Values) -> Values:
    """The values, with what is unknown as likely as it is to meet the condition."""
    unknown = UNKNOWN
    if condition.kind == "category":
        unknown = 1 - UNKNOWN_CATEGORY if condition.negated else UNKNOWN_CATEGORY
    filled: Values = np.where(np.isnan(values), unknown, values)
    return filled


def match_colours(names: Iterable[str]) -> frozenset[str]:
    """Every colour word that stands for one of these measured names, themselves included."""
    wanted = frozenset(names)
    return wanted | {word for word, means in COLOURS.items() if wanted & set(means)}


@lru_cache(maxsize=4096)
def match_category(asked: str, label: str) -> float:
    """1 for the same or one within the other, less for relatives, 0 for others."""
    if asked == label or asked in list_wider(label) or label in list_wider(asked):
        return 1.0
    shared = [wider for wider in list_wider(asked) if wider in list_wider(label)]
    if not shared:
        return 0.0
    return SIBLING_CATEGORY if list_wider(shared[0]) else COUSIN_CATEGORY


def _judge_colour(value: str, moments: pa.Table) -> Values:
    full = match_colours([value])
    close = match_colours(name for pair in CLOSE_COLOURS if value in pair for name in pair) - full

    def liken(name: str) -> float:
        return 1.0 if name in full else CLOSE_COLOUR if name in close else 0.0

    lengths, likeness = _judge_listed("colours", liken, moments)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    is_first = np.diff(rows, prepend=-1) > 0
    values = np.full(len(moments), np.nan)
    values[lengths > 0] = likeness[is_first]
    values = _weigh_likely("colour", values, full, moments)
    shares = _flatten(moments["colour_shares"])
    beside = SECOND_COLOUR * likeness * np.minimum(1.0, shares / SECOND_COLOUR_FULL_SHARE)
    np.fmax.at(values, rows[~is_first], beside[~is_first])
    return values


def _judge_category(value: str, moments: pa.Table) -> Values:
    same = _judge_names("label", lambda label: match_category(value, label) if label else np.nan)(moments)
    score = to_numpy(moments["category_score"])
    doubt = np.where(score > 0, 1 - score, 0.0)  # none: the caption names it, and nothing says how surely
    judged: Values = same * (1 - CATEGORY_DOUBT * doubt)
    return judged


def _judge_size(value: str, moments: pa.Table) -> Values:
    wanted = SIZES.index(value)
    return _judge_names("size", lambda size: max(0.0, 1 - abs(SIZES.index(size) - wanted) / 2))(moments)


def _judge_turn(value: str, moments: pa.Table) -> Values:
    same = _judge_names("turn", lambda turn: float(turn == value))(moments)
    if value == "none":  # straight on: something that stands does not go straight
        same = same * (1 - to_numpy(moments["stopped"]))
    shown = same * (1 - TURN_DOUBT * (1 - _show_turn(value, to_numpy(moments["turn_deg"]))))
    return _weigh_likely("turn", shown, {value}, moments)


def _weigh_likely(kind: Kind, values: Values, names: Collection[str], moments: pa.Table) -> Values:
    """`values`, and how likely one of some names is in the rows where anybody knows."""
    likely = f"likely_{LIKELY_NAMES[kind]}"
    lengths, is_meant = _judge_listed(f"{likely}s", lambda name: float(name in names), moments)
    is_known = lengths > 0
    if not is_known.any():
        return values
    scores = is_meant * _flatten(moments[f"{likely}_scores"])
    starts = np.cumsum(lengths)[is_known] - lengths[is_known]
    weighed = values.copy()
    weighed[is_known] += LIKELY_WEIGHTS[kind] * (np.add.reduceat(scores, starts) - values[is_known])
    return weighed


def _show_turn(turn: str, turn_deg: Values) -> Values:
    """How far a measured angle shows a turn, 0..1: fully from 45 degrees to its side on, or up to 45 degrees
    where it is none."""
    bent = {"left": turn_deg, "right": -turn_deg, "u": np.abs(turn_deg), "none": 90 - np.abs(turn_deg)}[turn]
    return np.clip(bent / TURN_FULL_DEG, 0.0, 1.0)


def _judge_heading(value: str, moments: pa.Table) -> Values:
    difference = np.abs(to_numpy(moments["heading_deg"]) - HEADING_ANGLES[value]) % 360
    difference = np.minimum(difference, 360 - difference)
    values: Values = np.clip((90 - difference) / 60, 0.0, 1.0)
    return np.where(to_numpy(moments["stopped"]) > 0, 0.0, values)


def _judge_pace(value: str, moments: pa.Table) -> Values:
    if value == "moving":
        return 1 - _judge_pace("stopped", moments)
    stopped = to_numpy(moments["stopped"])
    if value == "stopped":
        return _weigh_likely("pace", stopped, {"still"}, moments)
    speed = to_numpy(moments["speed"])
    values = {
        "fast": np.clip((speed - 1.0) / 1.5, 0.0, 1.0),
        "slow": np.clip(1.35 - speed, 0.0, 1.0) * (1 - stopped),
    }
    return values[value]


def _judge_change(value: str, moments: pa.Table) -> Values:
    stopped = to_numpy(moments["stopped"])
    if BEFORE_COLUMN not in moments.column_names:
        return stopped if value == "stops" else 1 - stopped
    before = to_numpy(moments[BEFORE_COLUMN])
    if value == "stops":
        return stopped * np.where(before == 0, 1.0, STATE_ONLY)
    starts: Values = (1 - stopped) * (before == 1)
    return starts


def _judge_word(value: str, moments: pa.Table) -> Values:
    return to_numpy(pc.match_substring(moments["words"], f" {value} "))


def _judge_range(value: str, moments: pa.Table) -> Values:
    return to_numpy(moments[value])


def _judge_entry(value: str, moments: pa.Table) -> Values:
    return _judge_names("entry_side", lambda side: float(side == value))(moments)


def _judge_exit(value: str, moments: pa.Table) -> Values:
    return _judge_names("exit_side", lambda side: float(side == value))(moments)


def _judge_place_x(value: str, moments: pa.Table) -> Values:
    return _judge_third(value, moments, ("x0", "x1"), "frame_width", ("left", "centre", "right"))


def _judge_place_y(value: str, moments: pa.Table) -> Values:
    return _judge_third(value, moments, ("y0", "y1"), "frame_height", ("top", "middle", "bottom"))


def _judge_third(
    value: str, moments: pa.Table, sides: tuple[str, str], extent: str, names: tuple[str, str, str]
) -> Values:
    """1 in the third of the frame that is meant, falling to 0 over half a third beside it."""
    box = moments["box_mean"].combine_chunks()
    low, high = (to_numpy(box.field(side)) for side in sides)
    position = (low + high) / 2 / to_numpy(moments[extent])
    distance = (
        np.abs(position - 0.5) if value == names[1] else position if value == names[0] else 1 - position
    )
    edge = 1 / 6 if value == names[1] else 1 / 3
    values: Values = np.clip(1 - (distance - edge) * 6, 0.0, 1.0)
    return values


def _judge_listed(
    column: str, read: Callable[[str], float], moments: pa.Table
) -> tuple[NDArray[np.int64], Values]:
    """How many names each row has in a column of lists, and what each of them is judged, one row's after the
    other's; each different name is read once."""
    lists = moments[column].combine_chunks()
    lengths = pc.fill_null(lists.value_lengths(), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    names = pc.dictionary_encode(lists.flatten())
    each = np.array([read(name) for name in names.dictionary.to_pylist()], dtype=np.float64)
    return lengths, each[names.indices.to_numpy(zero_copy_only=False)]


def _flatten(column: Any) -> Values:
    """The numbers of a column of lists, one after the other."""
    return to_numpy(column.combine_chunks().flatten())


def _judge_names(column: str, read: Callable[[Any], float]) -> Callable[[pa.Table], Values]:
    """Judge a column of few different values by judging each value once."""

    def judge_all(moments: pa.Table) -> Values:
        encoded = pc.dictionary_encode(moments[column].combine_chunks())
        names = [*encoded.dictionary.to_pylist(), None]  # a null counts as the last
        each = np.array([read(name) if name is not None or encoded.null_count else 0.0 for name in names])
        values: Values = each[pc.fill_null(encoded.indices, len(names) - 1).to_numpy()]
        return values

    return judge_all


def to_numpy(column: Any) -> Values:
    """A column as floats, nulls as NaN."""
    values: Values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return values


_JUDGES: Mapping[Kind, Callable[[str, pa.Table], Values]] = {
    "colour": _judge_colour,
    "category": _judge_category,
    "size": _judge_size,
    "turn": _judge_turn,
    "heading": _judge_heading,
    "pace": _judge_pace,
    "change": _judge_change,
    "range": _judge_range,
    "entry": _judge_entry,
    "exit": _judge_exit,
    "place_x": _judge_place_x,
    "place_y": _judge_place_y,
    "word": _judge_word,
}
