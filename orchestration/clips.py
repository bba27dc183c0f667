"""Objects of the index as moving pictures: their masks, their source, and a clip of a stretch of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tubelet.errors import InputError
from tubelet.orchestration.masks_store import read_masks
from tubelet.orchestration.resources import make_s3_options
from tubelet.records import IndexedObject, Moment, Rle, Video
from tubelet.settings import Settings
from tubelet.workers.drawing import DrawnObject, choose_colour
from tubelet.workers.reopen import reopen_source
from tubelet.workers.show import CLIP_LEAD_S, write_clip
from tubelet.workers.source import localise

Shown = tuple[IndexedObject, list[Moment]]

MAX_CLIP_S = 120.0


def prepare_drawing(shown: Sequence[Shown], video_id: str, settings: Settings) -> list[DrawnObject]:
    """The objects of one video with their masks, each in a colour of its own."""
    masks: dict[str, list[tuple[float, Rle]]] = {item.object_id: [] for item, _ in shown}
    for object_id, time_s, mask in read_masks(settings, video_id, masks.keys()):
        masks[object_id].append((time_s, mask))
    return [
        DrawnObject(item.object_id, item.path, masks[item.object_id], choose_colour(place))
        for place, (item, _) in enumerate(shown)
    ]


@contextmanager
def open_source(video: Video, settings: Settings) -> Iterator[Path]:
    """A local file with the content that was indexed. Raises SourceError where there is none."""
    s3 = make_s3_options(settings)
    with (
        tempfile.TemporaryDirectory(prefix="tubelet-show-") as temporary,
        localise(reopen_source(video, s3=s3), Path(temporary), s3=s3) as source,
    ):
        yield source


def choose_window(item: IndexedObject, start_s: float | None, end_s: float | None) -> tuple[float, float]:
    """The stretch of a clip of an object: what is asked for, or its whole life and a little before and after.

    Without an end it is cut at MAX_CLIP_S. Raises InputError for a stretch that is none, or longer.
    """
    first = max(0.0, item.start_s - CLIP_LEAD_S) if start_s is None else start_s
    last = min(item.end_s + CLIP_LEAD_S, first + MAX_CLIP_S) if end_s is None else end_s
    if not 0 <= first < last or last - first > MAX_CLIP_S:
        raise InputError(
            f"The clip is to reach from {first:g} to {last:g} s",
            expected=f"an end after the start, and at most {MAX_CLIP_S:g} s between them",
            do="ask for a shorter stretch",
        )
    return first, last


def write_object_clip(
    item: IndexedObject,
    video: Video,
    out: Path,
    *,
    window: tuple[float, float],
    annotated: bool,
    settings: Settings,
) -> None:
    """Write a stretch of an object's video as MP4, with the object drawn in or clean. Raises SourceError."""
    if window[0] >= video.duration_s:
        raise InputError(
            f"The clip is to start at {window[0]:g} s, and the video ends at {video.duration_s:.2f} s",
            expected="a start inside the video",
            do="choose an earlier start",
        )
    drawn = prepare_drawing([(item, [])], video.video_id, settings) if annotated else []
    with open_source(video, settings) as source:
        write_clip(
            source, video, drawn, out, timeout_s=settings.decode_timeout_s, window=window, draw=annotated
        )
