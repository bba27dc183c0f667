"""Precision and recall of the parser on labelled sentences do not fall."""

from __future__ import annotations

import pytest

from benchmarks.parsing import ASPECTS, load_labels, measure, read_label, read_parse
from tubelet.index.query import parse_query

LEAST = {"motion": 0.98, "colour": 0.99, "relation": 0.98, "order": 0.93}


@pytest.mark.parametrize("held_out", [False, True], ids=["seen", "held out"])
def test_labelled_sentences_are_read_as_well_as_before(held_out: bool) -> None:
    labels = [label for label in load_labels() if label["held_out"] == held_out]
    assert len(labels) >= 60
    for aspect, agreement in measure(labels).items():
        assert agreement.wanted >= 5
        assert agreement.precision >= LEAST[aspect], aspect
        assert agreement.recall >= LEAST[aspect] - 0.02, aspect


def test_a_wrong_reading_costs_precision_and_recall() -> None:
    (label, *_) = [each for each in load_labels() if each["relation"] and each["motion"]]
    others = {"motion": "u-turn", "colour": "pink", "relation": "above||dog"}
    right, wrong = measure([label]), measure([label | others])
    for aspect in ("motion", "colour", "relation"):
        assert (right[aspect].precision, right[aspect].recall) == (1, 1)
        assert (wrong[aspect].precision, wrong[aspect].recall) == (0, 0)


def test_labels_and_parses_speak_of_the_same_aspects() -> None:
    (label, *_) = load_labels()
    assert set(read_label(label)) == set(read_parse(parse_query(label["sentence"]))) == set(ASPECTS)
