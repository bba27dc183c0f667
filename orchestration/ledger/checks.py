"""What every ledger says in the same words: what a job begins with, and what is refused."""

from __future__ import annotations

import json

from tubelet.errors import InputError, LeaseLostError
from tubelet.orchestration.ledger.records import Batch, Lease, NewItem


def plan_payload(item: NewItem) -> str:
    """The payload of the unit that a job begins with."""
    return json.dumps({"uri": item.uri, "identity": item.identity, "size_bytes": item.size_bytes})


def check_same_batch(held: Batch, asked: Batch) -> None:
    """Raise InputError when a batch that is there already is not the one that is asked for."""
    key = f"idempotency key {asked.idempotency_key!r}" if asked.idempotency_key else f"id {asked.batch_id!r}"
    for name, found, wanted in (
        ("addresses", held.addresses, asked.addresses),
        ("options", (held.options, held.digest), (asked.options, asked.digest)),
    ):
        if found != wanted:
            raise InputError(
                f"The batch {held.batch_id} has the {key} already, with other {name}",
                expected=f"the same {name} whenever a submission is repeated",
                do="submit under a new key, or repeat the submission unchanged",
            )


def unknown_batch(batch_id: str) -> InputError:
    """The error that there is no such batch."""
    return InputError(f"There is no batch {batch_id!r}", do="run tubelet status to see the batches there are")


def cancelled_batch(batch_id: str) -> InputError:
    """The error that a batch was cancelled and cannot run again."""
    return InputError(
        f"The batch {batch_id} was cancelled", expected="a batch that is not", do="submit its sources again"
    )


def batch_not_ended(batch_id: str, num_open: int) -> InputError:
    """The error that a batch may not be forgotten yet; `num_open` items have not ended."""
    why = f"{num_open} of its sources are not done" if num_open else "its addresses are still being listed"
    return InputError(f"The batch {batch_id} has not ended: {why}", do="wait for it, or cancel it first")


def lease_lost(lease: Lease) -> LeaseLostError:
    """The error that a unit is no longer the holder's."""
    return LeaseLostError(
        f"{lease.owner} no longer holds {lease.unit_id} (token {lease.token})",
        do="drop what was made; whoever holds the unit now does the work again",
    )
