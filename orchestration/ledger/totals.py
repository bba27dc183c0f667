"""What the ledger counts for ever: amounts by name, which never become less whatever batches are forgotten.

Ledgers keep millionths as whole numbers, so that sums are exact and the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tubelet.orchestration.ledger.records import Lease, UnitFailure, UnitKind, UnitResult

FAILED = "failed:"
"""What the names of counts of failed attempts begin with; their error class follows."""

STAGE = "stage:"
"""What the names of seconds of stages begin with."""


def count_result(lease: Lease, result: UnitResult) -> dict[str, int]:
    """What a unit that is done adds, in millionths."""
    amounts = {
        "done": 1.0,
        "seconds": result.seconds,
        "gpu_seconds": result.gpu_seconds,
        "span_s": 0.0 if result.resumed else lease.span_s,
        "frames": float(result.num_frames),
        "objects": float(result.num_objects),
        "moments": float(result.num_moments),
        **{f"{STAGE}{name}": seconds for name, seconds in result.stage_seconds},
    }
    return _write(amounts)


def count_failure(failure: UnitFailure) -> dict[str, int]:
    """What a failed attempt adds, in millionths."""
    return _write(
        {
            f"{FAILED}{failure.error_class}": 1.0,
            "seconds": failure.seconds,
            "gpu_seconds": failure.gpu_seconds,
        }
    )


def _write(amounts: Mapping[str, float]) -> dict[str, int]:
    return {name: round(amount * 1e6) for name, amount in amounts.items() if amount > 0}


def read_totals(rows: Iterable[tuple[UnitKind, str, int]]) -> Mapping[UnitKind, Mapping[str, float]]:
    """Totals by kind of unit and name, from millionths."""
    totals: dict[UnitKind, dict[str, float]] = {}
    for kind, name, millionths in rows:
        totals.setdefault(kind, {})[name] = millionths / 1e6
    return totals
