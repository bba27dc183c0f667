"""Exports with what lies outside the index: frame times from the source, masks from beside the index."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from tests.index.exporting.library import read_files, read_text
from tests.index.factories import MODELS, TEXT_DIMENSIONS, make_moment, make_object
from tests.video_factory import VideoFactory
from tubelet.index.masks import write_masks
from tubelet.index.store import IndexStore
from tubelet.model.masks import decode_mask, encode_mask
from tubelet.orchestration.exporting import open_timelines
from tubelet.records import Box, Observation, PathPoint, Rle, Video
from tubelet.settings import Settings
from tubelet.workers.frame_times import read_frame_times
from tubelet.workers.probe import probe_video
from tubelet.workers.source import identify_file

KEPT = [0, 1, 2, 10, 30, 31, 59]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Seven frames at uneven times."""
    return VideoFactory(tmp_path).make_numbered("uneven.mp4", keep=KEPT)


@pytest.fixture
def indexed(clip: Path, tmp_path: Path) -> tuple[IndexStore, Settings, Video]:
    """The clip in an index, with one object that is seen on its frames 1, 3 and 6."""
    settings = Settings(home=tmp_path / "home")
    video = probe_video(clip, identify_file(clip), timeout_s=60)
    store = IndexStore.open(
        settings.index_location, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0
    )
    path = tuple(PathPoint(round(KEPT[number] / 30, 3), 10, 20, 50, 60) for number in (1, 3, 6))
    moment = make_moment(1, video, path=path, start_s=path[0].t, end_s=path[-1].t)
    store.replace_video(video, [make_object([moment])], [moment], MODELS)
    return store, settings, video


def list_frames(store: IndexStore, settings: Settings) -> list[int]:
    (text,) = read_files(open_timelines(store, settings), "mot-results").values()
    return [int(line.split(b",")[0]) - 1 for line in text.splitlines()]


def test_true_times_of_all_frames_are_listed(clip: Path) -> None:
    assert read_frame_times(clip, timeout_s=60) == pytest.approx(np.array(KEPT) / 30, abs=0.001)


def test_a_varying_rate_is_numbered_by_the_frames_of_its_file(
    indexed: tuple[IndexStore, Settings, Video],
) -> None:
    store, settings, video = indexed
    assert video.variable_frame_rate
    assert list_frames(store, settings) == [1, 3, 6]


@pytest.mark.parametrize("change", ["gone", "another"])
def test_without_the_file_numbers_are_nominal_and_a_warning_says_so(
    indexed: tuple[IndexStore, Settings, Video],
    clip: Path,
    change: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, settings, _ = indexed
    if change == "gone":
        clip.unlink()
    else:
        clip.write_bytes(clip.read_bytes() + b"\0" * 8)
    with caplog.at_level(logging.WARNING):
        assert list_frames(store, settings) == [1, 10, 59]
    assert "uneven.mp4" in caplog.text
    assert "its own rate varies" in caplog.text


def test_masks_come_from_beside_the_index_at_the_size_of_the_frame(
    indexed: tuple[IndexStore, Settings, Video],
) -> None:
    store, settings, video = indexed
    half = np.zeros((video.height // 2, video.width // 2), bool)
    half[10:30, 5:25] = True
    seen = Observation(KEPT[3] / 30, Box(10, 20, 50, 60), 0.9, encode_mask(half))
    write_masks(settings.home, video.video_id, [("another", [seen]), (f"{video.video_id}-o1", [seen])])
    document = json.loads(read_text(open_timelines(store, settings), "coco-vid"))
    assert [each["mask_source"] for each in document["annotations"]] == ["box", "mask", "box"]
    stored = document["annotations"][1]
    assert stored["segmentation"]["size"] == [video.height, video.width]
    mask = decode_mask(Rle(video.height, video.width, stored["segmentation"]["counts"].encode()))
    assert mask[20:60, 10:50].all()
    assert mask.sum() == stored["area"] == 40 * 40
