"""Clips from folders in DAVIS' layout, and from the rendered world."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.model.training.track.davis_factory import write_davis, write_labels
from tests.model.training.track.polygons import PolygonClips
from tubelet.errors import InputError
from tubelet.model.training.track.clips import FolderClips, RenderedClips, list_videos


@pytest.mark.parametrize("inside", ["480p", ""])
def test_folder_clips_are_frames_with_their_labels(tmp_path: Path, inside: str) -> None:
    source = FolderClips(write_davis(tmp_path, inside=inside), max_stride=1)
    expected = [PolygonClips(side=64).get(place, 6) for place in range(2)]
    seen = set()
    for number in range(12):
        clip = source.get(number, 3)
        matches = [
            (place, first, step)
            for place, video in enumerate(expected)
            for first in range(6)
            for step in (1, -1)
            if 0 <= first + 2 * step < 6
            and np.array_equal(clip.labels_THW, video.labels_THW[[first, first + step, first + 2 * step]])
        ]
        assert matches
        place, first, _ = matches[0]
        assert np.abs(clip.frames_THW3[0].astype(int) - expected[place].frames_THW3[first]).mean() < 8
        seen.add(place)
        again = source.get(number, 3)
        assert np.array_equal(again.frames_THW3, clip.frames_THW3)
    assert seen == {0, 1}


def test_strides_skip_frames_and_short_videos_are_played_back(tmp_path: Path) -> None:
    source = FolderClips(write_davis(tmp_path, num_videos=1, num_frames=4), max_stride=3)
    video = PolygonClips(side=64).get(0, 4)
    places = []
    for number in range(10):
        clip = source.get(number, 6)
        places.append(
            [
                next(at for at in range(4) if np.array_equal(labels, video.labels_THW[at]))
                for labels in clip.labels_THW
            ]
        )
    assert all(abs(a - b) == 1 for clip in places for a, b in pairwise(clip))
    two = [source.get(number, 2).labels_THW for number in range(12)]
    steps = {
        abs(
            next(a for a in range(4) if np.array_equal(first, video.labels_THW[a]))
            - next(b for b in range(4) if np.array_equal(second, video.labels_THW[b]))
        )
        for first, second in two
    }
    assert steps == {1, 2, 3}


def test_every_tenth_video_is_held_out(tmp_path: Path) -> None:
    write_davis(tmp_path, num_videos=11, num_frames=1, side=16)
    train, held_out = (list_videos(tmp_path, split) for split in ("train", "held-out"))
    assert [video.frames[0].parent.name for video in held_out] == ["video-00", "video-10"]
    assert len(train) == 9


def test_255_is_the_object_where_there_is_no_other_and_otherwise_ignored(tmp_path: Path) -> None:
    write_davis(tmp_path, num_videos=1, num_frames=1, side=16)
    file = next((tmp_path / "Annotations").rglob("*.png"))
    labels = np.zeros((16, 16))
    labels[4:8] = 255
    write_labels(file, labels)
    assert (FolderClips(tmp_path).get(0, 1).labels_THW[0, 4:8] == 1).all()
    labels[10:12] = 2
    write_labels(file, labels)
    assert set(np.unique(FolderClips(tmp_path).get(0, 1).labels_THW)) == {0, 2}


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a data set in DAVIS' layout"):
        FolderClips(tmp_path).get(0, 1)
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(InputError, match="no PNG masks"):
        FolderClips(tmp_path).get(0, 1)


def test_masks_of_another_size_are_refused(tmp_path: Path) -> None:
    write_davis(tmp_path, num_videos=1, num_frames=1, side=16)
    write_labels(next((tmp_path / "Annotations").rglob("*.png")), np.zeros((8, 8)))
    with pytest.raises(InputError, match="the size of its frame, 16 x 16"):
        FolderClips(tmp_path).get(0, 1)


def test_names_that_do_not_match_are_refused(tmp_path: Path) -> None:
    write_davis(tmp_path, num_videos=1, num_frames=1, side=16)
    file = next((tmp_path / "JPEGImages").rglob("*.jpg"))
    file.rename(file.with_name("other.jpg"))
    with pytest.raises(InputError, match="No frame in"):
        FolderClips(tmp_path).get(0, 1)


def test_rendered_clips_have_objects_and_held_out_ones_are_others() -> None:
    train, held_out = (RenderedClips(split, height_px=48, encode=0.0) for split in ("train", "held-out"))
    clip, other = train.get(3, 2), held_out.get(3, 2)
    assert clip.frames_THW3.shape[:2] == (2, 48)
    assert clip.frames_THW3.shape[:3] == clip.labels_THW.shape
    assert clip.labels_THW.any()
    assert not np.array_equal(clip.frames_THW3, other.frames_THW3)
    assert np.array_equal(train.get(3, 2).frames_THW3, clip.frames_THW3)


def test_photographs_become_grounds_and_walls() -> None:
    plain, pictured = (
        RenderedClips(height_px=48, encode=0.0, degrade=False, photographs=share) for share in (0.0, 1.0)
    )
    changed = [
        not np.array_equal(plain.get(number, 1).frames_THW3, pictured.get(number, 1).frames_THW3)
        for number in range(4)
    ]
    assert any(changed), "half of the grounds are left as they are"
