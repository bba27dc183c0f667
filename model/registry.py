"""Names of trackers, captioners and embedders, each with a factory that imports only when it is called.

Besides the registered names, `package.module:factory` names any factory that can be imported, so that a
choice travels between processes as a plain word.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar, cast

from tubelet.errors import DependencyError, UnknownNameError
from tubelet.model.describing.base import Captioner
from tubelet.model.embedding import TextEmbedder
from tubelet.model.tracking.base import Tracker

T = TypeVar("T")


class Registry(Generic[T]):
    """Factories by name. `kind` is the word that error messages use."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._factories: dict[str, Callable[[], T]] = {}

    def register(self, name: str) -> Callable[[Callable[[], T]], Callable[[], T]]:
        """Decorator that files a factory under `name`; a later one replaces an earlier one."""

        def file(factory: Callable[[], T]) -> Callable[[], T]:
            self._factories[name] = factory
            return factory

        return file

    def names(self) -> Iterable[str]:
        return sorted(self._factories)

    def make(self, name: str) -> T:
        """Build what `name` stands for. Raises UnknownNameError or DependencyError."""
        if name in self._factories:
            return self._factories[name]()
        module_name, separator, factory_name = name.partition(":")
        if not separator:
            raise UnknownNameError(self.kind, name, self.names())
        try:
            factory = getattr(importlib.import_module(module_name), factory_name)
        except (ImportError, AttributeError) as error:
            raise DependencyError(
                f"The {self.kind} {name!r} cannot be imported: {error}",
                expected="package.module:factory of something installed",
                do="correct the name or install the package",
            ) from error
        return cast(T, factory())


TRACKERS: Registry[Tracker] = Registry("tracker")
CAPTIONERS: Registry[Captioner] = Registry("captioner")
EMBEDDERS: Registry[TextEmbedder] = Registry("embedder")


@TRACKERS.register("motion")
def _make_motion() -> Tracker:
    from tubelet.model.tracking.motion import MotionTracker

    return MotionTracker()


@CAPTIONERS.register("attributes")
def _make_attributes() -> Captioner:
    from tubelet.model.describing.attributes import AttributesCaptioner

    return AttributesCaptioner()


@EMBEDDERS.register("minilm")
def _make_minilm() -> TextEmbedder:
    from tubelet.model.embedding import MiniLmEmbedder

    return MiniLmEmbedder()
