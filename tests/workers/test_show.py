"""Clips, sheets and grids of a small film whose objects are known."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tubelet.model.masks import encode_mask
from tubelet.records import Box, PathPoint, Source, Video
from tubelet.workers.drawing import BACKGROUND, DrawnObject
from tubelet.workers.evidence import encode_picture
from tubelet.workers.grid import (
    COLUMNS,
    GAP_PX,
    ROWS,
    TILE_HEIGHT_PX,
    TILE_WIDTH_PX,
    choose_time,
    cut_tiles,
    make_lines,
    make_thumbnail_tile,
    write_pages,
)
from tubelet.workers.probe import probe_video
from tubelet.workers.show import write_clip, write_contact_sheet
from tubelet.workers.video_writer import VideoWriter

RATE, NUM_FRAMES, WIDTH, HEIGHT = 10, 20, 320, 180
RED, BLUE = (220, 30, 30), (30, 30, 220)


def place_box(index: int, top: int) -> Box:
    return Box(10 + 12 * index, top, 50 + 12 * index, top + 30)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Video]:
    """A red and a blue rectangle that drive right, one above the other."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with VideoWriter(path, width=WIDTH, height=HEIGHT, frame_rate=RATE, quality=10) as writer:
        for index in range(NUM_FRAMES):
            picture = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
            for top, colour in ((30, RED), (110, BLUE)):
                x0, y0, x1, y1 = (int(side) for side in place_box(index, top))
                picture[y0:y1, x0:x1] = colour
            writer.write(picture)
    return path, probe_video(path, Source(str(path), "blake2b:film", path.stat().st_size), timeout_s=30)


def draw_object(top: int, label: str, rgb: tuple[int, int, int]) -> DrawnObject:
    path, masks = [], []
    for index in range(0, NUM_FRAMES, 2):
        box = place_box(index, top)
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
        path.append(PathPoint(round(index / RATE, 3), *box))
        masks.append((index / RATE, encode_mask(mask)))
    return DrawnObject(label, path, masks, rgb)


@pytest.fixture
def both() -> list[DrawnObject]:
    return [draw_object(30, "o-red", (0, 255, 0)), draw_object(110, "o-blue", (255, 255, 0))]


def test_the_clip_shows_every_object(
    film: tuple[Path, Video], both: list[DrawnObject], tmp_path: Path
) -> None:
    out = tmp_path / "clip.mp4"
    heard: list[float] = []
    write_clip(*film, both, out, timeout_s=30, report_second=heard.append)
    with av.open(str(out)) as clip:
        pictures = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    assert len(pictures) == len(heard) == NUM_FRAMES
    for index in (5, 12):  # one between two masks, one on a mask
        means = []
        for top in (30, 110):
            x0, y0, x1, y1 = (int(side) for side in place_box(index, top))
            means.append(pictures[index][y0 + 8 : y1 - 8, x0 + 24 : x1 - 4].mean((0, 1)))
        (red, green, _), (yellow, _, blue) = means
        assert red > 150, "the red one"
        assert green > 45, "with green over it"
        assert blue > 150, "the blue one"
        assert yellow > 45, "with yellow over it"


def test_the_sheet_has_a_tile_for_each_of_eight_times(
    film: tuple[Path, Video], both: list[DrawnObject], tmp_path: Path
) -> None:
    out = tmp_path / "sheet.jpg"
    write_contact_sheet(*film, both[:1], out, title="o-red  a red thing", timeout_s=30)
    sheet = cv2.imread(str(out))
    assert sheet is not None
    tiles = [
        sheet[28 + 184 * row : 28 + 184 * row + 180, 324 * column : 324 * column + 320]
        for row in range(2)
        for column in range(4)
    ]
    places = []
    for tile in tiles:
        red = (tile[..., 2].astype(int) - tile[..., 0] > 90) & (tile[..., 2] > 130)
        places.append(float(np.nonzero(red)[1].mean()))
    assert places == sorted(places), "in time order"
    assert places[-1] - places[0] > 150


def test_a_tile_is_close_up_with_the_mask_on_the_object(
    film: tuple[Path, Video], both: list[DrawnObject]
) -> None:
    red, blue = cut_tiles(*film, [(both[0], "A red thing"), (both[1], "A blue thing")], timeout_s=30)
    assert red.picture.shape == blue.picture.shape == (TILE_HEIGHT_PX, TILE_WIDTH_PX, 3)
    for tile, channel in ((red, 0), (blue, 2)):
        own = tile.picture[..., channel].astype(int) - tile.picture[..., 2 - channel] > 60
        assert 0.08 < own.mean() < 0.4, "large, and with its surroundings"
    assert red.lines == ("o-red", "0.0 - 1.8 s", "A red thing")


def test_the_time_of_a_tile_is_when_the_object_is_whole_and_large(film: tuple[Path, Video]) -> None:
    _, video = film
    path = [
        PathPoint(0.0, 0, 50, 90, 120),
        PathPoint(0.5, 60, 50, 120, 100),
        PathPoint(1.0, 100, 50, 170, 110),
        PathPoint(1.5, 200, 20, 320, 180),
    ]
    assert choose_time(path, video) == 1.0
    assert choose_time(path[:1] + path[-1:], video) == 1.5


def test_pages_hold_all_tiles_in_order(both: list[DrawnObject], tmp_path: Path) -> None:
    num = COLUMNS * ROWS + 2
    thumbnail = encode_picture(np.full((60, 120, 3), 200, np.uint8))
    tiles = (make_thumbnail_tile(both[0], f"thing {place}", thumbnail) for place in range(num))
    pages = write_pages(tiles, tmp_path / "deep", "grid")
    assert [page.name for page in pages] == ["grid-1.jpg", "grid-2.jpg"]
    first, second = (cv2.imread(str(page)) for page in pages)
    assert first is not None
    assert second is not None
    assert first.shape[1] == COLUMNS * (TILE_WIDTH_PX + GAP_PX) + GAP_PX
    assert second.shape[1] == 2 * (TILE_WIDTH_PX + GAP_PX) + GAP_PX
    centre = first[GAP_PX + TILE_HEIGHT_PX // 2, GAP_PX + TILE_WIDTH_PX // 2]
    assert (np.abs(centre.astype(int) - 200) < 8).all(), "the thumbnail"
    assert (np.abs(first[GAP_PX + 4, GAP_PX + 4].astype(int) - BACKGROUND) < 8).all(), "in its own shape"


def test_long_captions_are_cut(both: list[DrawnObject]) -> None:
    lines = make_lines(both[0], "word " * 60)
    assert len(lines) == 4
    assert lines[-1].endswith("...")
    assert make_lines(both[0], "") == ("o-red", "0.0 - 1.8 s")
