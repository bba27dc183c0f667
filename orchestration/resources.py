"""What a process keeps open for its settings: models, each made once, and the index.

Models load their weights when they are first used, so making one is cheap.
"""

from __future__ import annotations

from functools import lru_cache

from tubelet.index.store import IndexStore
from tubelet.model.describing.base import Captioner
from tubelet.model.embedding import TextEmbedder
from tubelet.model.registry import CAPTIONERS, EMBEDDERS, TRACKERS
from tubelet.model.tracking.base import Tracker
from tubelet.settings import Settings


def open_index(settings: Settings, *, create: bool = False) -> IndexStore:
    """The index of these settings; `create` makes it for vectors of the sizes that the models give."""
    location, options = settings.index_location, s3_storage_options(settings)
    if not create:
        return IndexStore.open(location, storage_options=options)
    return IndexStore.open(
        location,
        create=True,
        text_dimensions=make_embedder(settings.embedder_name).num_dimensions,
        object_dimensions=make_captioner(settings.captioner_name).object_dimensions,
        storage_options=options,
    )


def s3_storage_options(settings: Settings) -> dict[str, str] | None:
    """What LanceDB must know of S3 beyond the environment, or None for a local folder."""
    if not settings.index_location.startswith("s3://"):
        return None
    options = {"aws_endpoint": settings.s3_endpoint_url, "aws_region": settings.s3_region}
    if settings.s3_endpoint_url.startswith("http://"):
        options["allow_http"] = "true"
    return {name: value for name, value in options.items() if value}


@lru_cache(maxsize=1)
def make_tracker(name: str) -> Tracker:
    return TRACKERS.make(name)


@lru_cache(maxsize=1)
def make_captioner(name: str) -> Captioner:
    return CAPTIONERS.make(name)


@lru_cache(maxsize=1)
def make_embedder(name: str) -> TextEmbedder:
    return EMBEDDERS.make(name)
