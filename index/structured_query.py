"""The structured form of a query: what the parser yields, and what programs may send as JSON.

    {"conditions": [{"kind": "colour", "values": ["red"]}, {"kind": "category", "values": ["car"]}],
     "steps": [{"conditions": [{"kind": "change", "values": ["stops"]}]},
               {"conditions": [{"kind": "turn", "values": ["left"]}]}],
     "relations": [{"kind": "followed-by", "conditions": [{"kind": "category", "values": ["suv"]}]}],
     "time": {"start_s": 0, "end_s": 60}, "region": {"box": [0, 0.5, 0.5, 1]}}

What each kind means and how it is judged: docs/search.md. How strictly JSON is read: query_checks.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from tubelet.index.parsing.lexicon import MEASURED_COLOURS

Kind = Literal[
    "colour",
    "category",
    "size",
    "turn",
    "heading",
    "pace",
    "change",
    "range",
    "entry",
    "exit",
    "place_x",
    "place_y",
    "word",
]
RelationKind = Literal[
    "follows",
    "followed-by",
    "behind",
    "in-front-of",
    "next-to",
    "with",
    "passes",
    "passed-by",
    "overtakes",
    "overtaken-by",
    "crosses",
    "touches",
    "towards",
    "away-from",
    "left-of",
    "right-of",
    "above",
    "below",
    "after",
    "before",
]

INVERSE: Mapping[RelationKind, RelationKind] = {
    "follows": "followed-by",
    "followed-by": "follows",
    "behind": "in-front-of",
    "in-front-of": "behind",
    "next-to": "next-to",
    "with": "with",
    "passes": "passed-by",
    "passed-by": "passes",
    "overtakes": "overtaken-by",
    "overtaken-by": "overtakes",
    "crosses": "crosses",
    "touches": "touches",
    "left-of": "right-of",
    "right-of": "left-of",
    "above": "below",
    "below": "above",
    "after": "before",
    "before": "after",
}
"""The same relation, said from the other object's side; none for what only one of the two does."""

MOTION_KINDS: tuple[Kind, ...] = ("turn", "heading", "pace", "change", "range", "entry", "exit")
PLACE_KINDS: tuple[Kind, ...] = ("place_x", "place_y")

_SIDES = ("left", "right", "top", "bottom")
VALUES: Mapping[Kind, tuple[str, ...]] = {
    "colour": MEASURED_COLOURS,
    "size": ("tiny", "small", "medium", "large"),
    "turn": ("left", "right", "u", "none"),
    "heading": ("right", "up-right", "up", "up-left", "left", "down-left", "down", "down-right"),
    "pace": ("stopped", "moving", "fast", "slow"),
    "change": ("stops", "starts"),
    "range": ("approaching", "leaving"),
    "entry": _SIDES,
    "exit": _SIDES,
    "place_x": ("left", "centre", "right"),
    "place_y": ("top", "middle", "bottom"),
}
"""What may be asked of each kind; categories and words are free."""

MAX_CONDITIONS, MAX_STEPS, MAX_RELATIONS, MAX_VALUES = 64, 8, 4, 64
MAX_WORDS = 64
MAX_TEXT_CHARACTERS = 10_000
MAX_VALUE_CHARACTERS = 100
MAX_NAMES = 10_000
"""Most video ids, addresses or labels in one filter."""

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that was asked for: any of `values`, or none of them where `negated`.

    `phrase` is the part of the sentence that said so.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    kind: Kind
    values: tuple[str, ...]
    negated: bool = False
    phrase: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One of several things that an object does in turn, each in a moment of its own, in time order.

    `same_moment`: it may also happen in the moment of the step before it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    conditions: tuple[Condition, ...]
    same_moment: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """How many such objects there are at the same time; `most` None is no limit."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    least: int = 1
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """How the object stands to another one (`kind`), and what that one is like (`conditions`).

    Without conditions any other object will do. `count` is for several others ("following two cars").
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    kind: RelationKind
    conditions: tuple[Condition, ...] = ()
    negated: bool = False
    count: Count | None = None
    phrase: str = ""


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Seconds from the start of the video, `start_s <= t < end_s`; `end_s` None is its end.

    `last_s` instead asks for the last so many seconds of each video. `since` and `until` are dates, for
    videos whose time of recording is known; without an offset they are UTC.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    start_s: float = 0.0
    end_s: float | None = None
    last_s: float | None = None
    since: datetime | None = None
    until: datetime | None = None

    def intersect(self, other: TimeWindow) -> TimeWindow:
        """What both allow; empty windows stay empty (an end at or below its start)."""
        ends = [end for end in (self.end_s, other.end_s) if end is not None]
        lasts = [last for last in (self.last_s, other.last_s) if last is not None]
        sinces = [since for since in (self.since, other.since) if since is not None]
        untils = [until for until in (self.until, other.until) if until is not None]
        return TimeWindow(
            start_s=max(self.start_s, other.start_s),
            end_s=min(ends) if ends else None,
            last_s=min(lasts) if lasts else None,
            since=max(sinces) if sinces else None,
            until=min(untils) if untils else None,
        )


@dataclass(frozen=True, slots=True)
class Region:
    """A box drawn in the frame: x0, y0, x1, y1 as shares of its width and height, 0..1.

    `how` says what must lie in it: the `centre` of the object's mean box, some of its box at some time
    (`touches`), or all of its box all the time (`inside`).
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    box: tuple[float, float, float, float]
    how: Literal["centre", "touches", "inside"] = "centre"


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Exact limits on what may be found; an empty tuple or None is no limit.

    Moments must touch start_s <= t < end_s, last `min_duration_s`, and be of objects that the tracker is
    sure of to `min_track_score`. `labels` are categories as the index holds them, wider ones included
    ("vehicle" lets cars through). `colours` lets any of these measured names through.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    video_ids: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    object_ids: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    headings: tuple[str, ...] = ()
    stopped: bool | None = None
    start_s: float | None = None
    end_s: float | None = None
    min_duration_s: float | None = None
    min_speed: float | None = None
    max_speed: float | None = None
    min_track_score: float | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for.

    `text` is for the text model: the sentence without its times, so it is empty where only a time was given.
    `conditions` are judged on what was measured on one moment, `steps` on the moments of one object in order;
    `time`, `region` and `filters` are exact. `words` are the stems that no condition explains. `like` is an
    object that hits should look like; `object_vector` is the same as a vector, and `text_vector` stands for
    the text's own.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    text: str = ""
    conditions: tuple[Condition, ...] = ()
    steps: tuple[Step, ...] = ()
    relations: tuple[Relation, ...] = ()
    count: Count | None = None
    time: TimeWindow | None = None
    region: Region | None = None
    words: tuple[str, ...] = ()
    filters: SearchFilter = field(default_factory=SearchFilter)
    like: str = ""
    object_vector: tuple[float, ...] = ()
    text_vector: tuple[float, ...] = ()

    def list_conditions(self) -> Iterator[Condition]:
        """What is asked of the object itself, the steps' conditions after the others."""
        yield from self.conditions
        for step in self.steps:
            yield from step.conditions

    def find(self, kind: Kind, *, negated: bool = False) -> tuple[str, ...]:
        """The values that were asked for (or excluded) of one kind, in order."""
        found = (c.values for c in self.list_conditions() if c.kind == kind and c.negated == negated)
        return tuple(dict.fromkeys(value for values in found for value in values))

    @property
    def asks_nothing(self) -> bool:
        """Whether it has only exact limits, so that whatever passes them fits equally well."""
        asked = (self.text, self.words, self.conditions, self.steps, self.relations, self.count, self.like)
        return not any(asked) and not self.object_vector and not self.text_vector

    def to_json(self) -> dict[str, Any]:
        """The query as JSON values, without what is empty; `read_query` takes it back."""
        dumped = QUERY_ADAPTER.dump_python(self, mode="json", exclude_defaults=True)
        return {"text": self.text, "conditions": [], **dumped}


QUERY_ADAPTER: TypeAdapter[Query] = TypeAdapter(Query)
"""Reads and writes queries as JSON; `query_checks.read_query` also checks that they can be meant."""
