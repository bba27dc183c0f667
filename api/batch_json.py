"""Batches as JSON values: what the command line and the HTTP service tell of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tubelet.orchestration.ledger.records import Batch, Item, ItemCounts, StageProgress
from tubelet.orchestration.progress import STAGES, BatchProgress, Stage


def batch_to_json(batch: Batch) -> dict[str, Any]:
    """What was submitted."""
    return {
        "batch_id": batch.batch_id,
        "name": batch.name,
        "created_s": batch.created_s,
        "sources": list(batch.addresses),
        "priority": batch.priority,
        "listing_error": batch.listing_error,
    }


def progress_to_json(progress: BatchProgress) -> dict[str, Any]:
    """How far a batch is."""
    return {
        **batch_to_json(progress.batch),
        "state": progress.state,
        "counts": asdict(progress.counts),
        "left_s": progress.left_s,
        "stages": [
            {
                "stage": STAGES[stage.kind],
                "kind": stage.kind,
                **asdict(stage.progress),
                "rate": stage.rate,
                "left_s": stage.left_s,
            }
            for stage in progress.stages
        ],
    }


def item_to_json(item: Item) -> dict[str, Any]:
    """One source of a batch, and how it stands."""
    told = asdict(item)
    del told["batch_id"], told["identity"]
    return told


def json_to_progress(told: dict[str, Any]) -> BatchProgress:
    """What `progress_to_json` told, to be shown as if the ledger were here."""
    batch = Batch(
        batch_id=told["batch_id"],
        name=told["name"],
        created_s=told["created_s"],
        addresses=tuple(told["sources"]),
        options="",
        digest="",
        priority=told["priority"],
        listing_error=told["listing_error"],
    )
    stages = []
    for each in told["stages"]:
        progress = StageProgress(**{name: each[name] for name in StageProgress.__dataclass_fields__})
        stages.append(Stage(each["kind"], progress, each["rate"], each["left_s"]))
    return BatchProgress(batch, told["state"], ItemCounts(**told["counts"]), tuple(stages))
