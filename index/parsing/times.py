"""Times in a sentence: "in the first minute", "after 00:10:00", "between 10s and 20 s"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tubelet.index.structured_query import TimeWindow

_NUMBERS: Mapping[str, float] = {
    "a": 1,
    "an": 1,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "ten": 10,
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
    "half a": 0.5,
    "half an": 0.5,
}
_ORDINALS = {"second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8}

_UNIT = r"(?:hours?|hrs?|hr|h|minutes?|mins?|min|m|seconds?|secs?|sec|s)\b"
_NUMBER = r"\d{1,7}(?:\.\d{1,6})?"
_CLOCK = r"(?:\d{1,3}:)?\d{1,4}:\d{2}(?:\.\d{1,6})?"
_SPAN = (
    rf"(?:{_NUMBER}[\s-]?{_UNIT}(?:(?:\s|,\s|\sand\s)?{_NUMBER}\s?{_UNIT}){{0,2}}"
    rf"|(?:{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})\s{_UNIT})"
)
_POINT = rf"(?:{_CLOCK}|{_SPAN})"
_AROUND_S = 5.0


def cut_times(text: str) -> tuple[str, TimeWindow | None]:
    """The text without its times, and the window that satisfies all of them, or None when there is none."""
    window: TimeWindow | None = None

    def claim(read: Callable[[re.Match[str]], TimeWindow]) -> Callable[[re.Match[str]], str]:
        def replace(match: re.Match[str]) -> str:
            nonlocal window
            found = read(match)
            window = found if window is None else window.intersect(found)
            return " "

        return replace

    for pattern, read in _RULES:
        text = pattern.sub(claim(read), text)
    return text, window


def read_seconds(text: str) -> float:
    """A point or a length of time in seconds: "00:10:00", "1 min 30 s", "half a minute"."""
    text = " ".join(text.lower().split())
    if ":" in text:
        seconds = 0.0
        for part in text.split(":"):
            seconds = seconds * 60 + float(part)
        return seconds
    parts = re.findall(rf"({_NUMBER})[\s-]?({_UNIT})", text)
    if parts:
        return sum(float(number) * _unit_s(unit) for number, unit in parts)
    number, _, unit = text.rpartition(" ")
    return _NUMBERS[number] * _unit_s(unit)


def read_point(text: str) -> float | None:
    """Seconds of a time that stands alone, as in "90", "1:30" or "1 min 30 s"; None for anything else."""
    text = text.strip().lower()
    if re.fullmatch(_NUMBER, text):
        return float(text)
    return read_seconds(text) if re.fullmatch(_POINT, text) else None


def _unit_s(unit: str) -> float:
    return {"h": 3600.0, "m": 60.0, "s": 1.0}[unit[0].lower()]


def _read_between(match: re.Match[str]) -> TimeWindow:
    first, second = match["first"], match["second"]
    end_s = read_seconds(second)
    if re.fullmatch(_NUMBER, first):  # "10 to 20 s": the unit counts for both
        first = (
            f"{first} {re.findall(_UNIT, second, re.IGNORECASE)[-1]}" if ":" not in second else f"0:{first}"
        )
    start_s = read_seconds(first)
    return TimeWindow(min(start_s, end_s), max(start_s, end_s))


def _read_ordinal(match: re.Match[str]) -> TimeWindow:
    word = (match["word"] or match["digits"]).lower()
    number = _ORDINALS.get(word) or int(word)
    length_s = _unit_s(match["unit"])
    return TimeWindow((number - 1) * length_s, number * length_s)


def _read_first(match: re.Match[str]) -> TimeWindow:
    return TimeWindow(0.0, read_seconds(match["span"] or f"a {match['unit']}"))


def _read_last(match: re.Match[str]) -> TimeWindow:
    return TimeWindow(last_s=read_seconds(match["span"] or f"a {match['unit']}"))


def _read_at(match: re.Match[str]) -> TimeWindow:
    at_s = read_seconds(match["point"])
    if match["word"].lower() == "at":
        return TimeWindow(at_s, at_s + 1.0)
    return TimeWindow(max(0.0, at_s - _AROUND_S), at_s + _AROUND_S)


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{pattern})", re.IGNORECASE)


_IN = r"(?:(?:in|during|within|for|of|over)\s)?the\s(?:very\s)?"
_BARE_UNIT = r"(?P<unit>hour|minute|second)\b"
_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], TimeWindow]], ...] = (
    (_compile(rf"{_IN}(?:first|opening)\s(?:(?P<span>{_SPAN})|{_BARE_UNIT})"), _read_first),
    (_compile(rf"{_IN}(?:last|final|closing)\s(?:(?P<span>{_SPAN})|{_BARE_UNIT})"), _read_last),
    (
        _compile(
            rf"{_IN}(?:(?P<word>{'|'.join(_ORDINALS)})|(?P<digits>[1-9]\d{{0,3}})(?:st|nd|rd|th))\s"
            r"(?P<unit>hour|minute)\b"
        ),
        _read_ordinal,
    ),
    (
        _compile(
            rf"(?:between\s|from\s)?(?P<first>{_POINT}|{_NUMBER})\s?(?:and|to|until|till|-|–)\s?"  # noqa: RUF001
            rf"(?P<second>{_POINT})"
        ),
        _read_between,
    ),
    (
        _compile(rf"(?:after|since|from|past|starting at)\s(?P<point>{_POINT})(?:\s(?:onwards?|on)\b)?"),
        lambda match: TimeWindow(read_seconds(match["point"])),
    ),
    (
        _compile(rf"(?:before|until|till|up to|by)\s(?P<point>{_POINT})"),
        lambda match: TimeWindow(0.0, read_seconds(match["point"])),
    ),
    (_compile(rf"(?P<word>at|around|about|near)\s(?:about\s)?(?P<point>{_POINT})"), _read_at),
)
