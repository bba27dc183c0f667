"""What the matches of the parser's patterns mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tubelet.index.parsing.lexicon import BACKWARD_RELATIONS, COLOURS, NUMBERS, RELATIONS
from tubelet.index.parsing.pieces import Asks, Meaning
from tubelet.index.structured_query import Count, Kind

Read = Callable[[re.Match[str]], Meaning]

_SIDE_NAMES = {"upper": "top", "lower": "bottom"}
_HEADINGS = {"top": "up", "bottom": "down", "upper": "up", "lower": "down"}


def nothing(_: re.Match[str]) -> Meaning:
    """The part asks for nothing by itself."""
    return Meaning()


def ask(kind: Kind, *values: str) -> Read:
    """Always the same condition."""
    return lambda _: Meaning(((kind, values),))


def look_up(kind: Kind, table: Mapping[str, str]) -> Read:
    """The condition that a table gives for the words."""
    return lambda match: Meaning(((kind, (table[_words(match[0])],)),))


def read_side(kind: Kind) -> Read:
    """The side of the frame that is named."""

    def read(match: re.Match[str]) -> Meaning:
        return Meaning(((kind, (_SIDE_NAMES.get(match["side"], match["side"]),)),))

    return read


def read_turn(match: re.Match[str]) -> Meaning:
    """One turn, or either of two ("left or right")."""
    second = match.groupdict().get("second")
    sides = (match["side"], second) if second and second != match["side"] else (match["side"],)
    return Meaning((("turn", sides),))


def read_heading(match: re.Match[str]) -> Meaning:
    """A direction on the screen, of one word or two ("up and to the left")."""
    parts = [match["side"], *([match["second"]] if match.groupdict().get("second") else [])]
    names = [re.sub(r"wards?$", "", part) for part in parts]
    names = [_HEADINGS.get(name, name) for name in names]
    vertical = [name for name in names if name in ("up", "down")]
    horizontal = [name for name in names if name in ("left", "right")]
    return Meaning((("heading", ("-".join([*vertical[:1], *horizontal[:1]]),)),))


def read_crossing(match: re.Match[str]) -> Meaning:
    """The direction of "from the left to the right" or "left to right"."""
    to = match["to"] or match["t"]
    return Meaning((("heading", (_HEADINGS.get(to, to),)),))


def read_place(match: re.Match[str]) -> Meaning:
    """Thirds of the frame: "top left", "in the middle", "on the right"."""
    words = set(match[0].split())
    asks: list[tuple[Kind, tuple[str, ...]]] = []
    if words & {"left", "right"}:
        asks.append(("place_x", ("left" if "left" in words else "right",)))
    if words & {"top", "upper", "bottom", "lower"}:
        asks.append(("place_y", ("top" if words & {"top", "upper"} else "bottom",)))
    if words & {"middle", "centre", "center"}:
        middle: Asks = (("place_x", ("centre",)), ("place_y", ("middle",)))
        asks += [ask for ask in middle if ask[0] not in [kind for kind, _ in asks]]
    return Meaning(tuple(asks))


def read_colour(match: re.Match[str]) -> Meaning:
    """A colour with its shade; the plain colour where the table has no entry for the shade."""
    shaded = _words(match[0])
    return Meaning((("colour", COLOURS.get(shaded) or COLOURS[_words(match["colour"])]),))


def read_relation(match: re.Match[str]) -> Meaning:
    """How the object stands to the one that follows."""
    return Meaning(relation=RELATIONS[_words(match[0])])


def read_backward(match: re.Match[str]) -> Meaning:
    """How the other object stands to this one."""
    words = _words(match["word"])
    return Meaning(relation=BACKWARD_RELATIONS.get(words) or RELATIONS[words])


def fix_relation(kind: str) -> Read:
    """Always the same relation."""
    return lambda _: Meaning(relation=kind)


def read_count(match: re.Match[str]) -> Meaning:
    """How many: "two", "at least three", "several"."""
    words = _words(match["number"])
    low, high = NUMBERS[words] if words in NUMBERS else (int(words), int(words))
    limit = match["limit"] or ""
    if limit in ("at least", "no fewer than", "a minimum of"):
        count = Count(max(1, low), None)
    elif limit in ("more than", "over"):
        count = Count(low + 1, None)
    elif limit in ("at most", "up to", "no more than"):
        count = Count(1, max(1, high or low))
    elif limit in ("fewer than", "less than"):
        count = Count(1, max(1, (high or low) - 1))
    else:
        count = Count(max(1, low), high if high is None else max(1, high))
    return Meaning(count=count)


def _words(text: str) -> str:
    return " ".join(text.split())
