"""Keeping an index together with what lies beside it in the home: masks, and what the ledger remembers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from tubelet.errors import StoreError
from tubelet.index.masks import find_masks
from tubelet.index.store import IndexStore
from tubelet.index.verification import Verification, verify_index
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.masks_store import read_masks, remove_masks
from tubelet.orchestration.unit import name_job, read_digest
from tubelet.settings import Settings

PAGE = 500


def remove_videos(store: IndexStore, settings: Settings, video_ids: Iterable[str]) -> list[str]:
    """Take videos out of the index, with their masks, and nothing else; the ids of those that were there.

    Video files and the ledger stay as they are: indexing such a video again brings it back.
    """
    wanted = list(video_ids)
    removed = store.remove_videos(wanted)
    for video_id in removed:  # rows first: a video in sight has its masks
        remove_masks(settings, video_id)
    return removed


def verify(store: IndexStore, settings: Settings) -> Verification:
    """Check every row of the index, its masks, and the counts of the ledger."""
    found = store.snapshot()
    jobs = [name_job(video_id, read_digest(name)) for video_id, name in found.generations.items()]
    with closing(open_ledger(settings.ledger_location)) as ledger:
        counts = {
            job.video_id: job.num_objects
            for start in range(0, len(jobs), PAGE)
            for job in ledger.get_jobs(jobs[start : start + PAGE]).values()
            if job.state == "done"
        }
    return verify_index(
        found, ledger_counts=counts, check_masks=lambda video_id: find_fault(settings, video_id)
    )


def find_fault(settings: Settings, video_id: str) -> str:
    """What is wrong with the file of a video's masks; empty when it can be read, or when there is none."""
    if "/" in video_id or video_id in ("", ".", ".."):
        return "no file can have such a name"
    try:
        for _ in read_masks(settings, video_id):
            pass
    except (StoreError, OSError, ValueError) as error:
        return f"{find_masks(settings.home, video_id)}: {error}"
    return ""
