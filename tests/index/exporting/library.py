"""A small index to export, and a made-up one of any length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from tests.index.factories import (
    MODELS,
    TEXT_DIMENSIONS,
    make_attributes,
    make_moment,
    make_motion,
    make_object,
    make_video,
)
from tubelet.index.exporting.format import ExportFile
from tubelet.index.exporting.registry import EXPORTERS
from tubelet.index.exporting.timelines import Timelines
from tubelet.index.store import IndexStore
from tubelet.records import IndexedObject, Moment, PathPoint, Video

NASTY = "A \"red\" <car> & a, b; --> 'c'\nturns 赤い车 🚗 =1+1"
RATE = 25.0
LONG_CAPTION = "It goes on and on. " * 200
SAMPLED = (0, 4, 8, 12, 17, 21, 25)
"""Frames of a 25 fps video that a grid of six a second falls on."""

STREET = make_video(
    "v1",
    uri="/videos/street & <night>.mp4",
    frame_rate=RATE,
    nominal_frame_rate=RATE,
    num_frames=100,
    duration_s=4.0,
    width=320,
    height=180,
)
YARD = make_video(
    "v2",
    uri="s3://bucket/yard.mp4",
    frame_rate=30000 / 1001,
    nominal_frame_rate=30000 / 1001,
    num_frames=60,
    duration_s=2.002,
)


def make_steps(*frames: int, rate: float = RATE, x: float = 20.0) -> tuple[PathPoint, ...]:
    """A 40 x 30 box that moves 2 px to the right a frame, seen on these frames."""
    return tuple(
        PathPoint(round(frame / rate, 3), x + 2 * frame, 50.5, x + 40 + 2 * frame, 80.5) for frame in frames
    )


def make_car() -> tuple[IndexedObject, list[Moment]]:
    """A red car in two moments, of which nothing is seen between frames 25 and 50."""
    first, second = make_steps(*SAMPLED), make_steps(50, 54, 58)
    moments = [
        make_moment(
            number,
            STREET,
            object_id="v1-car",
            path=path,
            start_s=path[0].t,
            end_s=path[-1].t,
            caption=caption,
            attributes=make_attributes("red", category="car"),
            motion=make_motion(turn="left", turn_deg=90.25, entry_side="left"),
        )
        for number, path, caption in ((1, first, NASTY), (2, second, "A red car stops."))
    ]
    return make_object(moments), moments


def make_unnamed() -> tuple[IndexedObject, list[Moment]]:
    """Something grey that is seen from frame 12 on until the last frame."""
    path = make_steps(12, 17, 21, 99, x=-10.0)
    moments = [make_moment(3, STREET, object_id="v1-thing", path=path, start_s=0.48, end_s=3.96, score=0.5)]
    return make_object(moments), moments


def make_dog() -> tuple[IndexedObject, list[Moment]]:
    """A dog of another video, seen once, whom only its caption names."""
    path = make_steps(30, rate=YARD.frame_rate)
    moments = [
        make_moment(
            1, YARD, object_id="v2-dog", path=path, start_s=1.001, end_s=1.001, caption="A dog sits down."
        )
    ]
    return make_object(moments), moments


def fill(path: Path) -> IndexStore:
    """An index of two videos with three objects."""
    store = IndexStore.open(path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    for video, parts in ((STREET, [make_car(), make_unnamed()]), (YARD, [make_dog()])):
        items = [item for item, _ in parts]
        store.replace_video(video, items, [moment for _, some in parts for moment in some], MODELS)
    return store


def read_files(timelines: Timelines, name: str) -> dict[str, bytes]:
    """All files of an export by name."""

    def join(file: ExportFile) -> bytes:
        return b"".join(piece.encode() if isinstance(piece, str) else piece for piece in file.pieces)

    return {file.name: join(file) for file in EXPORTERS[name].write(timelines)}


def read_text(timelines: Timelines, name: str) -> str:
    """The only file of an export, as text."""
    (content,) = read_files(timelines, name).values()
    return content.decode("utf-8")


class LongStore:
    """Looks like a store, and makes its objects up as they are asked for."""

    def __init__(self, num_objects: int) -> None:
        self.num_objects = num_objects
        self.num_read = 0

    def list_videos(self) -> list[Video]:
        return [STREET]

    def iterate_labelled_objects(
        self, video_id: str
    ) -> Iterator[tuple[IndexedObject, list[Moment], list[str]]]:
        for number in range(self.num_objects):
            self.num_read += 1
            start_s = 3 * number / self.num_objects
            path = tuple(
                PathPoint(round(start_s + step / 6, 3), 5.0 + step, 6.0, 25.0 + step, 26.0)
                for step in range(5)
            )
            times = {"start_s": path[0].t, "end_s": path[-1].t}
            caption = f"{number} {LONG_CAPTION}"
            moment = make_moment(number, STREET, path=path, caption=caption, text_vector=(), **times)
            yield make_object([moment]), [moment], ["car"]


def make_long(num_objects: int, **options: Any) -> tuple[LongStore, Timelines]:
    """So many objects, one after another."""
    store = LongStore(num_objects)
    return store, Timelines(cast(IndexStore, store), **options)
