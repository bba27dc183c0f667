"""What becomes of a unit whose worker is known to be dead: a failed attempt, before its lease runs out."""

from __future__ import annotations

import random
import time

from tubelet.orchestration.failures import choose_retry_s
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Event, UnitFailure
from tubelet.orchestration.options import thaw_options
from tubelet.settings import Settings


def bury_worker(unit_id: str, owner: str, died: str, *, ledger: Ledger, place: Settings) -> bool:
    """Give back the lease that a dead `owner` holds on a unit, as a failed attempt; False when it holds none.

    `died` says how it went down. Raises StoreError.
    """
    entry = ledger.get_unit(unit_id)
    if entry is None or entry.state != "running" or entry.owner != owner:
        return False
    options = thaw_options(ledger.get_jobs([entry.job_id])[entry.job_id].options, place)
    wait_s = choose_retry_s(entry.attempts, options.max_attempts, place.retry_base_s, random.Random())
    failure = UnitFailure(
        "transient",
        f"The worker that ran {unit_id} died: {died}. Attempts: {entry.attempts}. "
        "Do: look for the kernel's out-of-memory killer (dmesg), or use fewer workers.",
        retry_after_s=wait_s,
    )
    if not ledger.give_back(unit_id, owner, failure):
        return False
    event = Event(
        time.time(), "error" if wait_s is None else "warning", failure.error, "", entry.job_id, unit_id
    )
    ledger.add_events([event])
    return True
