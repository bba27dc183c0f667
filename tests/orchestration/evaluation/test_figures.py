"""Means with intervals over groups, and tables of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tubelet.orchestration.evaluation.figures import Figure, measure_groups, measure_mean
from tubelet.orchestration.evaluation.report import PartReport, RenderedReport, format_figure


def test_the_mean_is_over_values_not_groups() -> None:
    figure = measure_mean("recall", "sam2", "objects", [[1.0, 1.0, 1.0], [0.0]])
    assert figure.value == 0.75
    assert figure.count == 4


def test_the_interval_holds_what_is_drawn_from() -> None:
    """Of 400 groups of one, drawn with chance 0.8, the central 95 % are 0.8 give or take 0.039."""
    values = (np.random.default_rng(0).random(400) < 0.8).astype(float)
    figure = measure_mean("", "", "", [[value] for value in values])
    assert figure.value is not None
    assert figure.low == pytest.approx(figure.value - 0.039, abs=0.01)
    assert figure.high == pytest.approx(figure.value + 0.039, abs=0.01)


def test_groups_are_drawn_as_a_whole() -> None:
    """The same values in few large groups are worth less than in many small ones."""
    values = [float(value) for value in np.random.default_rng(1).random(8) < 0.5]
    alone = measure_mean("", "", "", [[value] for value in values for _ in range(20)])
    grouped = measure_mean("", "", "", [[value] * 20 for value in values])
    assert alone.value == grouped.value
    assert None not in (alone.low, alone.high, grouped.low, grouped.high)
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)  # type: ignore[operator]


def test_the_same_values_give_the_same_interval() -> None:
    groups = [[0.1, 0.5], [0.9], [0.4]]
    assert measure_mean("", "", "", groups) == measure_mean("", "", "", groups)


def test_nothing_to_measure_is_not_zero() -> None:
    assert measure_mean("recall", "x", "objects", [[], []]).value is None
    assert measure_mean("recall", "x", "objects", []) == Figure("recall", "x", None, None, None, 0, "objects")


def test_one_group_has_no_interval() -> None:
    figure = measure_groups("HOTA", "x", "sightings", 5, 1, lambda weights: float(weights.sum()))
    assert (figure.value, figure.low, figure.high) == (1.0, None, None)
    assert format_figure(figure) == "1.000"


def test_draws_without_a_single_value_are_left_out() -> None:
    figure = measure_mean("", "", "", [[0.5], [], [], [], []])
    assert (figure.value, figure.low, figure.high) == (0.5, 0.5, 0.5)


def test_report_as_json_and_as_markdown() -> None:
    figures = (
        measure_mean("recall", "sam2", "objects", [[1.0], [0.0]]),
        measure_mean("recall", "motion", "objects", [[1.0], [0.0], [0.0]]),
        measure_mean("J", "sam2", "objects", []),
    )
    report = RenderedReport(
        {"tracker": "sam2-x@1"}, {"number": 2}, (PartReport("tracking", figures, 3.21, ("A remark.",)),)
    )
    document = json.loads(json.dumps(report.to_json()))
    assert document["parts"]["tracking"]["figures"][0]["value"] == 0.5
    assert document["parts"]["tracking"]["figures"][2]["value"] is None
    lines = report.to_markdown().splitlines()
    assert "| measure | sam2 | motion | over |" in lines
    assert "| recall | 0.500 (0.00 to 1.00) | 0.333 (0.00 to 1.00) | 2 / 3 objects |" in lines
    assert "| J | - |  | 0 objects |" in lines
    assert lines[-1] == "A remark."
    assert report.part("tracking").find("recall", "motion").count == 3
