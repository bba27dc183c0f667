"""Pictures of one object: an annotated clip and a contact sheet."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from tubelet.model.frame import Frame, Image
from tubelet.records import Box, PathPoint, Video
from tubelet.workers.evidence import encode_picture
from tubelet.workers.frames import Frames
from tubelet.workers.video_writer import VideoWriter

CLIP_SIZE_PX = 960
CLIP_MAX_FPS = 30.0
CLIP_LEAD_S = 1.0
SHEET_COLUMNS = 4
SHEET_TILE_PX = 320
SHEET_TITLE_PX = 28
SHEET_GAP_PX = 4
BACKGROUND = 24
MAX_GAP_S = 1.0
"""Between two path points further apart than this the object was not seen, and no box is drawn."""

BOX_RGB = (255, 64, 32)
PATH_RGB = (255, 208, 0)


def write_clip(
    source: Path,
    video: Video,
    path: Sequence[PathPoint],
    out: Path,
    *,
    label: str,
    timeout_s: float,
    report_second: Callable[[float], None] = lambda _: None,
) -> None:
    """Write the stretch of `source` that shows the object, its box and the way it went drawn in."""
    start_s = max(0.0, path[0].t - CLIP_LEAD_S)
    end_s = min(video.duration_s, path[-1].t + CLIP_LEAD_S)
    rate = min(CLIP_MAX_FPS, max(1.0, video.frame_rate))
    with (
        Frames(source, video, sample_fps=rate, frame_size_px=CLIP_SIZE_PX, timeout_s=timeout_s) as frames,
        ExitStack() as opened,
    ):
        writer = None
        for frame in frames.read(start_s, end_s):
            picture = annotate(frame, path)
            height, width = picture.shape[:2]
            if writer is None:  # the first frame tells the size
                writer = opened.enter_context(VideoWriter(out, width=width, height=height, frame_rate=rate))
            _write_text(picture, label, (0, height))
            writer.write(picture)
            report_second(frame.time_s - start_s)


def write_contact_sheet(
    source: Path, video: Video, path: Sequence[PathPoint], out: Path, *, label: str, timeout_s: float
) -> None:
    """Write a JPEG of frames spread over the object's life, in time order, with its box on each."""
    count = SHEET_COLUMNS * (2 if len(path) > SHEET_COLUMNS else 1)
    places = np.linspace(0, len(path) - 1, min(count, len(path))).round().astype(int)
    tiles = []
    with Frames(source, video, sample_fps=1000, frame_size_px=CLIP_SIZE_PX, timeout_s=timeout_s) as frames:
        for place in places:
            time_s = path[place].t
            frame = next(iter(frames.read(time_s, min(time_s + 1.0, video.duration_s))), None)
            if frame is not None:
                tile = _shrink_to(annotate(frame, path), SHEET_TILE_PX)
                _write_text(tile, f"{time_s:.1f} s", (0, tile.shape[0]))
                tiles.append(tile)
    out.write_bytes(encode_picture(_arrange(tiles, label)))


def annotate(frame: Frame, path: Sequence[PathPoint]) -> Image:
    """A copy of the frame's picture with the box at its time and the path so far drawn in."""
    picture = frame.image.copy()
    scale = np.array([frame.scale_x, frame.scale_y])
    so_far = [Box(*point[1:]).centre for point in path if point.t <= frame.time_s]
    if len(so_far) > 1:
        points = (np.array(so_far) / scale).round().astype(np.int32)
        cv2.polylines(picture, [points.reshape(-1, 1, 2)], False, PATH_RGB, 2, cv2.LINE_AA)
    box = interpolate_box(path, frame.time_s)
    if box is not None:
        x0, y0 = (np.array(box[:2]) / scale).round().astype(int).tolist()
        x1, y1 = (np.array(box[2:]) / scale).round().astype(int).tolist()
        cv2.rectangle(picture, (x0, y0), (x1, y1), BOX_RGB, 2, cv2.LINE_AA)
    return picture


def interpolate_box(path: Sequence[PathPoint], time_s: float) -> Box | None:
    """The box at a time between two path points, linearly; None outside the path and in long gaps."""
    place = bisect_right(path, time_s, key=lambda point: point.t)
    if place == 0:
        return None
    before = path[place - 1]
    if place == len(path):
        return Box(*before[1:]) if time_s - before.t < 1e-6 else None
    after = path[place]
    if after.t - before.t > MAX_GAP_S:
        return None
    share = (time_s - before.t) / (after.t - before.t)
    return Box(*(a + share * (b - a) for a, b in zip(before[1:], after[1:], strict=True)))


def _shrink_to(picture: Image, width_px: int) -> Image:
    height = max(1, round(picture.shape[0] * width_px / picture.shape[1]))
    return cv2.resize(picture, (width_px, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _arrange(tiles: Sequence[Image], label: str) -> Image:
    assert tiles, "an indexed object was seen at least once"
    height, width = (side + SHEET_GAP_PX for side in tiles[0].shape[:2])
    columns = min(SHEET_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((SHEET_TITLE_PX + rows * height, columns * width, 3), BACKGROUND, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = SHEET_TITLE_PX + place // columns * height, place % columns * width
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    _write_text(sheet, label, (4, SHEET_TITLE_PX))
    return sheet


def _write_text(picture: Image, text: str, corner: tuple[int, int]) -> None:
    """Write on a dark strip whose lower left corner is given."""
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    left, bottom = corner
    top = bottom - height - below - 6
    cv2.rectangle(picture, (left, top), (left + width + 8, bottom), (BACKGROUND,) * 3, cv2.FILLED)
    at = (left + 4, bottom - below - 3)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
