"""A ledger of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tubelet.orchestration.ledger.sqlite import SqliteLedger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    """A ledger with nothing in it."""
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        yield ledger
