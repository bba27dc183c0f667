"""An empty index without object vectors, and searching it in both ways that a search may take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.index.factories import TEXT_DIMENSIONS, Find
from tubelet.index.query import parse_query
from tubelet.index.search import search_moments
from tubelet.index.store import IndexStore
from tubelet.records import Hit


@pytest.fixture
def store(tmp_path: Path) -> IndexStore:
    return IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)


@pytest.fixture(params=["exact", "by candidates"])
def find(request: pytest.FixtureRequest, store: IndexStore) -> Find:
    def search(sentence: str, **options: Any) -> list[Hit]:
        options.setdefault("exact_max_rows", 50_000 if request.param == "exact" else 0)
        return search_moments(store, parse_query(sentence), None, **options)

    return search
