"""What an object is, by its sights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.model.describing.test_facing import make_view
from tubelet.errors import ModelError
from tubelet.model.describing.kinds import KINDS_FILE, KindReader, make_kind_network, read_kinds

NAMES = ("bus", "car", "van")


def make_kinds(names: tuple[str, ...] = NAMES, *, seed: int = 0) -> KindReader:
    """Random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return KindReader(names, make_kind_network(len(names)).eval().requires_grad_(False))


def test_views_are_weighed_evenly_and_names_as_they_are_asked_for() -> None:
    reader, views = make_kinds(), [make_view(float(time)) for time in range(4)]
    told = reader.weigh(views, NAMES)
    each = [reader.weigh([view], NAMES) for view in views]
    assert told == pytest.approx(np.mean(each, axis=0), abs=1e-5)  # type: ignore[arg-type]
    assert all(np.exp(own).sum() == pytest.approx(1, abs=1e-5) for own in each if own is not None)
    assert told is not None
    assert reader.weigh(views, ("van", "bus")) == pytest.approx(told[[2, 0]])


def test_a_view_in_a_mirror_shows_the_same_kind() -> None:
    reader = make_kinds()
    one, other = (reader.weigh([make_view(1.0, mirrored=mirrored)], NAMES) for mirrored in (False, True))
    assert one == pytest.approx(other, abs=0.01)


def test_views_without_a_place_tell_nothing() -> None:
    view = make_view(0.0)
    reader, nowhere = make_kinds(), replace(view, frame_size=None)
    assert reader.weigh([nowhere], NAMES) is None
    assert reader.weigh([view, nowhere], NAMES) == pytest.approx(reader.weigh([view], NAMES))


def test_a_reader_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_kinds(tmp_path) is None
    reader = make_kinds()
    reader.write(tmp_path)
    again = read_kinds(tmp_path)
    assert again is not None
    assert again.names == NAMES
    views = [make_view(2.0)]
    assert again.weigh(views, NAMES) == pytest.approx(reader.weigh(views, NAMES), abs=0.01)


@pytest.mark.parametrize("content", [b"", b"not tensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_holds_no_reader_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / KINDS_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=KINDS_FILE):
        read_kinds(tmp_path)


def test_a_reader_of_other_names_is_refused(tmp_path: Path) -> None:
    replace(make_kinds(), names=NAMES[:2]).write(tmp_path)
    with pytest.raises(ModelError, match=KINDS_FILE):
        read_kinds(tmp_path)
