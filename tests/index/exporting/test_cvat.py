"""CVAT for video: read by a parser that draws tracks the way CVAT's rules say."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.index.exporting.library import NASTY, SAMPLED, STREET, make_long, make_steps, read_files
from tests.index.factories import make_moment, make_object
from tubelet.index.exporting.cvat import write_cvat
from tubelet.index.exporting.timelines import Timelines

Sides = tuple[float, float, float, float]


@dataclass(frozen=True)
class Track:
    """A track of the file, and its boxes as a viewer draws them: frame by frame."""

    label: str
    attributes: dict[str, str]
    drawn: dict[int, Sides]
    captions: dict[int, str]


def parse_cvat(text: str) -> list[Track]:
    """Tracks as CVAT draws them: from key frame to key frame in a line, nothing from `outside` on.

    A track without a closing `outside` goes on to the end of the task.
    """
    root = ET.fromstring(text)
    assert root.tag == "annotations"
    assert root.findtext("version") == "1.1"
    task = root.find("meta/task")
    assert task is not None
    size = int(task.findtext("size") or 0)
    assert task.findtext("mode") == "interpolation"
    assert (task.findtext("start_frame"), task.findtext("stop_frame")) == ("0", str(size - 1))
    labels = {label.findtext("name"): label for label in task.findall("labels/label")}
    tracks = []
    for number, element in enumerate(root.findall("track")):
        assert element.get("id") == str(number)
        declared = {
            each.findtext("name") for each in labels[element.get("label")].findall("attributes/attribute")
        }
        keys: list[tuple[int, bool, Sides]] = []
        captions, attributes = {}, {}
        for box in element.findall("box"):
            frame = int(box.get("frame") or -1)
            assert 0 <= frame < size
            assert not keys or keys[-1][0] < frame
            assert box.get("occluded") in ("0", "1")
            attributes = {each.get("name") or "": each.text or "" for each in box.findall("attribute")}
            assert set(attributes) == declared
            captions[frame] = attributes.pop("caption")
            if box.get("keyframe") == "1":
                xtl, ytl, xbr, ybr = (float(box.get(name) or "nan") for name in ("xtl", "ytl", "xbr", "ybr"))
                keys.append((frame, box.get("outside") == "1", (xtl, ytl, xbr, ybr)))
        tracks.append(Track(element.get("label") or "", attributes, draw(keys, size), captions))
    return tracks


def draw(keys: list[tuple[int, bool, Sides]], size: int) -> dict[int, Sides]:
    drawn: dict[int, Sides] = {}
    for (frame, outside, sides), (until, closed, there) in pairwise([*keys, (size, True, keys[-1][2])]):
        for between in range(frame, until):
            share = 0 if closed else (between - frame) / (until - frame)
            if not outside:
                x0, y0, x1, y1 = (a + (b - a) * share for a, b in zip(sides, there, strict=True))
                drawn[between] = (x0, y0, x1, y1)
    return drawn


def test_an_object_is_drawn_where_it_was_seen_and_nowhere_else(timelines: Timelines) -> None:
    files = read_files(timelines, "cvat")
    assert list(files) == ["street_night-v1.xml", "yard-v2.xml"]
    car, thing = parse_cvat(files["street_night-v1.xml"].decode())
    assert (car.label, thing.label) == ("car", "object")
    assert list(car.drawn) == [*range(26), *range(50, 59)]
    for frame, sides in car.drawn.items():
        assert sides == (20 + 2 * frame, 50.5, 60 + 2 * frame, 80.5)
    assert list(thing.drawn) == [*range(12, 22), 99]  # the last frame needs no frame after it
    (dog,) = parse_cvat(files["yard-v2.xml"].decode())
    assert list(dog.drawn) == [30]


def test_ids_and_captions_come_along(timelines: Timelines) -> None:
    car, thing = parse_cvat(read_files(timelines, "cvat")["street_night-v1.xml"].decode())
    assert (car.attributes, thing.attributes) == ({"object_id": "v1-car"}, {"object_id": "v1-thing"})
    assert {car.captions[frame] for frame in SAMPLED} == {NASTY}
    assert car.captions[50] == car.captions[58] == "A red car stops."


@given(st.sets(st.integers(0, 99), min_size=1, max_size=30), st.text(max_size=20), st.booleans())
def test_any_path_and_words_are_drawn_as_measured(numbers: set[int], words: str, every_frame: bool) -> None:
    path = make_steps(*sorted(numbers))
    moment = make_moment(1, STREET, path=path, start_s=path[0].t, end_s=path[-1].t, caption=words)

    class Store:
        def list_videos(self) -> list[object]:
            return [STREET]

        def iterate_labelled_objects(self, video_id: str) -> object:
            yield make_object([moment]), [moment], [words]

    timelines = Timelines(Store(), every_frame=every_frame)  # type: ignore[arg-type]
    (track,) = parse_cvat("".join(write_cvat(timelines, STREET)))
    assert numbers <= set(track.drawn)
    for frame in numbers:
        assert track.drawn[frame] == (20 + 2 * frame, 50.5, 60 + 2 * frame, 80.5)
    last = max(numbers)
    assert max(track.drawn) == last


def test_tracks_are_written_as_objects_come() -> None:
    store, timelines = make_long(500)
    text = write_cvat(timelines, STREET)
    while "<track" not in next(text):
        pass
    assert store.num_read == 500 + 1  # labels take a pass of their own
