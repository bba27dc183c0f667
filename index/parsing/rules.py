"""The patterns of the parser, from the most to the least particular. What each role means: pieces.py.

Every repetition is bounded, so that the time a sentence takes grows with its length and not faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tubelet.index.parsing.lexicon import (
    BACKWARD_RELATIONS,
    CATEGORIES,
    COLOURS,
    NUMBERS,
    RELATIONS,
    RIDDEN,
    SCENERY,
    SHADES,
    SIZES,
)
from tubelet.index.parsing.pieces import Role, Rule
from tubelet.index.parsing.readings import (
    Read,
    ask,
    fix_relation,
    look_up,
    nothing,
    read_backward,
    read_colour,
    read_count,
    read_crossing,
    read_heading,
    read_place,
    read_relation,
    read_side,
    read_turn,
)


def _any_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word).replace(r"\ ", r"\s") for word in sorted(words, key=len, reverse=True))


def _rule(pattern: str, role: Role, read: Read = nothing) -> Rule:
    return Rule(re.compile(rf"\b(?:{pattern})\b"), role, read)


_SHADE = rf"(?:(?:{_any_of(SHADES)})\s){{0,2}}"
_COLOUR = rf"(?:{_any_of(COLOURS)})"
_CATEGORY = rf"(?:{_any_of(CATEGORIES)})"
_MOVE = (
    r"(?:mov|driv|rid|cruis|rac|com)(?:es?|ed|ing)|(?:goes|go|going|went|drove|rode|ran|flew|came)|"
    r"(?:run)(?:s|ning)?|(?:walk|travel|head|roll|jog|crawl|sail|float|proceed|drift|pass|cross|speed|turn|reach)"
    r"(?:s|es|ed|ing|led|ling)?|(?:fly|flies|flying|cycles|cycling|slides|sliding|swims|swimming)|"
    r"continu(?:e|es|ed|ing)"
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
_DOWN_THE_ROAD = rf"(?!\s(?:the|a|an|this|that|its|to|\w+\s(?:road|street|hill|lane))\b(?!\s{_FRAME}))"
_CAMERA = r"(?:the\s)?(?:camera|viewer|lens|us|me)"
_SIDES = ("left", "right", "top", "bottom")
_ONE = r"(?:an?|the|his|her|their|its|some|another)"
_END = r"(?=\s*(?:$|[.,;:]))"

_EDGES = (
    _rule(
        r"(?:from\s(?:the\s)?)(?P<from>left|right|top|bottom)(?:\sside)?\s(?:on)?to\s(?:the\s)?"
        r"(?P<to>left|right|top|bottom)(?:\sside)?|(?<!from\s)(?P<f>left|right)\sto\s(?P<t>right|left)",
        "ask",
        read_crossing,
    ),
    _rule(
        r"(?:enter(?:s|ed|ing)?|appear(?:s|ed|ing)?|emerg(?:e|es|ed|ing)|arriv(?:e|es|ed|ing)|com(?:e|es|ing)|"
        rf"came)(?:\s(?:in|into|out))?(?:\s(?:the\s)?{_FRAME})?\s(?:from|on|at|via|through|by)\s(?:the\s)?"
        rf"(?:far\s)?{_SIDE}{_EDGE}{_NOT_OF_THING}",
        "ask",
        read_side("entry"),
    ),
    _rule(rf"from\s(?:the\s)?{_SIDE}{_EDGE}{_NOT_OF_THING}", "ask", read_side("entry")),
    _rule(rf"(?:enter(?:s|ed|ing)?|com(?:e|es|ing)\sinto)\s(?:the\s)?{_FRAME}", "ask", ask("entry", *_SIDES)),
    _rule(
        r"(?:leav(?:e|es|ing)|exit(?:s|ed|ing)?|disappear(?:s|ed|ing)?|depart(?:s|ed|ing)?|"
        rf"(?:goes|going|go|went|moves|moving)\s(?:out|off))(?:\s(?:of\s)?(?:the\s)?{_FRAME})?"
        rf"(?:\s(?:to|on|at|from|via|through|by|towards?))?(?:\sthe)?(?:\sfar)?\s{_SIDE}{_EDGE}{_NOT_OF_THING}",
        "ask",
        read_side("exit"),
    ),
    _rule(
        rf"(?:(?:leav(?:e|es|ing)|left|exit(?:s|ed|ing)?)|(?:goes|going|go|moves)\s(?:out|off))(?:\sof)?\s"
        rf"(?:the\s)?{_FRAME}",
        "ask",
        ask("exit", *_SIDES),
    ),
)
"""Where an object came from and where it went."""

_TURNS = (
    _rule(
        r"(?:(?:mak|tak|do|perform)\w*\s)?(?:an?\s)?u\s?turn(?:s|ed|ing)?|"
        r"turn(?:s|ed|ing)?\s(?:all\sthe\sway\s)?(?:around|back)",
        "ask",
        ask("turn", "u"),
    ),
    _rule(
        rf"(?:tu?rn|tun|veer|bear|swerv|curv|steer|swing|bend|continue)(?:e|s|es|ed|ing)?\s{_GAP}"
        rf"(?P<side>left|right)(?:\s(?:or|and)\s(?P<second>left|right))?{_HAND}{_NOT_OF_THING}"
        rf"|(?:tu?rn|tun)(?:s|ed|ing)?\s(?:to|on)\s(?:the\s)?(?P<only>left|right)",
        "ask",
        lambda match: read_turn(match) if match["side"] else ask("turn", match["only"])(match),
    ),
    _rule(
        r"(?:mak|tak|took|made|do|hang|perform|execut)\w*\s(?:(?:an?|the|its|his|her)\s)?(?:\w+\s)?"
        rf"(?P<side>left|right){_HAND}(?:\sturn(?:s|ing)?)?",
        "ask",
        read_turn,
    ),
    _rule(rf"(?P<side>left|right){_HAND}\sturn(?:s|ed|ing)?", "ask", read_turn),
)

_DIRECTIONS = (
    _rule(
        rf"(?:(?:{_MOVE})\s{_ADVERB})?(?:towards?|to|at)\s{_CAMERA}|approach(?:es|ed|ing)?(?:\s{_CAMERA})"
        r"|approach(?:es|ed|ing)?(?!\s(?:the|an?|its|another|two|some|other)\b)|(?:com)\w*\s(?:closer|nearer)",
        "ask",
        ask("range", "approaching"),
    ),
    _rule(
        rf"(?:(?:{_MOVE})\s{_ADVERB})(?<=away\s)?(?:from\s{_CAMERA})|(?:{_MOVE})\saway(?!\sfrom\s(?:the|an?)\b)|"
        r"reced(?:e|es|ed|ing)|away\sfrom\s(?:the\s)?(?:camera|viewer|us)|"
        r"leav(?:es|ing)(?!\s(?:the|an?|its|from|behind)\b)",
        "ask",
        ask("range", "leaving"),
    ),
    _rule(
        rf"(?:{_MOVE})\s{_ADVERB}(?:\w+\s)?(?:to|towards?)\s(?:the\s)?(?P<side>left|right|top|bottom|upper|lower)"
        rf"(?:\s(?P<second>left|right))?{_HAND}(?:\s(?:side|edge|corner))?(?:\sof\s(?:the\s)?{_FRAME})?"
        rf"{_NOT_OF_THING}",
        "ask",
        read_heading,
    ),
    _rule(
        rf"(?:{_MOVE})\s{_ADVERB}(?P<side>up|down)(?:wards?)?\s(?:and\s)?(?:to\sthe\s)?(?P<second>left|right)",
        "ask",
        read_heading,
    ),
    _rule(
        rf"(?:{_MOVE})\s{_ADVERB}(?P<side>left|right|up|down)(?:wards?)?{_DOWN_THE_ROAD}",
        "ask",
        read_heading,
    ),
    _rule(r"(?P<side>(?:left|right|up|down)wards?)", "ask", read_heading),
)
"""Headings, and towards or away from the camera."""

_PLACES = (
    _rule(
        r"(?:in|on|at|near|to)\s(?:the\s)?(?:very\s|far\s)?"
        r"(?:(?:top|bottom|upper|lower|left|right|middle|centre|center)\s){0,1}(?:and\s)?"
        r"(?:top|bottom|upper|lower|left|right|middle|centre|center)"
        rf"{_HAND}(?:\s(?:side|edge|corner|half|third|part|area))?(?:\sof\s(?:the\s)?{_FRAME})?{_NOT_OF_THING}",
        "ask",
        read_place,
    ),
    _rule(
        r"(?:top|bottom|upper|lower)\s(?:left|right|middle|centre|center)(?:\scorner)?"
        rf"(?:\sof\s(?:the\s)?{_FRAME})?{_NOT_OF_THING}"
        r"|(?:left|right|top|bottom|upper|lower)(?:\shand)?\s(?:side|edge|half|part|third)"
        rf"(?:\sof\s(?:the\s)?{_FRAME})?{_NOT_OF_THING}",
        "ask",
        read_place,
    ),
)

_PACES = (
    _rule(
        r"(?:go|goes|going|keep|keeps|keeping|continue|continues|continuing|drive|drives|driving|run|runs|move|"
        r"moves|moving|running|proceed|proceeds|head|heads|heading)?\s?straight(?:\s(?:ahead|on|forward|through))?",
        "ask",
        ask("turn", "none"),
    ),
    _rule(
        r"(?:start|begin)(?:s|ed|ing|ning)?\s(?:(?:to\s)?(?:mov|driv|roll|walk|runn?|rid)(?:e|es|ing)?|up|off|again)|"
        r"(?:start|began|begun)(?:s|ed)?(?=\s*(?:$|[.,;:]|and\b|then\b))|set(?:s|ting)?\soff|"
        r"pull(?:s|ed|ing)?\s(?:away|out|off)|(?:driv|mov)(?:e|es|ing)\soff|gets?\sgoing|resum(?:e|es|ed|ing)",
        "ask",
        ask("change", "starts"),
    ),
    _rule(
        r"stopped|parked|parks?|(?<!of\s)parking|stationary|motionless|immobile|idl(?:e|es|ed|ing)|"
        r"wait(?:s|ed|ing)?|standstill|stand(?:s|ing)?(?:\sstill)?|stood(?:\sstill)?|"
        r"sit(?:s|ting)?(?:\sstill)?|(?:is|are|stay(?:s|ing)?|holds?|holding|keeps?|keeping)\sstill|stays?\sput|at\srest",
        "ask",
        ask("pace", "stopped"),
    ),
    _rule(
        r"(?:com(?:e|es|ing)\sto\s(?:a|an)\s(?:\w+\s)?)?(?:stop(?:s|ping)?|halt(?:s|ed|ing)?|standstill)|"
        r"pull(?:s|ed|ing)?\s(?:up|over)",
        "ask",
        ask("change", "stops"),
    ),
    _rule(
        r"fast|quick|quickly|rapid|rapidly|swift|swiftly|speeding|speeds(?:\sup)?|rac(?:es|ing)|rush(?:es|ing)|"
        r"sprint(?:s|ing)|hurr(?:ies|ying)|accelerat(?:es|ing)|(?:at\s|in\s)?(?:a\s)?high\s(?:rate\sof\s)?speed",
        "ask",
        ask("pace", "fast"),
    ),
    _rule(
        r"slow|slowly|slows(?:\sdown)?|slowing(?:\sdown)?|slowed(?:\sdown)?|crawl(?:s|ing)|creep(?:s|ing)|"
        r"(?:at\s|in\s)?(?:a\s)?low\s(?:rate\sof\s)?speed",
        "ask",
        ask("pace", "slow"),
    ),
    _rule(r"(?:turns?|turning)(?!\s(?:on|off)\b)", "ask", ask("turn", "left", "right", "u")),
)

_NAMED_BY_RELATION = [
    word for word in CATEGORIES if any(relation and relation in word.split() for relation in RELATIONS)
]
"""Categories that hold a word of relation, such as "cross over"."""

_OTHERS = (
    _rule(
        r"(?:(?P<limit>at\sleast|no\sfewer\sthan|a\sminimum\sof|more\sthan|over|exactly|just|only|at\smost|up\sto|"
        rf"no\smore\sthan|fewer\sthan|less\sthan)\s)?(?P<number>{_any_of(NUMBERS)}|[1-9]\d{{0,2}})\s"
        rf"(?!(?:doors?|wheel\w*)\b)(?=(?:\w+\s){{0,3}}{_CATEGORY}\b)",
        "count",
        read_count,
    ),
    _rule(_any_of(_NAMED_BY_RELATION), "ask", look_up("category", CATEGORIES)),
    _rule(rf"walk(?:s|ing)\s(?={_ONE}\sdogs?)", "relation", fix_relation("with")),
    _rule(rf"on\s(?={_ONE}\s(?:\w+\s){{0,2}}(?:{_any_of(RIDDEN)})\b)", "relation", fix_relation("touches")),
    _rule(rf"in\s(?=(?:an?|his|her)\s(?:\w+\s)?{_CATEGORY}\b)", "relation", fix_relation("touches")),
    _rule(r"each\sother|one\sanother", "reciprocal"),
    _rule(r"(?:all\s)?(?:alone|by\sitself|on\sits\sown)|by\s(?:him|her)self", "alone"),
    _rule(
        rf"(?P<word>{_any_of(RELATIONS)})\s(?:it|him|her|them|itself)(?!\s\w+(?:s|ing)\b)",
        "backward",
        read_backward,
    ),
    _rule(rf"(?P<word>{_any_of(BACKWARD_RELATIONS)}){_END}", "backward", read_backward),
    _rule(r"without|with\sno|lacking", "lack"),
    _rule(r"wear(?:s|ing)?|dressed\sin|in\s(?:his|her)", "wearing"),
    _rule(_any_of(word for word in RELATIONS if word), "relation", read_relation),
    _rule(r"while|as|when", "while"),
    _rule(r"and\s(?=(?:an?|the|another|two|his|her)\s)|there\s(?:is|are)", "further"),
)
"""Other objects, and how this one stands to them."""

_THINGS = (
    _rule(_CATEGORY, "ask", look_up("category", CATEGORIES)),
    _rule(rf"{_SHADE}(?P<colour>{_COLOUR})(?:\s(?:coloured|colored))?", "ask", read_colour),
    _rule(r"dark(?:er)?(?=\s(?:\w+\s)?\0)", "ask", ask("colour", "black")),
    _rule(_any_of(SIZES), "ask", look_up("size", SIZES)),
    _rule(rf"another\sone|(?:another|others?|the\sother|one){_END}|something|anything", "something"),
    _rule(rf"in\smotion|(?:{_MOVE})", "ask", ask("pace", "moving")),
)

_JOINTS = (
    _rule(r"not|no|never|non|neither|nor|except|cannot|\w+n't|isnt|doesnt|dont", "negation"),
    _rule(r"or", "or"),
    _rule(r"(?:and\s)?then|afterwards|after\sthat|subsequently|later|finally|eventually|next", "then"),
    _rule(r"before|prior\sto", "before"),
    _rule(r"after", "after"),
    Rule(re.compile(r"[.;,](?=\s|$)|\b(?:and|but|whilst)\b"), "break", nothing),
)

RULES: tuple[Rule, ...] = (
    *(_rule(pattern.replace("{colours}", _COLOUR), "scenery") for pattern in SCENERY),
    *(*_EDGES, *_TURNS, *_DIRECTIONS, *_PLACES, *_PACES, *_OTHERS, *_THINGS, *_JOINTS),
)
