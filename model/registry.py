"""Names of trackers, captioners, embedders and recognisers, each with a factory that imports when called.

A factory is given the settings. Besides the registered names, `package.module:factory` names any factory
that can be imported, so that a choice travels between processes as a plain word.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar, cast

from tubelet.errors import DependencyError, SettingsError, UnknownNameError
from tubelet.model.describing.base import Captioner
from tubelet.model.embedding import TextEmbedder
from tubelet.model.recognising.base import Recogniser
from tubelet.model.tracking.base import Tracker
from tubelet.settings import Settings

T = TypeVar("T")
Factory = Callable[[Settings], T]


class Registry(Generic[T]):
    """Factories by name. `kind` is the word that error messages use."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._factories: dict[str, Factory[T]] = {}

    def register(self, name: str) -> Callable[[Factory[T]], Factory[T]]:
        """Decorator that files a factory under `name`; a later one replaces an earlier one."""

        def file(factory: Factory[T]) -> Factory[T]:
            self._factories[name] = factory
            return factory

        return file

    def names(self) -> Iterable[str]:
        return sorted(self._factories)

    def check(self, name: str) -> None:
        """Raise UnknownNameError for a name that cannot stand for anything; makes and imports nothing."""
        if name not in self._factories and ":" not in name:
            raise UnknownNameError(self.kind, name, self.names())

    def make(self, name: str, settings: Settings) -> T:
        """Build what `name` stands for. Raises UnknownNameError or DependencyError."""
        if name in self._factories:
            return self._factories[name](settings)
        self.check(name)
        module_name, _, factory_name = name.partition(":")
        try:
            factory = getattr(importlib.import_module(module_name), factory_name)
        except (ImportError, AttributeError) as error:
            raise DependencyError(
                f"The {self.kind} {name!r} cannot be imported: {error}",
                expected="package.module:factory of something installed",
                do="correct the name or install the package",
            ) from error
        return cast(T, factory(settings))


TRACKERS: Registry[Tracker] = Registry("tracker")
CAPTIONERS: Registry[Captioner] = Registry("captioner")
EMBEDDERS: Registry[TextEmbedder] = Registry("embedder")
RECOGNISERS: Registry[Recogniser] = Registry("recogniser")

NO_RECOGNISER = "none"
"""The name that turns recognising off; it stands for no factory."""


@TRACKERS.register("motion")
def _make_motion(settings: Settings) -> Tracker:
    from tubelet.model.tracking.motion import MotionTracker

    return MotionTracker()


@TRACKERS.register("sam2")
def _make_sam2(settings: Settings) -> Tracker:
    from tubelet.model.tracking.sam2.tracker import make_tracker

    checkpoint = _require(settings.tracker_checkpoint, "tracker")
    return make_tracker(checkpoint, device=settings.device, shrink=settings.shrink)


@CAPTIONERS.register("attributes")
def _make_attributes(settings: Settings) -> Captioner:
    from tubelet.model.describing.attributes import AttributesCaptioner

    return AttributesCaptioner()


@CAPTIONERS.register("pixelrefer-lite")
def _make_pixelrefer(settings: Settings) -> Captioner:
    from tubelet.model.pixelrefer.describer import load_describer

    return load_describer(_require(settings.captioner_checkpoint, "captioner"), device=settings.device)


@EMBEDDERS.register("minilm")
def _make_minilm(settings: Settings) -> TextEmbedder:
    from tubelet.model.embedding import MiniLmEmbedder

    return MiniLmEmbedder()


@RECOGNISERS.register("efficientnet-lite0")
def _make_efficientnet(settings: Settings) -> Recogniser:
    from tubelet.model.recognising.bundled import BundledRecogniser

    return BundledRecogniser()


def _require(checkpoint: str, kind: str) -> str:
    if not checkpoint:
        raise SettingsError(
            f"No checkpoint is set for the {kind}",
            expected=f"{kind}_weights: a folder, or the name of a published checkpoint",
            do=f"set TUBELET_{kind.upper()}_WEIGHTS, or choose a profile that names one",
        )
    return checkpoint
