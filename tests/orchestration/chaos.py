"""Chaos: seeded runs in which processes, servers and disks fail at random moments; rows must be as ever.

    python -m tests.orchestration.chaos --runs 50

A round is a deployment of real parts (Redis or a SQLite file, an S3 server, workers, `tubelet work`) and
works off several batches, one a seed. Each batch has options of its own, so that everything is tracked and
committed anew; they do not change what the rows say. What dies is started again, as whatever runs it would
do.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.orchestration.chaos_deployment import Archive, Deployment, Kind
from tests.orchestration.chaos_faults import FAULTS, Fault
from tubelet.orchestration.batches import submit_batch
from tubelet.orchestration.ledger.records import ItemCounts
from tubelet.orchestration.pipeline import is_ended
from tubelet.settings import Settings

BATCH_S = 180.0
NUM_FAULTS = 3
MOMENTS_S = 4.0
"""Faults begin within so many seconds of the batch."""

KINDS: tuple[Kind, ...] = ("local", "celery", "ray")
BATCHES_A_ROUND = 5


@dataclass
class Report:
    """What happened, and what was lost."""

    num_runs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def run_round(kind: Kind, seeds: Iterable[int], archive: Archive, folder: Path, report: Report) -> None:
    """A deployment, and a batch for every seed. What is lost is in the report."""
    with Deployment(kind, archive, folder) as deployment:
        for seed in seeds:
            started = time.monotonic()
            _say(f"{kind}, seed {seed}:", end=" ")
            loss = _run_batch(deployment, seed, report)
            report.num_runs += 1
            report.seconds.append(time.monotonic() - started)
            _say(loss or f"as ever ({report.seconds[-1]:.0f} s)")
            if loss:
                report.losses.append(f"{kind}, seed {seed}: {loss}")


def _run_batch(deployment: Deployment, seed: int, report: Report) -> str:
    """Work off a batch while things fail; what was lost, empty for nothing."""
    draw = random.Random(seed)
    settings = name_run(deployment.settings, seed)
    batch = submit_batch([deployment.archive.address], settings=settings, ledger=deployment.ledger)
    faults = _draw_faults(deployment, draw)
    moments_s = sorted(draw.uniform(0.0, MOMENTS_S) for _ in faults)

    def has_ended() -> bool:
        held = deployment.ledger.get_batch(batch.batch_id)
        return held is not None and is_ended(held, deployment.ledger)

    started = time.monotonic()
    try:
        while time.monotonic() - started < BATCH_S:
            if moments_s and time.monotonic() - started >= moments_s[0]:
                moments_s.pop(0)
                fault = faults.pop(0)
                if fault.strike(deployment, draw, batch.batch_id):
                    _say(fault.name, end=", ")
                    report.faults[fault.name] += 1
            deployment.start_what_died()
            if not moments_s and deployment.ask(has_ended):
                break
            time.sleep(0.05)
        else:
            return f"batch {batch.batch_id} has not ended after {BATCH_S:g} s"
    finally:
        deployment.mend()
    counts = deployment.ask(lambda: deployment.ledger.count_items(batch.batch_id))
    wanted = ItemCounts(found=deployment.archive.num_videos, done=deployment.archive.num_videos)
    if counts != wanted:
        items = deployment.ledger.list_items(batch.batch_id)
        return f"counts are {counts}: " + "; ".join(
            f"{item.uri} {item.state} {item.reason}" for item in items
        )
    rows, digests = deployment.read_rows()
    if digests != {settings.options_digest}:
        return f"videos are of the options {digests}, not {settings.options_digest}"
    return "" if rows == deployment.archive.rows else "rows differ"


def _say(text: str, *, end: str = "\n") -> None:
    print(text, end=end, flush=True)  # noqa: T201


def name_run(settings: Settings, seed: int) -> Settings:
    """Options of a run's own: moments of clips that last a few seconds are not cut by them."""
    return settings.model_copy(update={"max_moment_s": 10.0 + (seed + 1) / 1000})


def _draw_faults(deployment: Deployment, draw: random.Random) -> list[Fault]:
    possible = [fault for fault in FAULTS if fault.can_strike(deployment)]
    return draw.sample(possible, min(NUM_FAULTS, len(possible)))


def _run(kinds: Sequence[Kind], seeds: Sequence[int], report: Report) -> None:
    """Rounds one after the other, of the kinds in turn."""
    with (
        tempfile.TemporaryDirectory(prefix="tubelet-chaos-") as name,
        Archive(Path(name) / "archive") as archive,
    ):
        for place, start in enumerate(range(0, len(seeds), BATCHES_A_ROUND)):
            part = seeds[start : start + BATCHES_A_ROUND]
            run_round(kinds[place % len(kinds)], part, archive, Path(name) / f"round-{place}", report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    report = Report()
    try:
        _run(arguments.kinds, range(arguments.first, arguments.first + arguments.runs), report)
    except KeyboardInterrupt:
        _say("broken off")
    _say(f"{report.num_runs} runs, {sum(report.faults.values())} faults, {len(report.losses)} losses")
    for fault, count in sorted(report.faults.items()):
        _say(f"{fault}: {count}")
    _say(f"seconds a run: mean {sum(report.seconds) / max(1, report.num_runs):.1f}")
    for loss in report.losses:
        _say(f"LOST: {loss}")
    sys.exit(bool(report.losses))


if __name__ == "__main__":
    main()
