"""Masks of a video: written whole, read back object by object, gone with the video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tubelet.errors import StoreError
from tubelet.index.masks import (
    find_masks,
    list_videos_with_masks,
    read_masks,
    remove_masks,
    remove_unfinished_masks,
    write_masks,
)
from tubelet.model.masks import encode_mask
from tubelet.records import Box, Observation, Rle


def see(time_s: float, cell: int) -> Observation:
    """An observation whose mask is one cell of a 4 x 5 grid."""
    mask = np.zeros((4, 5), bool)
    mask.flat[cell % 20] = True
    return Observation(time_s, Box(0, 0, 1, 1), 0.5, encode_mask(mask))


parts = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=8)


@given(parts)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_object_by_object(tmp_path: Path, drawn: list[tuple[str, int]]) -> None:
    """Parts of several objects may alternate, as they do from chunk to chunk."""
    stretches = [
        (name, [see(10.0 * place + step, 7 * place + step) for step in range(count)])
        for place, (name, count) in enumerate(drawn)
    ]
    write_masks(tmp_path, "v1", iter(stretches))
    expected: dict[str, list[tuple[float, Rle | None]]] = {}
    for name, seen in stretches:
        if seen:
            expected.setdefault(name, []).extend((item.time_s, item.mask) for item in seen)
    found: dict[str, list[tuple[float, Rle | None]]] = {}
    order = []
    for name, time_s, mask in read_masks(tmp_path, "v1"):
        found.setdefault(name, []).append((time_s, mask))
        order.append(name)
    assert found == expected
    assert sum(1 for place, name in enumerate(order) if order[place - 1 : place] != [name]) == len(expected)
    some = [(time_s, mask) for _, time_s, mask in read_masks(tmp_path, "v1", {"b"})]
    assert some == expected.get("b", [])


def test_observations_without_masks_leave_none(tmp_path: Path) -> None:
    write_masks(tmp_path, "v1", [("a", [Observation(0.0, Box(0, 0, 1, 1), 1.0), see(1.0, 3)])])
    assert [(name, time_s) for name, time_s, _ in read_masks(tmp_path, "v1")] == [("a", 1.0)]
    assert list(read_masks(tmp_path, "v2")) == []


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    def fail() -> Iterator[tuple[str, Sequence[Observation]]]:
        yield "a", [see(5.0, 1)]
        raise RuntimeError("no more")

    write_masks(tmp_path, "v1", [("a", [see(1.0, 3)])])
    with pytest.raises(RuntimeError):
        write_masks(tmp_path, "v1", fail())
    assert [time_s for _, time_s, _ in read_masks(tmp_path, "v1")] == [1.0]
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["v1.arrow"]


def test_masks_are_listed_and_removed(tmp_path: Path) -> None:
    assert list_videos_with_masks(tmp_path) == []
    for name in ("v2", "v1"):
        write_masks(tmp_path, name, [("a", [see(1.0, 3)])])
    (tmp_path / "masks" / ".writing-x.arrow").write_bytes(b"half")
    assert list_videos_with_masks(tmp_path) == ["v1", "v2"]
    remove_unfinished_masks(tmp_path)
    remove_masks(tmp_path, "v2")
    remove_masks(tmp_path, "v3")
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["v1.arrow"]


def test_masks_of_a_long_life_stay_small(tmp_path: Path) -> None:
    """A minute of a round object of 80 cells across, at 6 frames a second."""
    generator = np.random.default_rng(0)
    ys, xs = np.mgrid[0:288, 0:512]
    seen = []
    for step in range(360):
        edge = 40 + generator.normal(0, 1, (288, 512)).cumsum(1)[:, 256:257] * 0.02
        mask = np.hypot(xs - 60 - step, ys - 140) < edge
        seen.append(Observation(step / 6, Box(0, 0, 1, 1), 1.0, encode_mask(mask)))
    write_masks(tmp_path, "v1", [("a", seen)])
    assert find_masks(tmp_path, "v1").stat().st_size < 100_000


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"x" * 500])
def test_a_file_that_is_not_ours_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = find_masks(tmp_path, "v1")
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match="does not hold masks"):
        list(read_masks(tmp_path, "v1"))


def test_another_format_is_a_clear_error(tmp_path: Path) -> None:
    path = find_masks(tmp_path, "v1")
    path.parent.mkdir()
    with pa.ipc.new_file(str(path), pa.schema({"object_id": pa.string()})) as writer:
        writer.write_table(pa.table({"object_id": ["a"]}))
    with pytest.raises(StoreError, match="does not hold masks"):
        list(read_masks(tmp_path, "v1"))
