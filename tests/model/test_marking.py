"""Boxes and mask pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tubelet.errors import InputError
from tubelet.model.marking import parse_box, read_mask
from tubelet.records import Box


def test_a_box_is_four_numbers() -> None:
    assert parse_box("1.5, 2, 3.2, 4") == Box(1.5, 2, 3.2, 4)


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "", "3,0,1,5", "0,0,nan,4", "0,0,inf,4"])
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="The box"):
        parse_box(text)


@pytest.mark.parametrize("num_channels", [1, 3, 4])
def test_mask_pictures_of_any_kind_are_read(tmp_path: Path, num_channels: int) -> None:
    picture = np.zeros((6, 8, num_channels), np.uint8)
    picture[2:4, 1:5] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), picture)
    mask = read_mask(tmp_path / "mask.png", 6, 8)
    assert mask.dtype == bool
    assert mask.sum() == 8
    assert mask[2:4, 1:5].all()


def test_unfit_mask_pictures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    with pytest.raises(InputError, match="no picture"):
        read_mask(path, 6, 8)
    path.write_bytes(b"not a picture")
    with pytest.raises(InputError, match="no picture"):
        read_mask(path, 6, 8)
    cv2.imwrite(str(path), np.zeros((6, 8), np.uint8))
    with pytest.raises(InputError, match="is empty"):
        read_mask(path, 6, 8)
    with pytest.raises(InputError, match="8 x 6 and the frame 6 x 8"):
        read_mask(path, 8, 6)
