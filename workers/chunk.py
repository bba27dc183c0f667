"""Cut a video's time into chunks: the unit of work, retry and resume."""

from __future__ import annotations

from tubelet.records import Chunk, Video

_MIN_LAST_SHARE = 0.25
"""A last chunk shorter than this share of a whole one is joined to the one before."""


def plan_chunks(video: Video, *, chunk_s: float, margin_s: float) -> tuple[Chunk, ...]:
    """Windows of `chunk_s` that cover [0, duration] without gap or overlap, each read `margin_s` further.

    Reads end at the video's ends. The same video and lengths always give the same chunks and ids.
    """
    assert chunk_s > 0, chunk_s
    assert margin_s >= 0, margin_s
    num_chunks = max(1, int(video.duration_s // chunk_s))
    if video.duration_s - num_chunks * chunk_s >= _MIN_LAST_SHARE * chunk_s:
        num_chunks += 1
    starts_s = [number * chunk_s for number in range(num_chunks)]
    ends_s = [*starts_s[1:], video.duration_s]
    return tuple(
        Chunk(
            chunk_id=f"{video.video_id}-{number:05d}-{_to_ms(start_s)}-{_to_ms(end_s)}-{_to_ms(margin_s)}",
            video_id=video.video_id,
            index=number,
            start_s=start_s,
            end_s=end_s,
            read_start_s=max(0.0, start_s - margin_s),
            read_end_s=min(video.duration_s, end_s + margin_s),
        )
        for number, (start_s, end_s) in enumerate(zip(starts_s, ends_s, strict=True))
    )


def _to_ms(time_s: float) -> int:
    return round(time_s * 1000)
