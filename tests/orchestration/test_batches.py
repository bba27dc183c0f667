"""Batches from submission to the last unit: what is run, skipped, tried again, buried, and who may commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.orchestration.conftest import read_rows
from tests.orchestration.light_models import LIGHT
from tubelet.errors import InputError, StaleCommitError
from tubelet.orchestration import runner
from tubelet.orchestration.batches import steer_batch, submit_batch
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Batch, ItemCounts
from tubelet.orchestration.listing import list_batch
from tubelet.orchestration.progress import measure_batch
from tubelet.orchestration.resources import make_s3_options, open_index
from tubelet.orchestration.runner import run_leased
from tubelet.orchestration.stages import close_reader
from tubelet.orchestration.work_store import WorkStore
from tubelet.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(
        {
            "home": tmp_path / "home",
            "chunk_s": 4.0,
            "margin_s": 1.0,
            **LIGHT,
            "retry_base_s": 0.0,
        }
    )


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    with closing(open_ledger(settings.ledger_location)) as ledger:
        yield ledger
    close_reader()


def submit(settings: Settings, ledger: Ledger, *addresses: Path | str, **options: object) -> Batch:
    batch = submit_batch([str(address) for address in addresses], settings=settings, ledger=ledger, **options)  # type: ignore[arg-type]
    list_batch(batch, ledger=ledger, index=open_index(settings, create=True), s3=make_s3_options(settings))
    listed = ledger.get_batch(batch.batch_id)
    assert listed is not None
    return listed


def drain(settings: Settings, ledger: Ledger) -> list[str]:
    """Run every unit that may run in this process, and say which."""
    ran = []
    while ready := ledger.take_ready(10, redispatch_s=0):
        for unit in ready:
            if run_leased(unit.unit_id, ledger=ledger, place=settings, owner="test"):
                ran.append(unit.unit_id.split(":")[0])
    return ran


def test_a_batch_is_listed_planned_tracked_and_committed(
    short_clip: Path, settings: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    batch = submit(settings, ledger, short_clip, tmp_path / "nowhere.mp4")
    assert drain(settings, ledger) == ["plan", "chunk", "chunk", "chunk", "video"]
    progress = measure_batch(batch, ledger)
    assert progress.counts == ItemCounts(found=2, done=1, failed=1)
    stages = {stage.kind: stage for stage in progress.stages}
    assert stages["chunk"].progress.span_done_s == pytest.approx(10.0)
    assert stages["chunk"].left_s == 0
    (done,) = ledger.list_items(batch.batch_id, states=("done",))
    assert (done.num_objects, done.duration_s) == (2, pytest.approx(10.0))
    texts = [event.text for event in ledger.list_events(batch.batch_id)]
    assert any("indexed, 2 objects" in text for text in texts)
    assert WorkStore(settings).list_chunks(done.video_id, settings.options_digest) == []

    again = submit(settings, ledger, short_clip)
    assert measure_batch(again, ledger).counts == ItemCounts(found=1, skipped=1)
    (item,) = ledger.list_items(again.batch_id)
    assert "unchanged" in item.reason


def test_what_the_index_lost_is_indexed_again_whatever_the_ledger_remembers(
    short_clip: Path, settings: Settings, ledger: Ledger
) -> None:
    submit(settings, ledger, short_clip)
    drain(settings, ledger)
    rows = read_rows(settings.home)
    open_index(settings).remove_video(rows["videos"][0]["video_id"])
    submit(settings, ledger, short_clip)
    assert drain(settings, ledger)[-1] == "video"
    assert read_rows(settings.home) == rows


def test_options_in_force_decide_and_not_the_last_batch_with_the_same(
    short_clip: Path, settings: Settings, ledger: Ledger
) -> None:
    """First options A, then B, then A again: the rows are B's, so A has work to do."""
    for sample_fps in (3.0, 2.0, 3.0):
        chosen = settings.model_copy(update={"sample_fps": sample_fps})
        submit(chosen, ledger, short_clip)
        assert drain(chosen, ledger)[-1] == "video"


def test_options_are_frozen_when_the_batch_is_submitted(
    short_clip: Path, settings: Settings, ledger: Ledger
) -> None:
    submit(settings, ledger, short_clip)
    other = settings.model_copy(update={"chunk_s": 60.0})
    assert drain(other, ledger).count("chunk") == 3


def test_an_idempotency_key_gives_the_batch_of_the_first_time(settings: Settings, ledger: Ledger) -> None:
    first = submit_batch(["a.mp4"], settings=settings, ledger=ledger, idempotency_key="k")
    assert submit_batch(["a.mp4"], settings=settings, ledger=ledger, idempotency_key="k") == first
    with pytest.raises(InputError):
        submit_batch(["b.mp4"], settings=settings, ledger=ledger, idempotency_key="k")


@pytest.mark.parametrize(("addresses", "priority"), [([], 0), (["a.mp4"], 101)])
def test_a_batch_of_nothing_or_out_of_range_is_refused(
    addresses: list[str], priority: int, settings: Settings, ledger: Ledger
) -> None:
    with pytest.raises(InputError):
        submit_batch(addresses, settings=settings, ledger=ledger, priority=priority)


def test_chunk_results_that_are_gone_are_made_again(
    short_clip: Path, settings: Settings, ledger: Ledger
) -> None:
    submit(settings, ledger, short_clip)
    ran: list[str] = []
    while ran.count("chunk") < 3:
        (unit,) = ledger.take_ready(1, redispatch_s=0)
        run_leased(unit.unit_id, ledger=ledger, place=settings, owner="test")
        ran.append(unit.kind)
    lost = next((settings.home / "work").glob("chunks/*/*/*.arrow"))
    lost.unlink()
    assert drain(settings, ledger) == ["video", "chunk", "video"]
    assert len(read_rows(settings.home)["videos"]) == 1


def test_bad_input_is_never_tried_again(settings: Settings, ledger: Ledger, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    batch = submit(settings, ledger, text)
    assert drain(settings, ledger) == ["plan"]
    (item,) = ledger.list_items(batch.batch_id)
    assert (item.state, item.error_class) == ("failed", "bad input")
    (dead,) = ledger.list_dead(batch.batch_id)
    assert json.loads(dead.payload)["uri"] == str(text)


def test_what_passes_is_tried_again_and_then_buried(
    short_clip: Path, settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = submit(settings, ledger, short_clip)

    def fail(*_: object) -> None:
        raise ConnectionError("the store is away")

    monkeypatch.setattr(runner, "run_stage", fail)
    assert drain(settings, ledger) == ["plan"] * settings.max_attempts
    (dead,) = ledger.list_dead(batch.batch_id)
    assert (dead.attempts, dead.error_class) == (settings.max_attempts, "transient")
    assert "the store is away" in dead.error
    monkeypatch.undo()
    assert ledger.retry(batch.batch_id) == 1
    assert drain(settings, ledger)[-1] == "video"
    assert measure_batch(batch, ledger).state == "done"


def test_whoever_lost_the_lease_cannot_commit(
    short_clip: Path, settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first worker is held up before it commits; the second one takes over and commits."""
    submit(settings, ledger, short_clip)
    while (unit := ledger.take_ready(1, redispatch_s=0)[0]).kind != "video":
        run_leased(unit.unit_id, ledger=ledger, place=settings, owner="test")
    late = ledger.acquire(unit.unit_id, "late", lease_s=60)
    assert late is not None
    assert ledger.give_back_all("late") == [unit.unit_id]
    assert run_leased(unit.unit_id, ledger=ledger, place=settings, owner="second")
    rows = read_rows(settings.home)

    index = open_index(settings)
    (video,) = index.list_videos()
    with pytest.raises(StaleCommitError):
        index.replace_video(video, [], [], index.get_models(video.video_id), fence=late.token)  # type: ignore[arg-type]
    assert read_rows(settings.home) == rows


def test_cancelling_a_batch_that_has_ended_leaves_it(
    short_clip: Path, settings: Settings, ledger: Ledger
) -> None:
    batch = submit(settings, ledger, short_clip)
    drain(settings, ledger)
    steer_batch(batch, ledger, "cancelled")
    ended = ledger.get_batch(batch.batch_id)
    assert ended is not None
    assert measure_batch(ended, ledger).state == "done"


def test_a_cancelled_batch_runs_nothing_and_another_goes_on(
    short_clip: Path, settings: Settings, ledger: Ledger
) -> None:
    first, second = submit(settings, ledger, short_clip), submit(settings, ledger, short_clip)
    ledger.set_control(first.batch_id, "cancelled")
    assert measure_batch(first, ledger).counts == ItemCounts(found=1, cancelled=1)
    assert drain(settings, ledger)[-1] == "video"
    assert measure_batch(second, ledger).counts.done == 1
