"""Batches: what somebody asks for, frozen at that moment, under an id that sorts by time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

from tubelet.errors import InputError
from tubelet.model.registry import TRACKERS
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Batch, Control
from tubelet.orchestration.options import freeze_options
from tubelet.orchestration.progress import ENDED, measure_batch
from tubelet.settings import Settings

MAX_PRIORITY = 100


def submit_batch(
    addresses: Sequence[str],
    *,
    settings: Settings,
    ledger: Ledger,
    name: str = "",
    priority: int = 0,
    idempotency_key: str = "",
) -> Batch:
    """Write a batch into the ledger. Its sources are found later, by whoever works on it.

    With an idempotency key that was used before, the batch of that time. Raises InputError when nothing was
    asked for, for an unknown tracker, and for a used key with other addresses or options.
    """
    if not addresses:
        raise InputError("No source was given", expected="a path, glob or s3:// address", do="name one")
    if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        raise InputError(
            f"The priority is {priority}", expected=f"-{MAX_PRIORITY} to {MAX_PRIORITY}", do="correct it"
        )
    TRACKERS.check(settings.tracker_name)
    return ledger.create_batch(
        Batch(
            make_batch_id(time.time()),
            name,
            time.time(),
            tuple(addresses),
            freeze_options(settings),
            settings.options_digest,
            priority,
            idempotency_key,
        )
    )


def steer_batch(batch: Batch, ledger: Ledger, control: Control) -> None:
    """Let a batch run, hold it, or cancel it. Cancelling one that has ended leaves it as it is."""
    if control == "cancelled" and measure_batch(batch, ledger).state in ENDED:
        return
    ledger.set_control(batch.batch_id, control)


def make_batch_id(now_s: float) -> str:
    """A new id: milliseconds of the clock and chance, so that ids sort by time.

    >>> make_batch_id(1.5).startswith("b00000005dc")
    True
    """
    return f"b{int(now_s * 1000):011x}{secrets.token_hex(3)}"
