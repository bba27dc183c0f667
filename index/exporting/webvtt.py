"""`webvtt`: captions of moments as a subtitle track beside the video (W3C WebVTT)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from html import escape

from tubelet.index.exporting.timelines import Timeline, Timelines
from tubelet.records import Moment, Video

MIN_CUE_MS = 40
"""A cue must end after it starts; a moment of a single frame is shown this long."""


def write_webvtt(timelines: Timelines, video: Video) -> Iterator[str]:
    """One cue a moment, by start time, named by the moment's id; its voice is the object's name and id."""
    yield f"WEBVTT\n\nNOTE\n{_make_plain(video.uri)} ({_make_plain(video.video_id)})\n"
    for moment, name in _sort_moments(timelines.read(video)):
        start_ms = round(moment.start_s * 1000)
        end_ms = max(round(moment.end_s * 1000), start_ms + MIN_CUE_MS)
        voice = f"<v {_escape(name)} {_escape(moment.object_id)}>"
        yield (
            f"\n{_make_plain(moment.moment_id)}\n{_format_time(start_ms)} --> {_format_time(end_ms)}\n"
            f"{voice}{_escape(moment.caption) or '…'}</v>\n"
        )


def _sort_moments(objects: Iterator[Timeline]) -> Iterator[tuple[Moment, str]]:
    """Moments by start time; only those of objects that are under way wait in memory."""
    waiting: list[tuple[float, str, Moment, str]] = []
    for timeline in objects:
        while waiting and waiting[0][0] < timeline.item.start_s:
            _, _, moment, name = heapq.heappop(waiting)
            yield moment, name
        for moment in timeline.moments:
            heapq.heappush(waiting, (moment.start_s, moment.moment_id, moment, timeline.name))
    while waiting:
        _, _, moment, name = heapq.heappop(waiting)
        yield moment, name


def _format_time(milliseconds: int) -> str:
    seconds, ms = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{ms:03d}"


def _escape(text: str) -> str:
    """Cue text: one line, and nothing in it that reads as a tag or an arrow."""
    return escape(" ".join(text.split()), quote=False)


def _make_plain(text: str) -> str:
    return " ".join(text.split()).replace("-->", "->")
