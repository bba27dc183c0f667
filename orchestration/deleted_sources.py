"""Sources that were deleted: the index holds them, and the addresses of a batch no longer find them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence

from tubelet.orchestration.ledger.records import Event
from tubelet.records import Source
from tubelet.workers.probe import make_video_id
from tubelet.workers.reach import find_reach
from tubelet.workers.source import SourceFailure


class ExpectedSources:
    """What the index holds of the sources that addresses reach, until a listing comes upon it.

    Only folders, prefixes and globs reach anything: a file or object that is named itself and is not there
    fails its batch anyway.
    """

    def __init__(self, addresses: Iterable[str], indexed: Mapping[str, str]) -> None:
        """`indexed` are the addresses of the index's videos, by their ids."""
        self._indexed = indexed
        reaches = {address: reach for address in addresses if (reach := find_reach(address)) is not None}
        self._reached = {
            address: {uri for uri in indexed.values() if reach(uri)} for address, reach in reaches.items()
        }
        self._all = set().union(*self._reached.values())
        self._found: set[str] = set()

    def note(self, found: Source | SourceFailure) -> None:
        """Strike out what was found.

        A video that lies elsewhere now has moved. An address that could not be listed, or that is a file's
        name after all, tells nothing about others.
        """
        if isinstance(found, Source) or not found.is_empty:
            self._reached.pop(found.uri, None)
        there = {found.uri}
        if isinstance(found, Source):
            there.add(self._indexed.get(make_video_id(found.identity), found.uri))
        self._found |= there & self._all

    def list_deleted(self) -> tuple[str, ...]:
        """What is left once all addresses were listed."""
        left = set().union(*self._reached.values()) - self._found
        return tuple(sorted(uri for uri in left if "://" in uri or not os.path.lexists(uri)))


def make_deletion_events(batch_id: str, uris: Sequence[str]) -> list[Event]:
    """What the log of a batch says of them."""
    return [
        Event(
            time.time(),
            "warning",
            f"{uri} is indexed, and no longer there. Its rows stay. Do: tubelet index remove '{uri}'",
            batch_id,
        )
        for uri in uris
    ]
