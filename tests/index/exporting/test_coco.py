"""COCO-VID and YouTube-VIS: read by pycocotools, with stored masks and with masks from boxes."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from tests.index.exporting.library import SAMPLED, STREET, YARD, make_car, read_text
from tests.index.factories import make_video
from tubelet.index.exporting.coco_masks import rasterise_box
from tubelet.index.exporting.timelines import Timelines
from tubelet.index.store import IndexStore
from tubelet.model.masks import decode_mask, encode_mask, resize_mask
from tubelet.records import Box, Rle


def read_disc(video_id: str, object_ids: Collection[str]) -> Iterator[tuple[str, float, Rle]]:
    """Discs on a half-size grid for the car's first frames; no masks for the rest."""
    if "v1-car" in object_ids:
        for point in make_car()[0].path[:3]:
            rows, columns = np.mgrid[:90, :160]
            disc = (columns - (point.x0 + 20) / 2) ** 2 + (rows - 33) ** 2 < 36
            yield "v1-car", point.t, encode_mask(disc)


@pytest.fixture
def masked(store: IndexStore) -> Timelines:
    return Timelines(store, read_masks=read_disc, resize_mask=resize_mask)


def load_coco(text: str, folder: Path) -> COCO:
    (folder / "coco.json").write_text(text)
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(folder / "coco.json")


def test_coco_vid_is_read_by_pycocotools(masked: Timelines, tmp_path: Path) -> None:
    data = load_coco(read_text(masked, "coco-vid"), tmp_path)
    videos = {video["id"]: video for video in data.dataset["videos"]}
    assert [(video["video_id"], video["num_frames"]) for video in videos.values()] == [
        ("v1", 100),
        ("v2", 60),
    ]
    car = [data.anns[key] for key in data.getAnnIds() if data.anns[key]["object_id"] == "v1-car"]
    frames = [data.imgs[annotation["image_id"]]["frame_id"] for annotation in car]
    assert frames == [*SAMPLED, 50, 54, 58]
    assert len({annotation["instance_id"] for annotation in car}) == 1
    assert len({annotation["instance_id"] for annotation in data.anns.values()}) == 3
    assert [annotation["bbox"] for annotation in car] == [[20 + 2 * f, 50.5, 40, 30] for f in frames]
    names = {data.cats[annotation["category_id"]]["name"] for annotation in data.anns.values()}
    assert names == {"car", "object", "dog"}
    assert [annotation["mask_source"] for annotation in car] == ["mask"] * 3 + ["box"] * 7


def test_masks_lie_over_the_whole_frame(masked: Timelines, tmp_path: Path) -> None:
    data = load_coco(read_text(masked, "coco-vid"), tmp_path)
    car = [data.anns[key] for key in data.getAnnIds() if data.anns[key]["object_id"] == "v1-car"]
    disc, box = data.annToMask(car[0]), data.annToMask(car[5])
    assert disc.shape == box.shape == (STREET.height, STREET.width)
    assert disc.sum() == car[0]["area"] == pytest.approx(np.pi * 12**2, rel=0.05)
    rows, columns = np.nonzero(disc)
    assert (columns.mean(), rows.mean()) == pytest.approx((40, 66), abs=1.5)
    x = 20 + 2 * SAMPLED[5]
    assert box[50:80, x : x + 40].all()
    assert box.sum() == 40 * 30 == car[5]["area"]
    thing = next(each for each in data.anns.values() if each["object_id"] == "v1-thing")
    assert data.annToMask(thing).sum() == thing["area"] == 40 * 30


def test_images_are_the_frames_with_objects_and_ids_are_unique(masked: Timelines, tmp_path: Path) -> None:
    data = load_coco(read_text(masked, "coco-vid"), tmp_path)
    images = data.dataset["images"]
    assert len({image["id"] for image in images}) == len(images)
    first = [image["frame_id"] for image in images if image["video_id"] == 1]
    assert first == sorted({*SAMPLED, 50, 54, 58, 99})
    assert images[0]["file_name"] == "street_night-v1/000000.jpg"
    assert {annotation["image_id"] for annotation in data.anns.values()} == set(data.imgs)


def parse_youtube_vis(text: str) -> dict[str, Any]:
    """A document by the rules of YouTube-VIS: lists as long as the video's file names, sizes of masks."""
    document: dict[str, Any] = json.loads(text)
    videos = {video["id"]: video for video in document["videos"]}
    categories = {category["id"] for category in document["categories"]}
    assert len(videos) == len(document["videos"])
    for video in videos.values():
        assert video["length"] == len(video["file_names"]) == len(video["frame_ids"])
    for annotation in document["annotations"]:
        video = videos[annotation["video_id"]]
        assert annotation["category_id"] in categories
        assert annotation["iscrowd"] == 0
        lists = [annotation[name] for name in ("segmentations", "bboxes", "areas", "mask_sources")]
        assert [len(values) for values in lists] == [video["length"]] * 4
        for segmentation, bbox, area, _ in zip(*lists, strict=True):
            assert (segmentation is None) == (bbox is None) == (area is None)
            if segmentation is not None:
                assert segmentation["size"] == [video["height"], video["width"]]
                assert coco_mask.area(segmentation) == area
    return document


def test_youtube_vis_goes_along_with_the_frames(masked: Timelines) -> None:
    document = parse_youtube_vis(read_text(masked, "youtube-vis"))
    street, yard = document["videos"]
    assert street["frame_ids"] == sorted({*SAMPLED, 50, 54, 58, 99})
    assert yard["file_names"] == ["yard-v2/000030.jpg"]
    car = document["annotations"][0]
    seen = [frame for frame, box in zip(street["frame_ids"], car["bboxes"], strict=True) if box]
    assert seen == [*SAMPLED, 50, 54, 58]
    assert car["mask_sources"][:4] == ["mask", "mask", "mask", "box"]
    mask = coco_mask.decode(car["segmentations"][0])
    assert mask.sum() == pytest.approx(np.pi * 12**2, rel=0.05)
    assert [annotation["object_id"] for annotation in document["annotations"]] == [
        "v1-car",
        "v1-thing",
        "v2-dog",
    ]


def test_without_masks_boxes_stand_in_and_it_says_so(timelines: Timelines) -> None:
    document = json.loads(read_text(timelines, "coco-vid"))
    assert {annotation["mask_source"] for annotation in document["annotations"]} == {"box"}
    assert document["annotations"][-1]["segmentation"]["size"] == [YARD.height, YARD.width]


@given(st.integers(1, 40), st.integers(1, 30), st.lists(st.floats(-50, 90, width=32), min_size=4, max_size=4))
def test_a_box_becomes_the_pixels_inside_it(width: int, height: int, sides: list[float]) -> None:
    (x0, x1), (y0, y1) = sorted(sides[:2]), sorted(sides[2:])
    video = make_video(width=width, height=height)
    expected = np.zeros((height, width), bool)
    expected[max(0, round(y0)) : max(0, round(y1)), max(0, round(x0)) : max(0, round(x1))] = True
    rle = rasterise_box(Box(x0, y0, x1, y1), video)
    assert (decode_mask(rle) == expected).all()
    assert rle == encode_mask(expected)
