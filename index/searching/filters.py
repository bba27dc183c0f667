"""Exact limits as conditions of LanceDB: video, time, place in the frame, and what was measured.

No text of a user becomes SQL. Conditions are written here, from checked numbers, from names of our own tables
and from string literals that `quote` makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from tubelet.categories import PARENTS, list_wider
from tubelet.index.parsing.lexicon import CATEGORIES
from tubelet.index.query_checks import check_filter
from tubelet.index.sql import join_all, join_any, make_name_filter, quote
from tubelet.index.structured_query import Query, Region, SearchFilter, TimeWindow
from tubelet.records import Video

NOTHING = "false"


def make_filter(limits: SearchFilter) -> str | None:
    """The rows of `moments` that the limits let through, as LanceDB's SQL; None when all do.

    Raises QueryError for limits that cannot be meant.
    """
    check_filter(limits)
    parts: list[str | None] = [
        make_name_filter(column, names)
        for column, names in (
            ("video_id", limits.video_ids),
            ("uri", limits.uris),
            ("object_id", limits.object_ids),
            ("`size`", limits.sizes),
            ("turn", limits.turns),
            ("heading", limits.headings),
            ("label", list_labels(limits.labels)),
        )
        if names
    ]
    if limits.colours:
        parts.append(join_any(f"array_has(colours, {quote(name)})" for name in limits.colours))
    if limits.stopped is not None:
        parts.append("stopped" if limits.stopped else "NOT stopped")
    for expression, operator, number in (
        ("end_s", ">=", limits.start_s),
        ("start_s", "<", limits.end_s),
        ("(end_s - start_s)", ">=", limits.min_duration_s),
        ("speed", ">=", limits.min_speed),
        ("speed", "<=", limits.max_speed),
        ("score", ">=", limits.min_track_score),
    ):
        if number is not None:
            parts.append(f"{expression} {operator} {float(number)!r}")
    return join_all(parts)


def make_time_filter(time: TimeWindow, videos: Sequence[Video] | None = None) -> str | None:
    """Moments that touch the window; dates need the videos, and let through only those that have a date."""
    parts = [
        make_filter(SearchFilter(start_s=time.start_s or None, end_s=time.end_s))
        if time.end_s is None or time.end_s > time.start_s
        else NOTHING
    ]
    if time.last_s is not None:
        parts.append(f"end_s >= video_duration_s - {float(time.last_s)!r}")
    if time.since is not None or time.until is not None:
        assert videos is not None, "dates are limits on videos"
        parts.append(_limit_dates(time, videos))
    return join_all(parts)


def make_region_filter(region: Region) -> str | None:
    """Moments whose mean box has its centre in the region; None for what only whole paths can tell."""
    if region.how != "centre":
        return None
    x0, y0, x1, y1 = (float(side) for side in region.box)
    across, along = "(box_mean.x0 + box_mean.x1)", "(box_mean.y0 + box_mean.y1)"
    return (
        f"({across} >= {2 * x0!r} * frame_width AND {across} <= {2 * x1!r} * frame_width AND "
        f"{along} >= {2 * y0!r} * frame_height AND {along} <= {2 * y1!r} * frame_height)"
    )


def make_query_filter(query: Query, within: SearchFilter, videos: Sequence[Video] | None) -> str | None:
    """All exact limits of a query and of the call together."""
    return join_all(
        [
            make_filter(query.filters),
            make_filter(within),
            make_time_filter(query.time, videos) if query.time is not None else None,
            make_region_filter(query.region) if query.region is not None else None,
        ]
    )


def list_labels(categories: Iterable[str]) -> list[str]:
    """The labels that are these categories or kinds of them; a word such as automobile stands for car."""
    wanted = {CATEGORIES.get(name.lower(), name.lower()) for name in categories}
    return sorted(wanted | {label for label in PARENTS if not wanted.isdisjoint(list_wider(label))})


def _limit_dates(time: TimeWindow, videos: Sequence[Video]) -> str:
    """For each video with a date, the seconds of it that the dates cover."""
    whole: list[str] = []
    parts: list[str] = []
    for video in videos:
        recorded = read_recorded(video)
        if recorded is None:
            continue
        start_s = 0.0 if time.since is None else (_to_utc(time.since) - recorded).total_seconds()
        end_s = video.duration_s if time.until is None else (_to_utc(time.until) - recorded).total_seconds()
        if start_s <= 0 and end_s >= video.duration_s:
            whole.append(video.video_id)
        elif start_s < video.duration_s and end_s > 0:
            limits = SearchFilter(video_ids=(video.video_id,), start_s=max(0.0, start_s), end_s=end_s)
            parts.append(make_filter(limits) or "")
    if whole:
        parts.append(make_name_filter("video_id", whole))
    return join_any(parts) if parts else NOTHING


def read_recorded(video: Video) -> datetime | None:
    """When the video's first frame was recorded, in UTC, or None where nobody knows."""
    text = getattr(video, "recorded_at", "")
    return _to_utc(datetime.fromisoformat(text)) if text else None


def count_undated(videos: Sequence[Video]) -> int:
    """How many videos no date can find."""
    return sum(read_recorded(video) is None for video in videos)


def _to_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
