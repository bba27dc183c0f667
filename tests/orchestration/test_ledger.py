"""The ledger's contract; every implementation passes it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tubelet.orchestration.ledger import Ledger, SqliteLedger, UnitEntry, VideoEntry

VIDEO = VideoEntry("v1", "/a.mp4", "options", "planned", num_chunks=3)


@pytest.fixture(params=[SqliteLedger])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    made: Ledger = request.param(tmp_path / "deep" / "ledger.sqlite")
    return made


def test_unknown_video_is_none(ledger: Ledger) -> None:
    assert ledger.get_video("v1") is None
    assert ledger.list_videos() == []


def test_the_last_entry_counts(ledger: Ledger) -> None:
    ledger.put_video(VIDEO)
    done = replace(VIDEO, state="done", num_objects=4)
    ledger.put_video(done)
    assert ledger.get_video("v1") == done
    assert ledger.list_videos() == [done]


def test_videos_come_by_uri_and_units_by_id(ledger: Ledger) -> None:
    other = replace(VIDEO, video_id="v2", uri="/B.mp4", state="failed", error="bad 'quote' \" ; --")
    ledger.put_video(VIDEO)
    ledger.put_video(other)
    assert ledger.list_videos() == [other, VIDEO]
    units = [UnitEntry(f"c{number}", "v1", 1, "done", 0.5) for number in range(3)]
    for unit in reversed(units):
        ledger.put_unit(unit)
    assert ledger.list_units("v1") == units
    assert ledger.list_units("v2") == []


def test_what_is_noted_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    SqliteLedger(path).put_video(VIDEO)
    assert SqliteLedger(path).get_video("v1") == VIDEO


def test_many_writers_at_once_lose_nothing(ledger: Ledger) -> None:
    entries = [replace(VIDEO, video_id=f"v{number:03d}", uri=f"/{number:03d}") for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ledger.put_video, entries))
    assert ledger.list_videos() == entries
