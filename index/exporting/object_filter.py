"""Which objects an export holds: the same exact limits as a search's filter, on whole objects."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tubelet.categories import list_lineage
from tubelet.errors import QueryError
from tubelet.index.parsing.lexicon import CATEGORIES, COLOURS
from tubelet.records import IndexedObject, Moment

MEASURED_COLOURS = tuple(sorted({name for names in COLOURS.values() for name in names}))


@dataclass(frozen=True, slots=True)
class ObjectFilter:
    """Exact limits; an empty one lets everything through.

    Any of these videos, by id or by address; objects that are seen within start_s <= t < end_s; any of these
    categories (or a kind of one: a sedan is a car), labels (likewise, read from captions as well) and colours
    (a word such as navy stands for the names that are measured); a score of at least `min_score`.
    """

    video_ids: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    start_s: float | None = None
    end_s: float | None = None
    categories: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    min_score: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise QueryError(
                f"The least score is {self.min_score}", expected="0 to 1", do="choose one in that range"
            )
        start_s = self.start_s or 0.0
        if not (0 <= start_s < float("inf")) or (self.end_s is not None and not start_s < self.end_s):
            raise QueryError(
                f"The time window is from {self.start_s} to {self.end_s} s",
                expected="a start of 0 s or later, and an end after it",
                do="turn the two times round, or leave one out",
            )
        unknown = [colour for colour in self.colours if colour.lower() not in COLOURS]
        if unknown:
            raise QueryError(
                f"Unknown colour {unknown[0]!r}",
                expected=f"one of: {', '.join(MEASURED_COLOURS)}",
                do="choose a measured colour",
            )

    def narrow(self, video_ids: tuple[str, ...]) -> ObjectFilter:
        """The same limits on some videos; on all of them when none is named."""
        return replace(self, video_ids=video_ids)

    def holds_video(self, video_id: str, uri: str) -> bool:
        """Whether objects of a video are wanted."""
        if not self.video_ids and not self.uris:
            return True
        return video_id in self.video_ids or uri in self.uris

    def cut(
        self, item: IndexedObject, moments: Sequence[Moment], labels: Collection[str]
    ) -> tuple[IndexedObject, list[Moment]] | None:
        """The object with what lies in the time window, or None when it is not wanted.

        Its path is cut to the window and moments that touch the window are kept, whole. `labels` are those
        of its moments.
        """
        if item.score < self.min_score or not self._fits(item, labels):
            return None
        if self.start_s is None and self.end_s is None:
            return item, list(moments)
        start_s, end_s = self.start_s or 0.0, float("inf") if self.end_s is None else self.end_s
        path = tuple(point for point in item.path if start_s <= point.t < end_s)
        if not path:
            return None
        touching = [moment for moment in moments if moment.end_s >= start_s and moment.start_s < end_s]
        return replace(item, path=path), touching

    def _fits(self, item: IndexedObject, labels: Collection[str]) -> bool:
        if self.colours:
            wanted = {name for colour in self.colours for name in COLOURS[colour.lower()]}
            if wanted.isdisjoint(item.attributes.colours):
                return False
        if self.categories and not is_any_of([item.attributes.category], self.categories):
            return False
        return not self.labels or is_any_of([item.attributes.category, *labels], self.labels)


def is_any_of(names: Collection[str], wanted: Collection[str]) -> bool:
    """Whether one of the names is one of the wanted kinds, or a kind of it."""
    kinds = {_settle(kind) for kind in wanted}
    return any(not kinds.isdisjoint(list_lineage(_settle(name))) for name in names if name)


def _settle(name: str) -> str:
    lower = name.lower()
    return CATEGORIES.get(lower, lower)
