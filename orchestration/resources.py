"""What a process keeps open for its settings: models, each made once, and the index."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, Protocol, TypeVar, runtime_checkable

from tubelet.index.store import IndexStore
from tubelet.model.describing.base import Captioner
from tubelet.model.embedding import TextEmbedder
from tubelet.model.recognising.base import Recogniser
from tubelet.model.registry import CAPTIONERS, EMBEDDERS, NO_RECOGNISER, RECOGNISERS, TRACKERS
from tubelet.model.tracking.base import Tracker
from tubelet.settings import Settings
from tubelet.workers.s3 import S3Options

T = TypeVar("T")


def open_index(settings: Settings, *, create: bool = False) -> IndexStore:
    """The index of these settings; `create` makes it for vectors of the sizes that the models give."""
    location, options = settings.index_location, s3_storage_options(settings)
    if not create:
        return IndexStore.open(location, storage_options=options)
    return IndexStore.open(
        location,
        create=True,
        text_dimensions=make_embedder(settings).num_dimensions,
        object_dimensions=_count_object_dimensions(settings),
        storage_options=options,
    )


def make_s3_options(settings: Settings) -> S3Options:
    """Where sources on S3 are."""
    return S3Options(endpoint_url=settings.s3_endpoint_url or None, region=settings.s3_region or None)


def s3_storage_options(settings: Settings) -> dict[str, str] | None:
    """What LanceDB must know of S3 beyond the environment, or None for a local folder."""
    if not settings.index_location.startswith("s3://"):
        return None
    options = {"aws_endpoint": settings.s3_endpoint_url, "aws_region": settings.s3_region}
    if settings.s3_endpoint_url.startswith("http://"):
        options["allow_http"] = "true"
    return {name: value for name, value in options.items() if value}


class _Last(Generic[T]):
    """Keeps the model that was made last, as long as the same one is asked for."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._key: tuple[str, ...] | None = None
        self._model: T | None = None

    def get(self, key: tuple[str, ...], make: Callable[[], T]) -> T:
        with self._lock:
            if self._model is None or self._key != key:
                self._model = None  # make room first: a network may be large
                self._model, self._key = make(), key
            return self._model


_TRACKER: _Last[Tracker] = _Last()
_CAPTIONER: _Last[Captioner] = _Last()
_EMBEDDER: _Last[TextEmbedder] = _Last()
_RECOGNISER: _Last[Recogniser] = _Last()


def make_tracker(settings: Settings) -> Tracker:
    """The tracker of these settings."""
    key = (settings.tracker_name, settings.tracker_checkpoint, settings.device, str(settings.shrink))
    return _TRACKER.get(key, lambda: TRACKERS.make(settings.tracker_name, settings))


def make_captioner(settings: Settings) -> Captioner:
    """The captioner of these settings, or the served one that stands for it."""
    key = (settings.captioner_name, settings.captioner_checkpoint, settings.device, str(settings.shrink))
    if settings.captioner_app:
        from tubelet.orchestration.served_captioner import ServedCaptioner

        app = (*key, settings.captioner_app, settings.ray_address)
        return _CAPTIONER.get(app, lambda: ServedCaptioner(settings))
    return _CAPTIONER.get(key, lambda: CAPTIONERS.make(settings.captioner_name, settings))


def make_embedder(settings: Settings) -> TextEmbedder:
    """The text embedder of these settings."""
    key = (settings.embedder_name, settings.device)
    return _EMBEDDER.get(key, lambda: EMBEDDERS.make(settings.embedder_name, settings))


def make_recogniser(settings: Settings) -> Recogniser | None:
    """The recogniser of these settings; None where they turn it off."""
    name = settings.recogniser_name
    if name == NO_RECOGNISER:
        return None
    return _RECOGNISER.get((name, settings.device), lambda: RECOGNISERS.make(name, settings))


@runtime_checkable
class LoadsLate(Protocol):
    """A model that reads its weights at the first use, or when it is told to."""

    def load(self) -> None:
        """Read them now, unless they are there. Raises ModelError or DependencyError."""


def load_models(settings: Settings) -> None:
    """Make the models of these settings and read their weights, in the order in which indexing needs them.

    Whoever asks for one meanwhile waits for that one only. Raises as making them does.
    """
    make_tracker(settings)
    for model in (make_recogniser(settings), make_captioner(settings), make_embedder(settings)):
        if isinstance(model, LoadsLate):
            model.load()


def _count_object_dimensions(settings: Settings) -> int:
    """Length of the object vectors: the recogniser's where there is one, else the captioner's."""
    recogniser = make_recogniser(settings)
    if recogniser is not None:
        return recogniser.num_dimensions
    return make_captioner(settings).object_dimensions
