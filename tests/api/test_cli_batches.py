"""Batches on the command line: submitted, steered, watched, and what failed in them."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis.backoff import NoBackoff

from tests.api.test_cli import run
from tests.orchestration.light_models import LIGHT_EMBEDDER
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.listing import list_batch
from tubelet.orchestration.resources import make_s3_options, open_index
from tubelet.orchestration.runner import run_leased
from tubelet.settings import load_settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUBELET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUBELET_EMBEDDER", LIGHT_EMBEDDER)
    return tmp_path / "home"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two files that are no videos, and a line that cannot be used."""
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_text(name)
    path = tmp_path / "list.csv"
    path.write_text("uri\na.mp4\none,too many\nb.mp4\n")
    return path


def work() -> None:
    """List and run all that may run, in this process."""
    settings = load_settings()
    with closing(open_ledger(settings.ledger_location)) as ledger:
        for batch in ledger.list_batches():
            if not batch.has_listing_ended and batch.control == "running":
                index = open_index(settings, create=True)
                list_batch(batch, ledger=ledger, index=index, s3=make_s3_options(settings))
        while ready := ledger.take_ready(10, redispatch_s=0):
            for unit in ready:
                run_leased(unit.unit_id, ledger=ledger, place=settings, owner="test")


def ask(batch_id: str, code: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run("status", batch_id, "--json", code=code).stdout)
    counts = told["counts"]
    parts = ("skipped", "done", "failed", "cancelled", "waiting")
    assert counts["found"] == sum(counts[part] for part in parts)
    return told


def test_a_batch_is_submitted_steered_and_told_of(manifest: Path) -> None:
    given = ("submit", manifest, "--name", "two", "--priority", "7", "--key", "k")
    batch_id = json.loads(run(*given, "--json").stdout)["batch_id"]
    assert run(*given).stdout.strip() == batch_id
    assert "key" in run("submit", "other.mp4", "--key", "k", code=2).stderr
    assert (ask(batch_id)["state"], ask(batch_id)["name"]) == ("listing", "two")

    for step, state in (("pause", "paused"), ("resume", "listing")):
        assert run(step, batch_id[:-2]).stdout.strip() == f"{batch_id} is {state}."
    work()
    told = ask(batch_id, code=3)
    assert (told["state"], told["counts"]["found"], told["counts"]["failed"]) == ("failed", 3, 3)
    shown = run("status", batch_id, "--watch", code=3)
    assert "two" in shown.stdout
    assert f"line 3 of {manifest} holds 2 cells" in shown.stderr
    assert str(manifest.parent / "b.mp4") in shown.stderr

    lines = run("logs", batch_id).stdout.splitlines()
    assert sum("not tried again" in line for line in lines) == 2
    events = [json.loads(line) for line in run("logs", batch_id, "--follow", "--json").stdout.splitlines()]
    assert [event["text"] in line for event, line in zip(events, lines, strict=True)] == [True] * len(lines)

    assert run("retry", batch_id).stdout.strip() == "2 to be tried again."
    assert ask(batch_id, code=3)["counts"]["waiting"] == 2
    assert run("cancel", batch_id).stdout.strip() == f"{batch_id} is cancelled."
    assert ask(batch_id, code=3)["counts"]["cancelled"] == 2
    assert [each["batch_id"] for each in json.loads(run("status", "--json").stdout)] == [batch_id]


def test_dead_letters_hold_what_running_them_again_needs(manifest: Path) -> None:
    source = manifest.with_name("a.mp4")
    batch_id = run("submit", source).stdout.strip()
    assert run("logs", batch_id, "--dead").stdout == ""
    work()
    (line,) = run("logs", batch_id, "--dead").stdout.splitlines()
    assert f"{source}: bad input, 1 attempts, the last by test" in line
    dead = json.loads(run("logs", batch_id, "--dead", "--json").stdout)
    assert (dead["unit_id"].split(":")[0], dead["attempts"], dead["error_class"]) == ("plan", 1, "bad input")
    assert json.loads(dead["payload"])["uri"] == dead["job"]["uri"] == str(source)
    assert "sample_fps" in json.loads(dead["job"]["options"])


def test_batches_that_are_unknown_or_cannot_be_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("status", "pause", "resume", "cancel", "retry", "logs"):
        assert "tubelet status" in run(command, "b123", code=2).stderr.replace("\n", " ")
    pauses = "tubelet.orchestration.ledger.redis_client.ExponentialWithJitterBackoff"
    monkeypatch.setattr(pauses, lambda **_: NoBackoff())
    monkeypatch.setenv("TUBELET_LEDGER", "redis://127.0.0.1:1/0")
    told = run("submit", "a.mp4", code=1)
    assert told.stdout == ""
    assert "redis://127.0.0.1:1/0" in told.stderr
    assert "Do: " in told.stderr


def test_a_list_of_batches_fits_eighty_columns(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run("submit", "--name", "nightly", manifest)
    (row,) = (line for line in run("status").stdout.splitlines() if "nightly" in line)
    assert "listing" in row
    assert len(row) <= 80
