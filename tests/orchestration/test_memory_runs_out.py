"""Memory that does not suffice: a unit is tried again in smaller portions, until they fit or attempts end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import torch

from tests.orchestration.conftest import read_rows, work_off
from tests.orchestration.light_models import LIGHT
from tests.orchestration.light_models import make_tracker as make_light_tracker
from tubelet.model.describing.attributes import AttributesCaptioner
from tubelet.model.describing.base import DescribeRequest, Description
from tubelet.model.tracking.motion import MotionTracker
from tubelet.orchestration.failures import classify_error
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.records import UnitEntry
from tubelet.settings import Settings, load_settings

TRACKER_FITS = 2
"""After so many halvings the tracker fits onto its device."""


class CrampedCaptioner(AttributesCaptioner):
    """Has room for a few moments at a time."""

    room = 0

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        if len(requests) > self.room:
            raise MemoryError
        return super().describe(requests)


def make_cramped_captioner(settings: Settings) -> CrampedCaptioner:
    return CrampedCaptioner()


def make_cramped_tracker(settings: Settings) -> MotionTracker:
    if settings.shrink < TRACKER_FITS:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return make_light_tracker(settings)


CRAMPED = {"tracker": f"{__name__}:make_cramped_tracker", "captioner": f"{__name__}:make_cramped_captioner"}


def run(home: Path, clip: Path, **options: object) -> dict[str, UnitEntry]:
    """Index a clip of one chunk in this process; its units by kind."""
    settings = load_settings({"home": home, **LIGHT, "retry_base_s": 0.0, **options})
    with closing(open_ledger(settings.ledger_location)) as ledger:
        batch = work_off(clip, settings, ledger)
        (item,) = ledger.list_items(batch.batch_id)
        units = ledger.list_units(f"{item.video_id}.{batch.digest}")
    return {unit.kind: unit for unit in units}


def test_units_that_need_too_much_memory_are_run_in_smaller_portions(
    short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The captioner has room for the moments of one object: sixteen objects a call are halved four times."""
    run(tmp_path / "roomy", short_clip)
    roomy = read_rows(tmp_path / "roomy")
    counts = Counter(row["object_id"] for row in roomy["moments"])
    assert len(counts) == 2
    monkeypatch.setattr(CrampedCaptioner, "room", max(counts.values()))
    units = run(tmp_path / "cramped", short_clip, **CRAMPED, max_attempts=5)
    assert {kind: (unit.state, unit.attempts) for kind, unit in units.items()} == {
        "plan": ("done", 1),
        "chunk": ("done", 1 + TRACKER_FITS),
        "video": ("done", 1 + 4),
    }
    cramped = read_rows(tmp_path / "cramped")
    assert cramped["moments"] == roomy["moments"]
    assert cramped["tubelets"] == roomy["tubelets"]


def test_a_unit_that_never_fits_fails_and_says_why(short_clip: Path, tmp_path: Path) -> None:
    chunk = run(tmp_path, short_clip, **CRAMPED, max_attempts=TRACKER_FITS)["chunk"]
    assert (chunk.state, chunk.error_class) == ("failed", "out of memory")
    assert "CUDA out of memory" in chunk.error


def test_what_processors_say_of_too_little_memory_is_told_from_bugs() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert classify_error(caught.value) == "out of memory"
