"""Tubelet: object-level search for video archives.

`tubelet.index(...)` makes videos searchable, `tubelet.search(...)` finds objects in them. Both take the
settings of the command line: see `tubelet.load_settings`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

import tubelet.index as _index_package
from tubelet.errors import (
    DecodeTimeoutError,
    DependencyError,
    InputError,
    ModelError,
    QueryError,
    SettingsError,
    SourceError,
    SourceMissingError,
    StoreError,
    TubeletError,
    UnknownNameError,
    VideoFormatError,
    VideoTruncatedError,
)
from tubelet.records import (
    Attributes,
    Box,
    Hit,
    IndexReport,
    Motion,
    SearchResult,
    VideoReport,
)
from tubelet.settings import Settings, load_settings

if TYPE_CHECKING:
    from tubelet.orchestration.pipeline import Observer

__version__ = version("tubelet")

__all__ = [
    "Attributes",
    "Box",
    "DecodeTimeoutError",
    "DependencyError",
    "Hit",
    "IndexReport",
    "InputError",
    "ModelError",
    "Motion",
    "QueryError",
    "SearchResult",
    "Settings",
    "SettingsError",
    "SourceError",
    "SourceMissingError",
    "StoreError",
    "TubeletError",
    "UnknownNameError",
    "VideoFormatError",
    "VideoReport",
    "VideoTruncatedError",
    "index",
    "load_settings",
    "search",
]


def search(
    sentence: str, *, limit: int = 10, min_score: float = 0.0, settings: Settings | None = None
) -> SearchResult:
    """Find objects by a sentence, one hit an object, best first.

    Raises QueryError for an empty sentence and StoreError where nothing was indexed yet.
    """
    from tubelet.orchestration.searching import search_index

    return search_index(sentence, settings=settings or load_settings(), limit=limit, min_score=min_score)


def _index(
    sources: str | Sequence[str],
    *,
    settings: Settings | None = None,
    observer: Observer | None = None,
) -> IndexReport:
    """Index every video that `sources` name: files, folders, globs, `s3://` objects and prefixes.

    Never raises for a bad video: the report says what became of each. Raises InputError when nothing was
    asked for and StoreError when the home folder is in use by another run.
    """
    from tubelet.orchestration.pipeline import index_sources

    addresses = [sources] if isinstance(sources, str) else list(sources)
    return index_sources(addresses, settings=settings or load_settings(), observer=observer)


class _CallablePackage(ModuleType):
    """Lets `tubelet.index` be both the folder of the index and the function `tubelet.index(...)`.

    The folder's name is given and so is the function's; importing `tubelet.index.store` would replace a plain
    function of that name by the package, so the package itself answers the call.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> IndexReport:
        return _index(*args, **kwargs)


if TYPE_CHECKING:
    index = _index
else:
    sys.modules[_index_package.__name__].__class__ = _CallablePackage
    index = _index_package
