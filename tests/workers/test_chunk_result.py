"""Chunk results: written whole, read back equal, pictures only on demand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tubelet.errors import StoreError
from tubelet.model.masks import encode_mask
from tubelet.records import Box, CameraStep, Chunk, Observation, Tracklet, View
from tubelet.workers.chunk_result import (
    ChunkResult,
    read_chunk_result,
    read_tracker_name,
    read_views,
    write_chunk_result,
)

RLE = encode_mask(np.eye(6))


def _make_result(num_tracklets: int) -> tuple[ChunkResult, list[list[View]]]:
    chunk = Chunk("v-0", "v", 0, 0.0, 10.0, 0.0, 12.0)
    tracklets = tuple(
        Tracklet(
            f"v-0-{place}",
            0,
            (Observation(0.5, Box(1, 2, 3, 4), 0.5, RLE), Observation(1.0, Box(1, 2, 3, 5), 0.25)),
            appearance=(0.5, 0.25),
        )
        for place in range(num_tracklets)
    )
    views = [
        [View(0.5, Box(1, 2, 3, 4), Box(0, 0, 6, 6), b"jpeg%d" % place, RLE, 3.0, b"scene")]
        for place in range(num_tracklets)
    ]
    camera = (CameraStep(0.5, (1, 0, 0, 0, 1, 0)), CameraStep(1.0, (1, 0, 2.5, 0, 1, -1)))
    return ChunkResult(chunk, "motion@1", tracklets, camera, ("odd frame",), 2, (0.5,)), views


@pytest.mark.parametrize("num_tracklets", [0, 1, 5])
def test_what_is_written_is_read(tmp_path: Path, num_tracklets: int) -> None:
    result, views = _make_result(num_tracklets)
    path = tmp_path / "deep" / "v-0.arrow"
    write_chunk_result(path, result, views)
    assert read_chunk_result(path) == result
    assert read_tracker_name(path) == "motion@1"
    wanted = [tracklet.tracklet_id for tracklet in result.tracklets][1:3]
    assert read_views(path, wanted) == {name: tuple(views[int(name[-1])]) for name in wanted}
    assert [item.name for item in path.parent.iterdir()] == ["v-0.arrow"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    result, _ = _make_result(2)
    with pytest.raises(ValueError, match="zip"):
        write_chunk_result(tmp_path / "v-0.arrow", result, [])
    bad = [[View(0.5, Box(1, 2, 3, 4), Box(0, 0, 6, 6), 12.5, RLE, 3.0)], []]  # type: ignore[arg-type]
    with pytest.raises((TypeError, pa.ArrowTypeError)):
        write_chunk_result(tmp_path / "v-0.arrow", result, bad)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"x" * 1000])
def test_a_file_that_is_not_ours_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v-0.arrow"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="not a chunk result"):
        read_chunk_result(path)


def test_a_truncated_file_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "v-0.arrow"
    write_chunk_result(path, *_make_result(3))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StoreError, match="not a chunk result"):
        read_chunk_result(path)
