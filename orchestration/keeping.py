"""Keeping an index together with what lies beside it: masks, chunk results, and what the ledger remembers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from tubelet.errors import StoreError
from tubelet.index.store import IndexStore
from tubelet.index.verification import Verification, verify_index
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.masks_store import locate_masks, read_masks, remove_masks
from tubelet.orchestration.options import thaw_options
from tubelet.orchestration.unit import name_job, read_digest
from tubelet.orchestration.work_store import WorkStore
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


def remove_committed_results(store: IndexStore, settings: Settings, ledger: Ledger) -> list[str]:
    """Remove chunk results of videos that the index holds, left by a process that died right after a commit.

    Results of work that is under way stay, and those whose options keep them. Gives the videos' ids.
    """
    work, generations = WorkStore(settings), store.snapshot().generations
    owners = {
        name_job(video_id, digest): (video_id, digest)
        for video_id, digest in work.list_videos()
        if read_digest(generations.get(video_id, "")) == digest
    }
    removed = []
    for job_id, job in ledger.get_jobs(owners).items():
        if job.state != "running" and not thaw_options(job.options, settings).keep_chunks:
            work.remove_video(*owners[job_id])
            removed.append(job.video_id)
    work.drop_emptied()
    return removed


def find_fault(settings: Settings, video_id: str) -> str:
    """What is wrong with the file of a video's masks; empty when it can be read, or when there is none."""
    if "/" in video_id or video_id in ("", ".", ".."):
        return "no file can have such a name"
    try:
        for _ in read_masks(settings, video_id):
            pass
    except (StoreError, OSError, ValueError) as error:
        return f"{locate_masks(settings, video_id)}: {error}"
    return ""
