"""Listing: from the addresses of a batch to its items, those that need no work among them.

A listing may be broken off anywhere and done again: an item counts once, however often it is found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from tubelet.errors import SourceError, TubeletError
from tubelet.index.store import IndexStore
from tubelet.orchestration.deleted_sources import ExpectedSources, make_deletion_events
from tubelet.orchestration.failures import classify_error
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.records import Batch, Job, NewItem
from tubelet.orchestration.unit import name_job, read_digest
from tubelet.orchestration.watching.traces import trace_listing
from tubelet.records import Source
from tubelet.workers.probe import make_video_id
from tubelet.workers.s3 import S3Options
from tubelet.workers.source import SourceFailure, expand_sources

log = logging.getLogger(__name__)

FIRST_PAGE, PAGE = 1, 500
"""The first items go into the ledger at once, so that work begins; the pages then grow up to this many."""

Hear = Callable[[NewItem], None]


def list_batch(
    batch: Batch,
    *,
    ledger: Ledger,
    index: IndexStore,
    s3: S3Options,
    hear: Hear = lambda _: None,
    is_last: bool = False,
) -> tuple[str, ...]:
    """Expand the addresses of a batch into items of the ledger. `hear` is told every item.

    What is wrong with one address becomes a failed item. What ends the whole listing for good is written into
    the batch; what may pass (a ledger, an index or a source that does not answer) is raised once all else is
    listed that can be, and the batch stays to be listed. With `is_last`, nobody will list it again, and an
    address that does not answer is a failed item.

    Gives the sources that the index holds, that the addresses reach and that are no longer there. They are in
    the batch's log too, and stay in the index.
    """
    passing: SourceError | None = None
    try:
        expected = ExpectedSources(batch.addresses, index.snapshot().addresses)
        for page in _grow_pages(expand_sources(batch.addresses, s3=s3)):
            if not is_last:
                passing = next(filter(None, map(_get_passing_error, page)), passing)
                page = [found for found in page if _get_passing_error(found) is None]
            items = _judge(page, batch, ledger, index)
            ledger.add_items(batch.batch_id, items)
            trace_listing(batch, items)
            for item in items:
                hear(item)
            for found in page:
                expected.note(found)
        if passing is not None:
            raise passing
        deleted = expected.list_deleted()
        for first in range(0, len(deleted), PAGE):
            ledger.add_events(make_deletion_events(batch.batch_id, deleted[first : first + PAGE]))
    except Exception as error:
        if classify_error(error) == "transient":
            raise
        if not isinstance(error, TubeletError):
            log.error("Listing of batch %s failed", batch.batch_id, exc_info=error)
        ledger.end_listing(batch.batch_id, error=str(error) or type(error).__name__)
        return ()
    ledger.end_listing(batch.batch_id)
    return deleted


def _get_passing_error(found: Source | SourceFailure) -> SourceError | None:
    """What is wrong with an address for now."""
    if isinstance(found, SourceFailure) and classify_error(found.error) == "transient":
        return found.error
    return None


def _grow_pages(found: Iterable[Source | SourceFailure]) -> Iterator[list[Source | SourceFailure]]:
    remaining = iter(found)
    size = FIRST_PAGE
    while page := list(islice(remaining, size)):
        yield page
        size = min(2 * size, PAGE)


def _judge(
    page: Sequence[Source | SourceFailure], batch: Batch, ledger: Ledger, index: IndexStore
) -> list[NewItem]:
    ids = {found.uri: make_video_id(found.identity) for found in page if isinstance(found, Source)}
    jobs = ledger.get_jobs([name_job(video_id, batch.digest) for video_id in ids.values()])
    indexed = index.snapshot()
    taken: dict[str, str] = {}
    items = []
    for found in page:
        if isinstance(found, SourceFailure):
            items.append(NewItem(found.uri, state="failed", reason=str(found.error)))
            continue
        video_id = ids[found.uri]
        job = jobs.get(name_job(video_id, batch.digest))
        version = None
        if video_id in indexed.generations:
            version = indexed.addresses[video_id], read_digest(indexed.generations[video_id])
        reason = _find_reason_to_skip(found.uri, batch.digest, job, version, taken.get(video_id))
        if reason is None:
            taken[video_id] = found.uri
        items.append(
            NewItem(
                found.uri,
                found.identity,
                found.size_bytes,
                video_id,
                "waiting" if reason is None else "skipped",
                reason or "",
            )
        )
    return items


def _find_reason_to_skip(
    uri: str, digest: str, job: Job | None, indexed: tuple[str, str] | None, taken_by: str | None
) -> str | None:
    """Why a source needs no work, or None where it does.

    Identical bytes are one video. A second address for them is skipped and says so, unless the address in
    the index is a local file that is no longer there: then the file has moved. What the index holds decides,
    not what the ledger remembers.
    """
    if taken_by is not None:
        return f"the same content is being indexed as {taken_by}"
    if job is not None and job.state == "running":
        return None if job.uri == uri else f"the same content is being indexed as {job.uri}"
    if indexed is None:
        return None
    indexed_uri, options = indexed
    if options != digest:
        return None
    if indexed_uri == uri:
        return "unchanged since it was indexed with these options"
    return None if _is_missing_file(indexed_uri) else f"the same content is indexed as {indexed_uri}"


def _is_missing_file(uri: str) -> bool:
    return "://" not in uri and not Path(uri).exists()
