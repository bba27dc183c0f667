"""A sentence to a search: what, how it moves, where in the frame, when. Rules and words: docs/search.md.

Any text parses. What no rule recognises is still searched for, by its words and its meaning. The same
parser reads captions, to find out which category a caption names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tubelet.errors import QueryError
from tubelet.index.parsing.lexicon import CATEGORIES, FILLERS, list_wider
from tubelet.index.parsing.phrases import Kind, Phrase, find_phrases
from tubelet.index.parsing.times import TimeWindow, cut_times
from tubelet.index.words import tokenize
from tubelet.records import Attributes

MOTION_KINDS: tuple[Kind, ...] = ("turn", "heading", "pace", "range", "entry", "exit")
MAX_WORDS = 64
"""More words than this of one sentence are not looked up."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that was asked for: any of `values`, or none of them where `negated`.

    `phrase` is the part of the sentence that said so.
    """

    kind: Kind
    values: tuple[str, ...]
    negated: bool = False
    phrase: str = ""


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """What was understood of a sentence.

    `text` is for the text model: the sentence without its times, so it is empty where only a time was given.
    `conditions` are judged on what was measured; `time` is an exact filter. `words` are the stems that no
    condition explains.
    """

    text: str
    conditions: tuple[Condition, ...] = ()
    time: TimeWindow | None = None
    words: tuple[str, ...] = ()

    def find(self, kind: Kind, *, negated: bool = False) -> tuple[str, ...]:
        """The values that were asked for (or excluded) of one kind, in order."""
        found = (c.values for c in self.conditions if c.kind == kind and c.negated == negated)
        return tuple(dict.fromkeys(value for values in found for value in values))

    def to_json(self) -> dict[str, Any]:
        """The query as JSON values, grouped by what it asks; `without` holds what it excludes."""
        wanted = _group(self, negated=False)
        time = self.time
        return {
            "text": self.text,
            **wanted,
            "time": None if time is None else time.to_json(),
            "without": {name: value for name, value in _group(self, negated=True).items() if value},
            "words": list(self.words),
        }


def parse_query(sentence: str) -> ParsedQuery:
    """Understand a sentence as far as possible. Raises QueryError only when there is nothing in it."""
    text = " ".join(unicodedata.normalize("NFKC", sentence).split())
    if not text:
        raise QueryError(
            "The search sentence is empty",
            expected='a few words, such as "red car turning left"',
            do="say what to look for",
        )
    plain, time = cut_times(_simplify(text))
    phrases, rest = find_phrases(plain)
    conditions = _settle(phrases)
    words = dict.fromkeys(token for token in tokenize(rest) if token not in _FILLER_STEMS)
    return ParsedQuery(
        text=text if time is None else _cut_times_from(text),
        conditions=conditions,
        time=time,
        words=tuple(words)[:MAX_WORDS],
    )


def _cut_times_from(text: str) -> str:
    """The sentence as written, without its times; empty when no word of weight is left."""
    rest = re.sub(r"\s*([,;.])[\s,;.]*", r"\1 ", cut_times(text)[0])
    rest = " ".join(rest.split()).strip(" ,;.")
    return rest if tokenize(rest) else ""


def choose_label(caption: str, attributes: Attributes) -> str:
    """The category that was measured, or else the one that the caption is about; empty when neither is known.

    Known words become the lexicon's category ("automobile" is a car); others stay as they are.
    """
    if attributes.category:
        category = attributes.category.lower()
        return CATEGORIES.get(category, category)
    if not caption.strip():
        return ""
    return next(iter(parse_query(caption).find("category")), "")


_FILLER_STEMS = frozenset(token for word in FILLERS for token in (word, *tokenize(word)))


def _simplify(text: str) -> str:
    """Lower case, plain quotes, spaces for hyphens inside words, and no other signs than , . ; : ' and -."""
    lower = text.casefold().replace("’", "'")  # noqa: RUF001
    joined = re.sub(r"(?<=[a-z])[-_/](?=[a-z])", " ", lower)
    return " ".join(re.sub(r"[^\w\s,.;:'-]", " ", joined).split())


def _settle(phrases: Sequence[Phrase]) -> tuple[Condition, ...]:
    """Phrases to conditions: one for each kind, but one for each colour that must be there."""
    conditions: list[Condition] = []
    for phrase in phrases:
        for kind, values in phrase.asks:
            _add(conditions, Condition(kind, values, phrase.negated, phrase.text), phrase.joined)
    return tuple(_drop_implied(conditions))


def _add(conditions: list[Condition], new: Condition, joined: bool) -> None:
    """Put a condition in: beside the others, or as a further choice in the last one of its kind."""
    same = [i for i, old in enumerate(conditions) if (old.kind, old.negated) == (new.kind, new.negated)]
    if not same or (new.kind == "colour" and not joined and not new.negated):
        if new.values not in [conditions[i].values for i in same]:
            conditions.append(new)
        return
    old = conditions[same[-1]]
    values = tuple(dict.fromkeys((*old.values, *new.values)))
    if not old.negated and new.kind in ("turn", "pace"):
        values = _keep_narrower(old.values, new.values) or values
    if new.kind == "category" and not joined:  # "SUV car", "Volvo wagon": the exact one counts
        wider = {name for value in values for name in list_wider(value)}
        values = tuple(value for value in values if value not in wider)
    phrase = old.phrase if new.phrase in old.phrase else f"{old.phrase}, {new.phrase}"
    conditions[same[-1]] = Condition(old.kind, values, old.negated, phrase)


def _keep_narrower(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Of "turning" and "turns left", or "moving" and "fast", the one that says more; else nothing."""
    if set(first) >= set(second) or first == ("moving",):
        return second
    return first if set(first) <= set(second) or second == ("moving",) else ()


def _drop_implied(conditions: Iterable[Condition]) -> list[Condition]:
    """Leave out "moving" where something more exact about the motion is asked."""
    kept = list(conditions)
    exact = any(c.kind in MOTION_KINDS and c.values != ("moving",) and not c.negated for c in kept)
    return [c for c in kept if not (exact and c.kind == "pace" and c.values == ("moving",) and not c.negated)]


def _group(query: ParsedQuery, *, negated: bool) -> dict[str, Any]:
    motion: Mapping[str, list[str]] = {
        kind: list(values) for kind in MOTION_KINDS if (values := query.find(kind, negated=negated))
    }
    return {
        "colours": list(query.find("colour", negated=negated)),
        "categories": list(query.find("category", negated=negated)),
        "sizes": list(query.find("size", negated=negated)),
        "motion": motion,
        "place": [*query.find("place_x", negated=negated), *query.find("place_y", negated=negated)],
    }
