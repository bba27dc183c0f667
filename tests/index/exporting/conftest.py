"""The small index of these tests, made once: exports only read."""

from __future__ import annotations

import pytest

from tests.index.exporting.library import fill
from tubelet.index.exporting.timelines import Timelines
from tubelet.index.store import IndexStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> IndexStore:
    return fill(tmp_path_factory.mktemp("index"))


@pytest.fixture
def timelines(store: IndexStore) -> Timelines:
    return Timelines(store)
