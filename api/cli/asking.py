"""What `tubelet search` and `tubelet count` share: how a request is told on the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tubelet.errors import InputError, QueryError
from tubelet.index.parsing.times import read_point
from tubelet.index.query import parse_query
from tubelet.index.query_checks import read_query
from tubelet.index.structured_query import Query, Region, SearchFilter, TimeWindow

Structured = Annotated[
    str,
    typer.Option("--structured", help="A structured query: a file of JSON, or - for input.", metavar="FILE"),
]
Videos = Annotated[
    list[str] | None, typer.Option("--video", help="Only this video, by URI or id; may be repeated.")
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", help="Only this category or a kind of it; may be repeated.")
]
Colours = Annotated[
    list[str] | None, typer.Option("--colour", help="Only objects that have this colour; may be repeated.")
]
Start = Annotated[
    str, typer.Option("--from", help="Only from this time of the video on, as in 90 or 1:30.", metavar="TIME")
]
End = Annotated[str, typer.Option("--to", help="Only before this time of the video.", metavar="TIME")]
Drawn = Annotated[
    str,
    typer.Option(
        "--region", help="Only objects in this box, as shares of the frame, 0 to 1.", metavar="x0,y0,x1,y1"
    ),
]
RegionHow = Annotated[
    str,
    typer.Option(
        help="What lies in the region: centre (of the mean box), touches (at some time), inside (always)."
    ),
]


def read_request(
    sentence: str, structured: str, *, start: str = "", end: str = "", region: str = "", how: str = "centre"
) -> Query:
    """The query of a sentence, or of a file or the standard input, narrowed by time and place.

    Raises QueryError for two of them, and InputError for a time or region that cannot be read.
    """
    if sentence and structured:
        raise QueryError(
            "A sentence and a structured query were given",
            expected='either a sentence, such as "red car turning left", or --structured FILE',
            do="give one of them",
        )
    query = Query()
    if sentence:
        query = parse_query(sentence)
    elif structured:
        query = read_query(_read_text(structured))
    if start or end:
        window = TimeWindow(_read_time("--from", start) or 0.0, _read_time("--to", end))
        query = replace(query, time=window if query.time is None else query.time.intersect(window))
    if region:
        if how not in ("centre", "touches", "inside"):
            raise InputError(
                f"--region-how is {how!r}", expected="centre, touches or inside", do="choose one of them"
            )
        query = replace(query, region=Region(_read_region(region), how))  # type: ignore[arg-type]
    return query


def make_limits(
    videos: Sequence[str] | None, labels: Sequence[str] | None, colours: Sequence[str] | None
) -> SearchFilter:
    """The exact limits of the options; a file stands for the address that it was indexed by."""
    names = tuple(str(Path(name).resolve()) if Path(name).is_file() else name for name in videos or ())
    ids = tuple(name for name in names if "/" not in name)
    uris = tuple(name for name in names if "/" in name)
    if ids and uris:
        raise InputError(
            "Videos are named by address and by id", expected="one of the two ways", do="name all one way"
        )
    return SearchFilter(video_ids=ids, uris=uris, labels=tuple(labels or ()), colours=tuple(colours or ()))


def _read_text(structured: str) -> str:
    try:
        return sys.stdin.read() if structured == "-" else Path(structured).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(
            f"The structured query {structured} cannot be read: {error}",
            expected="a file of JSON",
            do="correct the path",
        ) from error


def _read_time(option: str, text: str) -> float | None:
    if not text:
        return None
    seconds = read_point(text)
    if seconds is None:
        raise InputError(
            f"{option} is {text!r}", expected="a time such as 90, 90s, 1:30 or 00:01:30", do="correct it"
        )
    return seconds


def _read_region(text: str) -> tuple[float, float, float, float]:
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"--region is {text!r}", expected="x0,y0,x1,y1 as shares of the frame", do="write four numbers"
        ) from None
    return x0, y0, x1, y1
