"""Settings that a checkpoint carries: read as they were written, and refused when they are not settings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.model.tracking.sam2.factories import make_model
from tubelet.errors import SettingsError
from tubelet.model.tracking.sam2.discovery import DiscoverySettings
from tubelet.model.tracking.sam2.settings import SETTINGS_FILE, TrackerSettings, read_settings, write_settings
from tubelet.model.tracking.sam2.tracker import make_tracker
from tubelet.model.tracking.sam2.weights import save_model

OWN = TrackerSettings(
    min_score=0.05,
    reprompt_from_motion=True,
    max_prompted_frames=2,
    discovery=DiscoverySettings(min_iou=0.5, points_per_side=12),
)


@pytest.mark.parametrize("settings", [TrackerSettings(), OWN, replace(OWN, discovery=None)])
def test_what_is_written_is_read(settings: TrackerSettings, tmp_path: Path) -> None:
    write_settings(tmp_path, settings)
    assert read_settings(tmp_path) == settings


def test_what_is_not_said_is_as_usual(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == TrackerSettings()
    (tmp_path / SETTINGS_FILE).write_text('{"min_score": 0, "discovery": {"num_turns": 1}}')
    wanted = TrackerSettings(min_score=0, discovery=DiscoverySettings(num_turns=1))
    assert read_settings(tmp_path) == wanted


@pytest.mark.parametrize(
    "wrong",
    [
        "[]",
        "3",
        "{",
        '{"min_scores": 0.1}',
        '{"min_score": "0.1"}',
        '{"min_score": true}',
        '{"max_num_objects": 2.5}',
        '{"max_num_objects": 0}',
        '{"reprompt_from_motion": 1}',
        '{"follow_by": "hope"}',
        '{"follow_by": 1}',
        '{"discovery": 3}',
        '{"discovery": {"min_iou": 2}}',
        '{"discovery": {"iou": 0.5}}',
    ],
)
def test_what_is_no_setting_is_refused(wrong: str, tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text(wrong)
    with pytest.raises(SettingsError):
        read_settings(tmp_path)


def test_a_tracker_takes_its_checkpoints_settings(tmp_path: Path) -> None:
    save_model(tmp_path / "own", make_model())
    write_settings(tmp_path / "own", OWN)
    assert make_tracker(tmp_path / "own", device="cpu").settings == OWN
    other = TrackerSettings(max_num_objects=3)
    assert make_tracker(tmp_path / "own", device="cpu", settings=other).settings == other
    assert json.loads((tmp_path / "own" / SETTINGS_FILE).read_text())["discovery"]["min_iou"] == 0.5
