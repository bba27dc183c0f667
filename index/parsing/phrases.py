"""Phrases in a sentence and what each asks for: colours, categories, motion, place, and what belongs to whom.

Patterns are tried from the most to the least particular, and each takes its part of the sentence away from
those that follow: so "turn left", "to the left", "on the left" and "the left lane" stay apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tubelet.index.parsing.lexicon import CATEGORIES, COLOURS, RELATIONS, SCENERY, SHADES, SIZES

Kind = Literal[
    "colour", "category", "size", "turn", "heading", "pace", "range", "entry", "exit", "place_x", "place_y"
]
Asks = tuple[tuple[Kind, tuple[str, ...]], ...]
Role = Literal["ask", "scenery", "relation", "further", "negation", "break", "or"]

SIDES = ("left", "right", "top", "bottom")
TURNS = ("left", "right", "u")
NEGATION_REACH_WORDS = 4

_OBJECT_KINDS = ("colour", "category", "size")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A part of the sentence that asks for something. `joined`: by "or" to the one before."""

    text: str
    asks: Asks
    negated: bool = False
    joined: bool = False


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the sentence that some pattern took."""

    start: int
    end: int
    role: Role
    text: str
    asks: Asks = ()

    @property
    def is_object(self) -> bool:
        return any(kind in _OBJECT_KINDS for kind, _ in self.asks)

    @property
    def is_category(self) -> bool:
        return any(kind == "category" for kind, _ in self.asks)

    @property
    def is_participle(self) -> bool:
        return re.match(r"\w+(?:ing|ed)\b", self.text) is not None


def find_phrases(text: str) -> tuple[list[Phrase], str]:
    """What a simplified sentence asks of the object it is about, and the words that nothing took.

    What belongs to another object ("followed by a black car") is taken, and asks for nothing.
    """
    pieces, rest = _take_pieces(text)
    phrases = []
    for position, joined in _choose_own(pieces):
        piece = pieces[position]
        negated = _is_negated(position, pieces, text)
        phrases.append(Phrase(piece.text, piece.asks, negated, joined))
    return phrases, _drop_negated_words(pieces, rest)


def _take_pieces(text: str) -> tuple[list[_Piece], str]:
    pieces: list[_Piece] = []
    for pattern, role, read in _RULES:

        def take(match: re.Match[str], role: Role = role, read: _Read = read) -> str:
            pieces.append(_Piece(match.start(), match.end(), role, match[0].strip(), read(match)))
            return "\0" * len(match[0])

        text = pattern.sub(take, text)
    pieces.sort(key=lambda piece: piece.start)
    return pieces, text.replace("\0", " ")


def _choose_own(pieces: list[_Piece]) -> Iterable[tuple[int, bool]]:
    """Positions of the pieces that ask something of the object itself, and whether "or" came before each."""
    in_relation = seen_other = after_break = joined = skipped_motion = has_subject = False
    for position, piece in enumerate(pieces):
        if piece.role == "relation" or (piece.role == "further" and has_subject):
            in_relation, seen_other, after_break, skipped_motion = True, False, False, False
        elif piece.role == "break":
            after_break = True
        elif piece.role == "or":
            joined = True
            continue
        elif piece.role == "ask":
            if in_relation and piece.is_object:
                seen_other = seen_other or piece.is_category
                after_break = False
            elif (
                in_relation
                and not after_break
                and _is_of_other(
                    piece, pieces[position + 1 :], seen_other=seen_other, after_skipped=skipped_motion
                )
            ):
                skipped_motion = True
            else:
                in_relation = False
                has_subject = has_subject or piece.is_category
                yield position, joined
        joined = False


def _is_of_other(piece: _Piece, following: list[_Piece], *, seen_other: bool, after_skipped: bool) -> bool:
    """Whether a motion or place is the other object's: "passing a parked car", "behind a van turning"."""
    if seen_other:
        return piece.is_participle or after_skipped
    upcoming = [later for later in following if later.role != "negation"]
    return piece.is_participle and bool(upcoming) and upcoming[0].is_object


def _is_negated(position: int, pieces: list[_Piece], text: str) -> bool:
    """Whether "not", "without" or the like stands shortly before, with nothing but "or" between."""
    edge = pieces[position].start
    position -= 1
    while position >= 0:
        before = pieces[position]
        if len(text[before.end : edge].split()) > NEGATION_REACH_WORDS:
            return False
        if before.role == "negation":
            return True
        if before.role == "or" and position > 0 and pieces[position - 1].role == "ask":
            position -= 2  # "not red or blue": go on before "red"
            edge = pieces[position + 1].start
            continue
        return False
    return False


def _drop_negated_words(pieces: list[_Piece], rest: str) -> str:
    """Without the words right after a negation: "without a helmet" does not look for helmets."""
    for position, piece in enumerate(pieces):
        if piece.role == "negation":
            end = pieces[position + 1].start if position + 1 < len(pieces) else len(rest)
            words = list(re.finditer(r"\S+", rest[piece.end : end]))[:NEGATION_REACH_WORDS]
            if words:
                stop = piece.end + words[-1].end()
                rest = rest[: piece.end] + " " * (stop - piece.end) + rest[stop:]
    return rest


_Read = Callable[[re.Match[str]], Asks]


def _any_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word).replace(r"\ ", r"\s") for word in sorted(words, key=len, reverse=True))


_SHADE = rf"(?:(?:{_any_of(SHADES)})\s){{0,2}}"
_COLOUR = rf"(?:{_any_of(COLOURS)})"
_MOVE = (
    r"(?:mov|driv|rid|cruis|rac|com)(?:es?|ed|ing)|(?:goes|go|going|went|drove|rode|ran|flew|came)|"
    r"(?:run)(?:s|ning)?|(?:walk|travel|head|roll|jog|crawl|sail|float|proceed|drift|pass|cross|speed|turn)"
    r"(?:s|es|ed|ing|led|ling)?|(?:fly|flies|flying|cycles|cycling|slides|sliding|swims|swimming)"
)
_FRAME = r"(?:frame|screen|picture|image|view|scene|video|shot)"
_NOT_OF_THING = rf"(?!\s(?:hand\s)?(?:side\s)?of\b(?!\s(?:the\s)?{_FRAME}))"
_ADVERB = (
    r"(?:(?:slowly|quickly|slightly|sharply|fast|then|over|back|straight|diagonally|away|off|\w+ly)\s){0,2}"
)
_HAND = r"(?:\shand)?"
_SIDE = r"(?P<side>left|right|top|bottom|upper|lower)"
_EDGE = rf"{_HAND}(?:\s(?:side|edge|border|end))?(?:\sof\s(?:the\s)?{_FRAME})?"
_GAP = r"(?:(?:to|on|onto|the|its|their|his|her|a|an|towards?|then|over|hard|\w+ly)\s){0,3}"

_SIDE_NAMES = {"upper": "top", "lower": "bottom"}
_HEADINGS = {"top": "up", "bottom": "down", "upper": "up", "lower": "down"}


def _ask(kind: Kind, *values: str) -> _Read:
    return lambda _: ((kind, values),)


def _nothing(_: re.Match[str]) -> Asks:
    return ()


def _read_side(kind: Kind) -> _Read:
    def read(match: re.Match[str]) -> Asks:
        return ((kind, (_SIDE_NAMES.get(match["side"], match["side"]),)),)

    return read


def _read_turn(match: re.Match[str]) -> Asks:
    second = match.groupdict().get("second")
    return (("turn", (match["side"], second) if second and second != match["side"] else (match["side"],)),)


def _read_heading(match: re.Match[str]) -> Asks:
    parts = [match["side"], *([match["second"]] if match.groupdict().get("second") else [])]
    names = [re.sub(r"wards?$", "", part) for part in parts]
    names = sorted((_HEADINGS.get(name, name) for name in names), key=lambda name: name not in ("up", "down"))
    vertical = [name for name in names if name in ("up", "down")]
    horizontal = [name for name in names if name in ("left", "right")]
    return (("heading", ("-".join([*vertical[:1], *horizontal[:1]]),)),)


def _read_crossing(match: re.Match[str]) -> Asks:
    return (("heading", (_HEADINGS.get(match["to"], match["to"]),)),)


def _read_place(match: re.Match[str]) -> Asks:
    words = set(match[0].split())
    if words & {"middle", "centre", "center"}:
        middle: Asks = (("place_x", ("centre",)), ("place_y", ("middle",)))
    else:
        middle = ()
    vertical = "top" if words & {"top", "upper"} else "bottom" if words & {"bottom", "lower"} else ""
    horizontal = "left" if "left" in words else "right" if "right" in words else ""
    asks: list[tuple[Kind, tuple[str, ...]]] = []
    if horizontal:
        asks.append(("place_x", (horizontal,)))
    if vertical:
        asks.append(("place_y", (vertical,)))
    return tuple(asks) + tuple(ask for ask in middle if ask[0] not in [kind for kind, _ in asks])


def _read_colour(match: re.Match[str]) -> Asks:
    shaded = " ".join(match[0].split())
    plain = match["colour"]
    return (("colour", COLOURS[shaded] if shaded in COLOURS else COLOURS[" ".join(plain.split())]),)


def _look_up(kind: Kind, table: Mapping[str, str]) -> _Read:
    return lambda match: ((kind, (table[" ".join(match[0].split())],)),)


def _rule(pattern: str, role: Role, read: _Read = _nothing) -> tuple[re.Pattern[str], Role, _Read]:
    return re.compile(rf"\b(?:{pattern})\b"), role, read


_DOWN_THE_ROAD = rf"(?!\s(?:the|a|an|this|that|its|to|\w+\s(?:road|street|hill|lane))\b(?!\s{_FRAME}))"
_CAMERA = r"(?:the\s)?(?:camera|viewer|lens|us|me)"

_RULES = (
    *(_rule(pattern.replace("{colours}", _COLOUR), "scenery") for pattern in SCENERY),
    # where it came from and where it went
    _rule(
        r"(?:from\s(?:the\s)?)(?P<from>left|right|top|bottom)(?:\sside)?\s(?:on)?to\s(?:the\s)?"
        r"(?P<to>left|right|top|bottom)(?:\sside)?|(?<!from\s)(?P<f>left|right)\sto\s(?P<t>right|left)",
        "ask",
        lambda match: _read_crossing(match) if match["to"] else (("heading", (match["t"],)),),
    ),
    _rule(
        r"(?:enter(?:s|ed|ing)?|appear(?:s|ed|ing)?|emerg(?:e|es|ed|ing)|arriv(?:e|es|ed|ing)|com(?:e|es|ing)|"
        rf"came)(?:\s(?:in|into|out))?(?:\s(?:the\s)?{_FRAME})?\s(?:from|on|at|via|through|by)\s(?:the\s)?"
        rf"(?:far\s)?{_SIDE}{_EDGE}{_NOT_OF_THING}",
        "ask",
        _read_side("entry"),
    ),
    _rule(rf"from\s(?:the\s)?{_SIDE}{_EDGE}{_NOT_OF_THING}", "ask", _read_side("entry")),
    _rule(rf"(?:enter(?:s|ed|ing)?|com(?:e|es|ing)\sinto)\s(?:the\s)?{_FRAME}", "ask", _ask("entry", *SIDES)),
    _rule(
        r"(?:leav(?:e|es|ing)|exit(?:s|ed|ing)?|disappear(?:s|ed|ing)?|depart(?:s|ed|ing)?|"
        rf"(?:goes|going|go|went|moves|moving)\s(?:out|off))(?:\s(?:of\s)?(?:the\s)?{_FRAME})?"
        rf"(?:\s(?:to|on|at|from|via|through|by|towards?))?(?:\sthe)?(?:\sfar)?\s{_SIDE}{_EDGE}{_NOT_OF_THING}",
        "ask",
        _read_side("exit"),
    ),
    _rule(
        rf"(?:(?:leav(?:e|es|ing)|left|exit(?:s|ed|ing)?)|(?:goes|going|go|moves)\s(?:out|off))(?:\sof)?\s"
        rf"(?:the\s)?{_FRAME}",
        "ask",
        _ask("exit", *SIDES),
    ),
    # turns
    _rule(
        r"(?:(?:mak|tak|do|perform)\w*\s)?(?:an?\s)?u\s?turn(?:s|ed|ing)?|"
        r"turn(?:s|ed|ing)?\s(?:all\sthe\sway\s)?(?:around|back)",
        "ask",
        _ask("turn", "u"),
    ),
    _rule(
        rf"(?:tu?rn|tun|veer|bear|swerv|curv|steer|swing|bend)(?:e|s|es|ed|ing)?\s{_GAP}(?P<side>left|right)"
        rf"(?:\s(?:or|and)\s(?P<second>left|right))?{_HAND}",
        "ask",
        _read_turn,
    ),
    _rule(
        r"(?:mak|tak|took|made|do|hang|perform|execut)\w*\s(?:(?:an?|the|its|his|her)\s)?(?:\w+\s)?"
        rf"(?P<side>left|right){_HAND}(?:\sturn(?:s|ing)?)?",
        "ask",
        _read_turn,
    ),
    _rule(rf"(?P<side>left|right){_HAND}\sturn(?:s|ed|ing)?", "ask", _read_turn),
    # headings, and towards or away from the camera
    _rule(
        rf"(?:(?:{_MOVE})\s{_ADVERB})?(?:towards?|to|at)\s{_CAMERA}|approach(?:es|ed|ing)?(?:\s{_CAMERA})"
        r"|approach(?:es|ed|ing)?(?!\s(?:the|an?|its|another)\b)|(?:com|gett?)\w*\s(?:closer|nearer)",
        "ask",
        _ask("range", "approaching"),
    ),
    _rule(
        rf"(?:(?:{_MOVE})\s{_ADVERB})(?<=away\s)?(?:from\s{_CAMERA})|(?:{_MOVE})\saway(?!\sfrom\sthe\b)|"
        r"reced(?:e|es|ed|ing)|away\sfrom\s(?:the\s)?(?:camera|viewer|us)|"
        r"leav(?:es|ing)(?!\s(?:the|an?|its|from|behind)\b)",
        "ask",
        _ask("range", "leaving"),
    ),
    _rule(
        rf"(?:{_MOVE})\s{_ADVERB}(?:\w+\s)?(?:to|towards?)\s(?:the\s)?(?P<side>left|right|top|bottom|upper|lower)"
        rf"(?:\s(?P<second>left|right))?{_HAND}(?:\s(?:side|edge|corner))?(?:\sof\s(?:the\s)?{_FRAME})?"
        rf"{_NOT_OF_THING}",
        "ask",
        _read_heading,
    ),
    _rule(
        rf"(?:{_MOVE})\s{_ADVERB}(?P<side>up|down)(?:wards?)?\s(?:and\s)?(?:to\sthe\s)?(?P<second>left|right)",
        "ask",
        _read_heading,
    ),
    _rule(
        rf"(?:{_MOVE})\s{_ADVERB}(?P<side>left|right|up|down)(?:wards?)?{_DOWN_THE_ROAD}",
        "ask",
        _read_heading,
    ),
    _rule(r"(?P<side>(?:left|right|up|down)wards?)", "ask", _read_heading),
    # places
    _rule(
        r"(?:in|on|at|near|to)\s(?:the\s)?(?:very\s|far\s)?"
        r"(?:(?:top|bottom|upper|lower|left|right|middle|centre|center)\s){0,1}(?:and\s)?"
        r"(?:top|bottom|upper|lower|left|right|middle|centre|center)"
        rf"{_HAND}(?:\s(?:side|edge|corner|half|third|part|area))?(?:\sof\s(?:the\s)?{_FRAME})?{_NOT_OF_THING}",
        "ask",
        _read_place,
    ),
    _rule(
        r"(?:top|bottom|upper|lower)\s(?:left|right|middle|centre|center)(?:\scorner)?"
        rf"(?:\sof\s(?:the\s)?{_FRAME})?{_NOT_OF_THING}"
        r"|(?:left|right|top|bottom|upper|lower)(?:\shand)?\s(?:side|edge|half|part|third)"
        rf"(?:\sof\s(?:the\s)?{_FRAME})?{_NOT_OF_THING}",
        "ask",
        _read_place,
    ),
    _rule(r"(?:on|to)\sthe\s(?:left|right)(?:\shand)?(?:\sside)?\sof", "relation"),
    # pace
    _rule(
        r"(?:go|goes|going|keep|keeps|keeping|continue|continues|continuing|drive|drives|driving|run|runs|move|"
        r"moves|moving|running|proceed|proceeds|head|heads|heading)?\s?straight(?:\s(?:ahead|on|forward|through))?",
        "ask",
        _ask("turn", "none"),
    ),
    _rule(
        r"stop(?:s|ped|ping)?|parked|parks?|(?<!of\s)parking|stationary|motionless|immobile|idl(?:e|es|ed|ing)|"
        r"wait(?:s|ed|ing)?|halt(?:s|ed|ing)?|standstill|stand(?:s|ing)?(?:\sstill)?|stood(?:\sstill)?|"
        r"sit(?:s|ting)?(?:\sstill)?|(?:is|are|stays?|holds?|keeps?|keeping)\sstill|stays?\sput|at\srest",
        "ask",
        _ask("pace", "stopped"),
    ),
    _rule(
        r"fast|quick|quickly|rapid|rapidly|swift|swiftly|speeding|speeds|rac(?:es|ing)|rush(?:es|ing)|"
        r"sprint(?:s|ing)|hurr(?:ies|ying)|(?:at\s)?(?:a\s)?high\s(?:rate\sof\s)?speed",
        "ask",
        _ask("pace", "fast"),
    ),
    _rule(
        r"slow|slowly|slows|slowing|slowed|crawl(?:s|ing)|creep(?:s|ing)|(?:at\s)?(?:a\s)?low\s(?:rate\sof\s)?speed",
        "ask",
        _ask("pace", "slow"),
    ),
    _rule(r"(?:turns?|turning)(?!\s(?:on|off)\b)", "ask", _ask("turn", *TURNS)),
    # who and what
    _rule(r"walk(?:s|ing)\s(?:an?|the|his|her|their|some|two)\sdogs?", "ask", _ask("pace", "moving")),
    _rule(_any_of(RELATIONS), "relation"),
    _rule(r"(?:after|before|while|as)\s(?=(?:an?|another)\s)", "relation"),
    _rule(r"and\s(?=(?:an?|the|another|two|his|her)\s)|there\s(?:is|are)", "further"),
    _rule(_any_of(CATEGORIES), "ask", _look_up("category", CATEGORIES)),
    _rule(
        rf"{_SHADE}(?P<colour>{_any_of(COLOURS)})(?:\s(?:coloured|colored))?",
        "ask",
        _read_colour,
    ),
    _rule(_any_of(SIZES), "ask", _look_up("size", SIZES)),
    _rule(rf"in\smotion|(?:{_MOVE})", "ask", _ask("pace", "moving")),
    _rule(r"not|no|without|never|non|neither|nor|except|cannot|\w+n't|isnt|doesnt|dont", "negation"),
    _rule(r"or", "or"),
    (re.compile(r"[.;,](?=\s|$)|\b(?:and|then|while|when|but|before|as)\b"), "break", _nothing),
)
