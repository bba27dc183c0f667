"""Dates in a sentence: "on 2026-05-01", "since 3 May", "between 8 am and 9 am on May 1st, 2026", "yesterday".

A date without a year is the latest one that is not after today. Days, hours and months are UTC's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from tubelet.index.structured_query import TimeWindow

_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_MONTH = "(?:" + "|".join(f"{name}|{name[:3]}" for name in _MONTHS) + r")\b\.?"
_YEAR = r"(?:19|20)\d{2}\b"
_DAY = r"(?:[12]\d|3[01]|0?[1-9])"
_ORDINAL = rf"{_DAY}(?:st|nd|rd|th)?\b"
_ISO = r"\d{4}-\d{2}-\d{2}\b"
_NUMERIC = rf"(?:{_DAY}[./]\d{{1,2}}[./]{_YEAR}|{_YEAR}/\d{{1,2}}/{_DAY}\b)"
_NAMED = rf"(?:{_ORDINAL}\s(?:of\s)?{_MONTH}|{_MONTH}\s(?:the\s)?{_ORDINAL})"
_RELATIVE = (
    r"(?:today|the\sday\sbefore\syesterday|yesterday|(?:this|last)\s(?:week|month|year)"
    rf"|(?:last\s)?(?:{'|'.join(_WEEKDAYS)}))\b"
)
_SURE = rf"(?:{_ISO}|{_NUMERIC}|{_NAMED},?\s{_YEAR}|{_MONTH},?\s{_YEAR}|{_RELATIVE})"
"""Dates that are dates wherever they stand."""

_ANY = rf"(?:{_SURE}|{_NAMED}|{_MONTH}|{_YEAR})"
"""With the shorter ones that are dates only after a word such as "on" or "since"."""

_CLOCK = r"(?:(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?(?:\s?[ap]\.?m\b\.?)?|(?:1[0-2]|[1-9])\s?[ap]\.?m\b\.?)"
_STAMP = rf"\d{{4}}-\d{{2}}-\d{{2}}[T\s]{_CLOCK}"
_POINT = rf"(?:{_STAMP}|{_ANY})"
_DAYS_AGO = (
    r"(?:(?:in|during|over|within)\s)?(?:the\s)?(?:last|past)\s(?P<number>\d{1,4})\s(?P<unit>days?|weeks?)\b"
)


@dataclass(frozen=True, slots=True)
class _Interval:
    """From `start` to before `end`."""

    start: datetime
    end: datetime


def cut_dates(text: str, today: date) -> tuple[str, TimeWindow | None]:
    """The text without its dates, and the window that satisfies all of them, or None when there is none."""
    window: TimeWindow | None = None

    def claim(read: _Read) -> Callable[[re.Match[str]], str]:
        def replace(match: re.Match[str]) -> str:
            nonlocal window
            try:
                found = read(match, today)
            except (ValueError, OverflowError):  # the 30th of February is no date
                return match[0]
            window = found if window is None else window.intersect(found)
            return " "

        return replace

    for pattern, read in _RULES:
        text = pattern.sub(claim(read), text)
    return text, window


def _read_date(text: str, today: date) -> _Interval:
    """What one date covers: a day, a week, a month, a year, or a minute."""
    text = " ".join(text.lower().replace(",", " ").split())
    if re.fullmatch(_STAMP, text, re.IGNORECASE):
        return _read_clock(text[11:], date.fromisoformat(text[:10]))
    if re.fullmatch(_RELATIVE, text):
        return _read_relative(text, today)
    if re.fullmatch(_ISO, text):
        return _cover_day(date.fromisoformat(text))
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    month = next((index + 1 for index, name in enumerate(_MONTHS) if name[:3] in text), None)
    if month is None and len(numbers) == 3:
        year_first = numbers[0] > 31
        year, middle, day = numbers if year_first else reversed(numbers)
        return _cover_day(date(year, middle, day))
    years = [number for number in numbers if number > 31]
    days = [number for number in numbers if number <= 31]
    if month is None:
        return _Interval(datetime(years[0], 1, 1), datetime(years[0] + 1, 1, 1))
    if days:
        found = date(years[0] if years else today.year, month, days[0])
        if not years and found > today:
            found = found.replace(year=today.year - 1)
        return _cover_day(found)
    year = years[0] if years else today.year - (month > today.month)
    return _cover_month(year, month)


def _read_relative(text: str, today: date) -> _Interval:
    if text == "today":
        return _cover_day(today)
    if text.endswith("yesterday"):
        return _cover_day(today - timedelta(days=2 if "before" in text else 1))
    which, _, unit = text.rpartition(" ")
    if unit in _WEEKDAYS:
        back = (today.weekday() - _WEEKDAYS.index(unit)) % 7
        return _cover_day(today - timedelta(days=back or (7 if which else 0)))
    last = which == "last"
    if unit == "week":
        start = today - timedelta(days=today.weekday() + 7 * last)
        return _Interval(_midnight(start), _midnight(start + timedelta(days=7)))
    if unit == "year":
        return _Interval(datetime(today.year - last, 1, 1), datetime(today.year - last + 1, 1, 1))
    first = today.replace(day=1)
    return _cover_month(*(_month_before(first) if last else (first.year, first.month)))


def _read_clock(text: str, day: date) -> _Interval:
    """A minute of a day, or a second of it where seconds are said."""
    digits = [int(number) for number in re.findall(r"\d+", text)]
    hour, minute, second = (*digits, 0, 0)[:3]
    half = re.search(r"[ap](?=\.?m)", text, re.IGNORECASE)
    if half:
        hour = hour % 12 + (12 if half[0].lower() == "p" else 0)
    start = datetime.combine(day, time(hour, minute, second))
    return _Interval(start, start + timedelta(seconds=1 if len(digits) == 3 else 60))


def _cover_day(day: date) -> _Interval:
    return _Interval(_midnight(day), _midnight(day) + timedelta(days=1))


def _cover_month(year: int, month: int) -> _Interval:
    following = (year + 1, 1) if month == 12 else (year, month + 1)
    return _Interval(datetime(year, month, 1), datetime(*following, 1))


def _month_before(first: date) -> tuple[int, int]:
    before = first - timedelta(days=1)
    return before.year, before.month


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())


def _read_day_between(match: re.Match[str], today: date) -> TimeWindow:
    day = _read_date(match["date"], today).start.date()
    first, second = _read_clock(match["first"], day), _read_clock(match["second"], day)
    return TimeWindow(since=min(first.start, second.start), until=max(first.start, second.start))


def _read_day_clock(match: re.Match[str], today: date) -> TimeWindow:
    at = _read_clock(match["clock"], _read_date(match["date"], today).start.date())
    day = _cover_day(at.start.date())
    word = match["word"].lower()
    if word in ("after", "since", "from"):
        return TimeWindow(since=at.start, until=day.end)
    if word in ("before", "until", "till", "by"):
        return TimeWindow(since=day.start, until=at.start)
    return TimeWindow(since=at.start, until=at.end)


def _read_between(match: re.Match[str], today: date) -> TimeWindow:
    first, second = (_read_date(match[name], today) for name in ("first", "second"))
    return TimeWindow(since=min(first.start, second.start), until=max(first.end, second.end))


def _read_days_ago(match: re.Match[str], today: date) -> TimeWindow:
    days = int(match["number"]) * (7 if match["unit"].lower().startswith("week") else 1)
    return TimeWindow(since=_midnight(today - timedelta(days=days)), until=_cover_day(today).end)


def _read_one(match: re.Match[str], today: date) -> TimeWindow:
    found = _read_date(match["date"], today)
    word = (match.groupdict().get("word") or "on").lower()
    if word in ("since", "from", "starting"):
        return TimeWindow(since=found.start)
    if word == "after":
        return TimeWindow(since=found.end)
    if word == "before":
        return TimeWindow(until=found.start)
    if word in ("until", "till", "by"):
        return TimeWindow(until=found.end)
    return TimeWindow(since=found.start, until=found.end)


_Read = Callable[[re.Match[str], date], TimeWindow]


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w./-])(?:{pattern})(?![\w/])", re.IGNORECASE)


_SPAN = rf"(?:between|from)\s(?P<first>{_CLOCK})\s?(?:and|to|until|till|-)\s?(?P<second>{_CLOCK})"
_AT = rf"(?P<word>at|after|since|from|before|until|till|by|around)\s(?P<clock>{_CLOCK})"
_RULES: tuple[tuple[re.Pattern[str], _Read], ...] = (
    (_compile(_DAYS_AGO), _read_days_ago),
    (_compile(rf"{_SPAN}(?:,?\son)?\s(?P<date>{_SURE}|{_NAMED})"), _read_day_between),
    (_compile(rf"(?:on\s)?(?P<date>{_SURE}|{_NAMED}),?\s{_SPAN}"), _read_day_between),
    (_compile(rf"{_AT}(?:,?\son)?\s(?P<date>{_SURE}|{_NAMED})"), _read_day_clock),
    (_compile(rf"(?:on\s)?(?P<date>{_SURE}|{_NAMED}),?\s{_AT}"), _read_day_clock),
    (
        _compile(rf"(?:between|from)\s(?P<first>{_POINT})\s(?:and|to|until|till)\s(?P<second>{_POINT})"),
        _read_between,
    ),
    (
        _compile(
            r"(?P<word>on|in|during|since|from|after|before|until|till|by|starting)\s(?:the\s)?"
            rf"(?P<date>{_POINT})(?:\sonwards?)?"
        ),
        _read_one,
    ),
    (_compile(rf"(?P<date>{_STAMP}|{_SURE})"), _read_one),
)
