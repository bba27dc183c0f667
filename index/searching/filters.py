"""Exact limits on moments: video, time, place in the frame, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tubelet.categories import PARENTS, list_wider
from tubelet.index.held_columns import HeldColumns
from tubelet.index.parsing.lexicon import CATEGORIES
from tubelet.index.query_checks import check_filter
from tubelet.index.searching.where import (
    NOTHING,
    Where,
    all_of,
    among,
    any_of,
    compare,
    holds_any,
    is_true,
    none_of,
)
from tubelet.index.structured_query import Query, Region, SearchFilter, TimeWindow
from tubelet.records import Video


def make_filter(limits: SearchFilter) -> Where | None:
    """The rows of `moments` that the limits let through; None when all do.

    Raises QueryError for limits that cannot be meant.
    """
    check_filter(limits)
    parts: list[Where | None] = [
        among(column, names)
        for column, names in (
            ("video_id", limits.video_ids),
            ("uri", limits.uris),
            ("object_id", limits.object_ids),
            ("size", limits.sizes),
            ("turn", limits.turns),
            ("heading", limits.headings),
            ("label", list_labels(limits.labels)),
        )
        if names
    ]
    if limits.colours:
        parts.append(holds_any("colours", limits.colours))
    if limits.stopped is not None:
        parts.append(is_true("stopped") if limits.stopped else none_of(is_true("stopped")))
    for column, sign, number in (
        ("end_s", ">=", limits.start_s),
        ("start_s", "<", limits.end_s),
        ("speed", ">=", limits.min_speed),
        ("speed", "<=", limits.max_speed),
        ("score", ">=", limits.min_track_score),
    ):
        if number is not None:
            parts.append(compare(column, sign, number))
    if limits.min_duration_s is not None:
        parts.append(
            compare(
                "(end_s - start_s)",
                ">=",
                limits.min_duration_s,
                lambda held: held.numbers("end_s") - held.numbers("start_s"),
            )
        )
    return all_of(parts)


def make_time_filter(time: TimeWindow, videos: Sequence[Video] | None = None) -> Where | None:
    """Moments that touch the window; dates need the videos, and let through only those that have a date."""
    parts = [
        make_filter(SearchFilter(start_s=time.start_s or None, end_s=time.end_s))
        if time.end_s is None or time.end_s > time.start_s
        else NOTHING
    ]
    if time.last_s is not None:
        last_s = float(time.last_s)
        parts.append(
            Where(
                f"end_s >= video_duration_s - {last_s!r}",
                lambda held: held.numbers("end_s") >= held.numbers("video_duration_s") - last_s,
            )
        )
    if time.since is not None or time.until is not None:
        assert videos is not None, "dates are limits on videos"
        parts.append(_limit_dates(time, videos))
    return all_of(parts)


def make_region_filter(region: Region) -> Where | None:
    """Moments whose mean box has its centre in the region; None for what only whole paths can tell."""
    if region.how != "centre":
        return None
    x0, y0, x1, y1 = (float(side) for side in region.box)
    return all_of([_limit_centre("x", "frame_width", x0, x1), _limit_centre("y", "frame_height", y0, y1)])


def _limit_centre(axis: str, extent: str, low: float, high: float) -> Where:
    first, second = f"box_mean.{axis}0", f"box_mean.{axis}1"
    across = f"({first} + {second})"

    def test(held: HeldColumns) -> NDArray[np.bool_]:
        twice, size = held.numbers(first) + held.numbers(second), held.numbers(extent)
        inside: NDArray[np.bool_] = (twice >= 2 * low * size) & (twice <= 2 * high * size)
        return inside

    return Where(f"{across} >= {2 * low!r} * {extent} AND {across} <= {2 * high!r} * {extent}", test)


def make_query_filter(query: Query, within: SearchFilter, videos: Sequence[Video] | None) -> Where | None:
    """All exact limits of a query and of the call together."""
    return all_of(
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


def _limit_dates(time: TimeWindow, videos: Sequence[Video]) -> Where:
    """For each video with a date, the seconds of it that the dates cover."""
    whole: list[str] = []
    parts: list[Where] = []
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
            parts.append(make_filter(limits) or NOTHING)
    if whole:
        parts.append(among("video_id", whole))
    return any_of(parts) if parts else NOTHING


def read_recorded(video: Video) -> datetime | None:
    """When the video's first frame was recorded, in UTC, or None where nobody knows."""
    text = getattr(video, "recorded_at", "")
    return _to_utc(datetime.fromisoformat(text)) if text else None


def count_undated(videos: Sequence[Video]) -> int:
    """How many videos no date can find."""
    return sum(read_recorded(video) is None for video in videos)


def _to_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
