"""`tubelet eval rendered` on the command line, with the models that need no weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tubelet.api.cli.app import run

MODELS = ("--tracker", "motion", "--captioner", "attributes", "--recogniser", "none")


def test_figures_as_json_and_in_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    words = ["eval", "rendered", "--clips", "2", "--parts", "describing,tracking", *MODELS]
    assert run([*words, "--out", str(out), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "report.json").read_text())
    assert printed["models"] == {
        "tracker": "motion@1",
        "captioner": "attributes@1",
        "recogniser": "none",
    }
    assert printed["clips"]["split"] == "held-out"
    assert list(printed["parts"]) == ["tracking", "describing"]
    figures = [figure for part in printed["parts"].values() for figure in part["figures"]]
    assert {figure["subject"] for figure in figures} == {"motion", "true masks"}
    for figure in figures:
        assert (figure["value"] is None) == (figure["count"] == 0)
        if figure["value"] is not None:
            assert 0 <= figure["value"] <= (10 if figure["measure"] == "CIDEr" else 1)
    by_name = {figure["measure"]: figure for figure in printed["parts"]["describing"]["figures"]}
    assert by_name["category"]["count"] > 0
    assert by_name["category"]["value"] == 0  # the captioner does not know what things are
    rows = [json.loads(line) for line in (out / "describing.jsonl").read_text().splitlines()]
    assert len(rows) == by_name["category"]["count"]
    assert all(row["sentence"].startswith("A ") and row["references"] for row in rows)
    assert "| category | 0.000 " in (out / "report.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--clips", "0"], "--clips is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--parts", "tracking,cooking"], "--parts is 'tracking,cooking'"),
        (["--masks", "none"], "--masks is 'none'"),
    ],
)
def test_wrong_options_say_what_is_known(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "rendered", *words]) == 2
    assert said in capsys.readouterr().err
