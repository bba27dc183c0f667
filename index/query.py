"""A sentence to a structured query: what, how it moves, where, when, beside what. Rules: docs/search.md.

Any text parses. What no rule recognises is still searched for, by its words and its meaning. The same
parser reads captions, to find out which category a caption names.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime
from functools import cache

from tubelet.errors import QueryError
from tubelet.index.parsing.clauses import read_clauses, split_words
from tubelet.index.parsing.dates import cut_dates
from tubelet.index.parsing.lexicon import CATEGORIES, FILLERS
from tubelet.index.parsing.pieces import take_pieces
from tubelet.index.parsing.rules import RULES
from tubelet.index.parsing.settling import settle_conditions, settle_relations
from tubelet.index.parsing.times import cut_times
from tubelet.index.structured_query import MAX_TEXT_CHARACTERS, MAX_WORDS, Condition, Query, TimeWindow
from tubelet.index.words import tokenize
from tubelet.records import Attributes

ParsedQuery = Query
"""What a sentence becomes is the structured query itself."""


def parse_query(sentence: str, *, today: date | None = None) -> Query:
    """Understand a sentence as far as possible; `today` (UTC's by default) is for "yesterday" and the like.

    Raises QueryError only when there is nothing in it, or more than MAX_TEXT_CHARACTERS characters.
    """
    text = " ".join(unicodedata.normalize("NFKC", sentence).split())
    if not text:
        raise QueryError(
            "The search sentence is empty",
            expected='a few words, such as "red car turning left"',
            do="say what to look for",
        )
    if len(text) > MAX_TEXT_CHARACTERS:
        raise QueryError(
            f"The search sentence has {len(text)} characters",
            expected=f"at most {MAX_TEXT_CHARACTERS}",
            do="say it more briefly",
        )
    plain, time = _cut_times(text, today or datetime.now(UTC).date())
    simple = _simplify(plain)
    pieces, rest = take_pieces(simple, RULES)
    reading = read_clauses(pieces, simple)
    conditions, steps = settle_conditions(reading)
    wanted, excluded = (_list_stems(words) for words in split_words(pieces, rest))
    without = [Condition("word", (stem,), negated=True, phrase=stem) for stem in excluded]
    return Query(
        text=text if time is None else _tidy(plain),
        conditions=(*conditions, *without),
        steps=steps,
        relations=settle_relations(reading.others, conditions, simple),
        count=reading.count,
        time=time,
        words=wanted,
    )


def choose_label(caption: str, attributes: Attributes) -> str:
    """The category that was measured, or else the one that the caption is about; empty when neither is known.

    Known words become the lexicon's category ("automobile" is a car); others stay as they are.
    """
    if attributes.category:
        category = attributes.category.lower()
        return CATEGORIES.get(category, category)
    if not caption.strip():
        return ""
    return next(iter(parse_query(caption[:MAX_TEXT_CHARACTERS]).find("category")), "")


@cache
def _list_filler_stems() -> frozenset[str]:
    return frozenset(token for word in FILLERS for token in (word, *tokenize(word)))


def _cut_times(text: str, today: date) -> tuple[str, TimeWindow | None]:
    text, dates = cut_dates(text, today)
    text, times = cut_times(text)
    if dates is None or times is None:
        return text, dates or times
    return text, times.intersect(dates)


def _tidy(text: str) -> str:
    """The sentence as written, without its times; empty when no word of weight is left."""
    rest = re.sub(r"\s*([,;.])[\s,;.]*", r"\1 ", text)
    rest = " ".join(rest.split()).strip(" ,;.")
    return rest if tokenize(rest) else ""


def _simplify(text: str) -> str:
    """Lower case, plain quotes, spaces for hyphens inside words, and no other signs than , . ; : ' and -."""
    lower = text.casefold().replace("’", "'")  # noqa: RUF001
    joined = re.sub(r"(?<=[a-z])[-_/](?=[a-z])", " ", lower)
    return " ".join(re.sub(r"[^\w\s,.;:'-]", " ", joined).split())


def _list_stems(words: str) -> tuple[str, ...]:
    fillers = _list_filler_stems()
    return tuple(dict.fromkeys(token for token in tokenize(words) if token not in fillers))[:MAX_WORDS]
