"""Pictures of objects: an annotated clip and a contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from tubelet.errors import InputError
from tubelet.model.frame import Frame, Image
from tubelet.records import Video
from tubelet.workers.drawing import BACKGROUND, DrawnObject, annotate, shrink_to, write_text
from tubelet.workers.evidence import encode_picture
from tubelet.workers.frames import Frames
from tubelet.workers.video_writer import VideoWriter

CLIP_SIZE_PX = 960
CLIP_MAX_FPS = 30.0
CLIP_LEAD_S = 1.0
TRAIL_OF_MANY_S = 5.0
SHEET_COLUMNS = 4
SHEET_TILE_PX = 320
SHEET_TITLE_PX = 28
SHEET_GAP_PX = 4


def write_clip(
    source: Path,
    video: Video,
    objects: Sequence[DrawnObject],
    out: Path,
    *,
    timeout_s: float,
    report_second: Callable[[float], None] = lambda _: None,
    window: tuple[float, float] | None = None,
    draw: bool = True,
) -> None:
    """Write the stretch of `source` that shows the objects, with masks, boxes, names and ways drawn in.

    Of several objects only the last seconds of their ways are drawn. `window` is another stretch, from a
    second to a second; without `draw` the pictures are left as they are. Raises InputError where no frame
    lies in it.
    """
    if window is None:
        window = min(item.path[0].t for item in objects), max(item.path[-1].t for item in objects)
        window = window[0] - CLIP_LEAD_S, window[1] + CLIP_LEAD_S
    start_s, end_s = max(0.0, window[0]), min(video.duration_s, window[1])
    rate = min(CLIP_MAX_FPS, max(1.0, video.frame_rate))
    with (
        Frames(source, video, sample_fps=rate, frame_size_px=CLIP_SIZE_PX, timeout_s=timeout_s) as frames,
        ExitStack() as opened,
    ):
        writer = None
        for frame in frames.read(start_s, end_s):
            picture = annotate(frame, objects, trail_s=_choose_trail(objects)) if draw else frame.image
            height, width = picture.shape[:2]
            if writer is None:  # the first frame tells the size
                place = VideoWriter(out, width=width, height=height, frame_rate=rate, preset="veryfast")
                writer = opened.enter_context(place)
            if draw:
                write_text(picture, f"{frame.time_s:.1f} s", (0, height))
            writer.write(picture)
            report_second(frame.time_s - start_s)
    if writer is None:
        raise InputError(
            f"There is no frame from {start_s:g} to {end_s:g} s",
            expected=f"a stretch of one frame or more, {1 / rate:.3f} s",
            do="choose a longer stretch inside the video",
        )


def write_contact_sheet(
    source: Path,
    video: Video,
    objects: Sequence[DrawnObject],
    out: Path,
    *,
    title: str,
    timeout_s: float,
) -> None:
    """Write a JPEG of frames spread over the objects' lives, in time order, with the objects drawn in."""
    times_s = sorted({point.t for item in objects for point in item.path})
    count = SHEET_COLUMNS * (2 if len(times_s) > SHEET_COLUMNS else 1)
    places = np.linspace(0, len(times_s) - 1, min(count, len(times_s))).round().astype(int)
    tiles = []
    with Frames(source, video, sample_fps=1000, frame_size_px=CLIP_SIZE_PX, timeout_s=timeout_s) as frames:
        for place in places:
            time_s = times_s[place]
            frame = read_frame(frames, time_s)
            if frame is not None:
                picture = annotate(frame, objects, trail_s=_choose_trail(objects))
                tile = shrink_to(picture, SHEET_TILE_PX)
                write_text(tile, f"{time_s:.1f} s", (0, tile.shape[0]))
                tiles.append(tile)
    out.write_bytes(encode_picture(_arrange(tiles, title)))


def read_frame(frames: Frames, time_s: float) -> Frame | None:
    """The frame of a path point, whose time is known to a millisecond; None where it does not decode."""
    return next(iter(frames.read(time_s - 1e-3, time_s + 1.0)), None)


def _choose_trail(objects: Sequence[DrawnObject]) -> float:
    return float("inf") if len(objects) == 1 else TRAIL_OF_MANY_S


def _arrange(tiles: Sequence[Image], title: str) -> Image:
    assert tiles, "an indexed object was seen at least once"
    height, width = (side + SHEET_GAP_PX for side in tiles[0].shape[:2])
    columns = min(SHEET_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((SHEET_TITLE_PX + rows * height, columns * width, 3), BACKGROUND, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = SHEET_TITLE_PX + place // columns * height, place % columns * width
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    write_text(sheet, title, (4, SHEET_TITLE_PX))
    return sheet
