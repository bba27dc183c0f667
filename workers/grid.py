"""Pages of many objects: a tile each, close up, with the object's id and what is said of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from tubelet.model.frame import Frame, Image
from tubelet.model.masks import encode_mask
from tubelet.records import Box, PathPoint, Video
from tubelet.workers.drawing import (
    BACKGROUND,
    DrawnObject,
    annotate,
    find_mask,
    interpolate_box,
    write_text,
)
from tubelet.workers.evidence import decode_picture, encode_picture
from tubelet.workers.frames import Frames
from tubelet.workers.show import read_frame

COLUMNS, ROWS = 6, 4
TILE_WIDTH_PX, TILE_HEIGHT_PX = 256, 192
TEXT_LINES, TEXT_LINE_PX, TEXT_SCALE, TEXT_CHARACTERS = 4, 15, 0.36, 52
GAP_PX = 6
READ_SIZE_PX = 1920
CONTEXT = 2.5
"""A tile shows this many times the object's size, and at least a quarter of the frame."""

MIN_FRAME_SHARE = 0.25
BORDER_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Tile:
    """One object of a page: its picture, TILE_HEIGHT_PX x TILE_WIDTH_PX, and the words below it."""

    picture: Image
    lines: tuple[str, ...]


def cut_tiles(
    source: Path, video: Video, objects: Sequence[tuple[DrawnObject, str]], *, timeout_s: float
) -> Iterator[Tile]:
    """A tile for each object of one video, from the frame on which it shows best; with its caption."""
    with Frames(source, video, sample_fps=1000, frame_size_px=READ_SIZE_PX, timeout_s=timeout_s) as frames:
        for item, caption in objects:
            time_s = choose_time(item.path, video)
            frame = read_frame(frames, time_s)
            blank = np.full((TILE_HEIGHT_PX, TILE_WIDTH_PX, 3), BACKGROUND, np.uint8)
            picture = blank if frame is None else _cut_out(frame, item)
            write_text(picture, f"{time_s:.1f} s", (0, TILE_HEIGHT_PX), scale=0.4)
            yield Tile(picture, make_lines(item, caption))


def make_thumbnail_tile(item: DrawnObject, caption: str, thumbnail: bytes) -> Tile:
    """A tile from the picture that the index keeps, for videos that cannot be opened."""
    tile = np.full((TILE_HEIGHT_PX, TILE_WIDTH_PX, 3), BACKGROUND, np.uint8)
    if thumbnail:
        picture = decode_picture(thumbnail)
        scale = min(TILE_WIDTH_PX / picture.shape[1], TILE_HEIGHT_PX / picture.shape[0])
        width, height = (max(1, round(side * scale)) for side in (picture.shape[1], picture.shape[0]))
        top, left = (TILE_HEIGHT_PX - height) // 2, (TILE_WIDTH_PX - width) // 2
        tile[top : top + height, left : left + width] = cv2.resize(
            picture, (width, height), interpolation=cv2.INTER_AREA
        )
    return Tile(tile, make_lines(item, caption))


def make_lines(item: DrawnObject, caption: str) -> tuple[str, ...]:
    """What is written below a tile: the object's label, when it is seen, and its caption."""
    seen = f"{item.path[0].t:.1f} - {item.path[-1].t:.1f} s"
    told = textwrap.wrap(caption, TEXT_CHARACTERS, max_lines=TEXT_LINES - 2, placeholder=" ...")
    return item.label, seen, *told


def choose_time(path: Sequence[PathPoint], video: Video) -> float:
    """When the object shows best: largest among the times when it is whole, or at all where it never is."""
    margin_x, margin_y = BORDER_SHARE * video.width, BORDER_SHARE * video.height
    whole = [
        point
        for point in path
        if point.x0 > margin_x
        and point.y0 > margin_y
        and point.x1 < video.width - margin_x
        and point.y1 < video.height - margin_y
    ]
    return max(whole or path, key=lambda point: Box(*point[1:]).area).t


def write_pages(tiles: Iterable[Tile], folder: Path, name: str) -> list[Path]:
    """Write the tiles as JPEG pages NAME-1.jpg, NAME-2.jpg, ..., a page at a time; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    remaining = iter(tiles)
    pages: list[Path] = []
    while page := list(islice(remaining, COLUMNS * ROWS)):
        path = folder / f"{name}-{len(pages) + 1}.jpg"
        path.write_bytes(encode_picture(_arrange(page)))
        pages.append(path)
    return pages


def _cut_out(frame: Frame, item: DrawnObject) -> Image:
    """The object with its surroundings, drawn after enlarging so that lines stay thin.

    The mask is outlined only, because a tile is looked at for the object's colours.
    """
    box = interpolate_box(item.path, frame.time_s) or Box(*item.path[0][1:])
    left, top, width, height = _choose_window(frame, box)
    inside = np.s_[top : top + height, left : left + width]
    tile = cv2.resize(
        frame.image[inside],
        (TILE_WIDTH_PX, TILE_HEIGHT_PX),
        interpolation=cv2.INTER_AREA if width > TILE_WIDTH_PX else cv2.INTER_CUBIC,
    ).astype(np.uint8)
    part = Frame(frame.time_s, tile, round(width * frame.scale_x), round(height * frame.scale_y))
    x, y = left * frame.scale_x, top * frame.scale_y
    mask = find_mask(item, frame, box)
    moved = DrawnObject(
        "",
        [PathPoint(point.t, point.x0 - x, point.y0 - y, point.x1 - x, point.y1 - y) for point in item.path],
        [(frame.time_s, encode_mask(mask[inside]))] if mask is not None else (),
        item.rgb,
    )
    return annotate(part, [moved], opacity=0.0)


def _choose_window(frame: Frame, box: Box) -> tuple[int, int, int, int]:
    """Left, top, width and height of a tile's window in the frame's picture, as near its shape as fits."""
    picture_height, picture_width = frame.image.shape[:2]
    shape = TILE_WIDTH_PX / TILE_HEIGHT_PX
    x0, y0, x1, y1 = (
        side / scale for side, scale in zip(box, (frame.scale_x, frame.scale_y) * 2, strict=True)
    )
    width = max(CONTEXT * (x1 - x0), CONTEXT * (y1 - y0) * shape, MIN_FRAME_SHARE * picture_width)
    width = min(width, picture_width, picture_height * shape)
    height = width / shape
    left = min(max(0.0, (x0 + x1 - width) / 2), picture_width - width)
    top = min(max(0.0, (y0 + y1 - height) / 2), picture_height - height)
    return round(left), round(top), max(1, int(width)), max(1, int(height))


def _arrange(tiles: Sequence[Tile]) -> Image:
    """Tiles in rows, with their lines of text below; a page that is not full is cut to what it holds."""
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    height, width = TILE_HEIGHT_PX + TEXT_LINES * TEXT_LINE_PX + 2 * GAP_PX, TILE_WIDTH_PX + GAP_PX
    page = np.full((rows * height + GAP_PX, columns * width + GAP_PX, 3), BACKGROUND, np.uint8)
    for place, tile in enumerate(tiles):
        top, left = GAP_PX + place // columns * height, GAP_PX + place % columns * width
        page[top : top + TILE_HEIGHT_PX, left : left + TILE_WIDTH_PX] = tile.picture
        for number, line in enumerate(tile.lines):
            at = (left + 2, top + TILE_HEIGHT_PX + (number + 1) * TEXT_LINE_PX)
            brightness = 255 if number == 0 else 200
            cv2.putText(
                page, line, at, cv2.FONT_HERSHEY_SIMPLEX, TEXT_SCALE, (brightness,) * 3, 1, cv2.LINE_AA
            )
    return page
