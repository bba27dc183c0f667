"""Opens the ledger that an address names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from tubelet.errors import InputError
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.orchestration.ledger.sqlite import SqliteLedger


def open_ledger(uri: str) -> Ledger:
    """Open the ledger at a path or `sqlite:///PATH` (SQLite).

    A relative path follows three slashes, an absolute one four. Raises InputError for an address of no known
    kind, StoreError when the ledger cannot be opened.
    """
    scheme, found, rest = uri.partition("://")
    if not found and uri:
        return SqliteLedger(Path(uri).expanduser())
    if scheme == "sqlite" and len(rest) > 1 and rest.startswith("/"):
        return SqliteLedger(Path(unquote(rest[1:])))
    raise InputError(
        f"A ledger cannot be opened at an address that begins with {scheme!r}",
        expected="a path or sqlite:///PATH",
        do="set `ledger` to one of these",
    )
