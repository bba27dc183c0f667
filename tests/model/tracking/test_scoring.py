"""Files and folders in the published layouts, scored against each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from tubelet.errors import InputError
from tubelet.model.tracking.scoring import score_files

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def write_masks(folder: Path, *, shift_px: int = 0, number: int = 1, num_frames: int = 4) -> Path:
    folder.mkdir()
    for frame in range(num_frames):
        labels = np.zeros((40, 60), np.uint8)
        labels[10:20, 5 + frame + shift_px : 25 + frame + shift_px] = number
        Picture.fromarray(labels).save(folder / f"{frame:05}.png")
    return folder


def write_boxes(file: Path, *, num_frames: int = 4) -> Path:
    file.write_text("".join(f"{frame + 1},9,{5 + frame},10,20,10,1\n" for frame in range(num_frames)))
    return file


def test_masks_against_masks(tmp_path: Path) -> None:
    truth = write_masks(tmp_path / "truth")
    same = score_files(truth, write_masks(tmp_path / "same", number=7))
    assert same.masks is not None
    assert (same.tracking.hota, same.masks.both) == pytest.approx((1, 1))
    assert same.masks.matched == {1: 7}
    moved = score_files(truth, write_masks(tmp_path / "moved", shift_px=5), first_mask_given=True)
    assert moved.masks is not None
    assert moved.masks.region == pytest.approx(15 / 25)
    assert moved.tracking.mota == 1


def test_boxes_against_masks_and_a_file_that_ends_early(tmp_path: Path) -> None:
    truth = write_masks(tmp_path / "truth")
    scores = score_files(truth, write_boxes(tmp_path / "result.txt", num_frames=3))
    assert scores.masks is None
    assert (scores.tracking.num_missed, scores.tracking.num_false) == (1, 0)
    assert scores.tracking.motp == 1
    assert score_files(write_boxes(tmp_path / "gt.txt"), tmp_path / "result.txt").tracking.num_missed == 1


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing at"):
        score_files(tmp_path / "absent", tmp_path)
