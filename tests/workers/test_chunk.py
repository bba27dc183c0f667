"""Chunks cover a video exactly, whatever its length."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tubelet.records import Video
from tubelet.workers.chunk import plan_chunks

LENGTHS = st.floats(0.001, 50)
"""Of a video, in chunks."""


def make_video(duration_s: float) -> Video:
    return Video("v0", "a.mp4", "blake2b:0", duration_s, 30.0, 30.0, 1, 64, 48, 0, "h264", False)


@given(LENGTHS, st.floats(0.5, 600), st.floats(0, 60))
def test_chunks_cover_the_video_without_gap_or_overlap(
    num_chunks: float, chunk_s: float, margin_s: float
) -> None:
    duration_s = num_chunks * chunk_s
    chunks = plan_chunks(make_video(duration_s), chunk_s=chunk_s, margin_s=margin_s)

    assert chunks[0].start_s == 0
    assert chunks[-1].end_s == duration_s
    assert all(a.end_s == b.start_s for a, b in pairwise(chunks))
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))


@given(LENGTHS, st.floats(0.5, 600), st.floats(0, 60))
def test_reads_reach_a_margin_further_inside_the_video(
    num_chunks: float, chunk_s: float, margin_s: float
) -> None:
    duration_s = num_chunks * chunk_s
    for chunk in plan_chunks(make_video(duration_s), chunk_s=chunk_s, margin_s=margin_s):
        assert chunk.read_start_s == max(0.0, chunk.start_s - margin_s)
        assert chunk.read_end_s == min(duration_s, chunk.end_s + margin_s)


@given(LENGTHS, st.floats(0.5, 600))
def test_no_chunk_is_tiny_or_much_too_long(num_chunks: float, chunk_s: float) -> None:
    chunks = plan_chunks(make_video(num_chunks * chunk_s), chunk_s=chunk_s, margin_s=0)
    lengths_s = [chunk.end_s - chunk.start_s for chunk in chunks]

    assert max(lengths_s) < 1.25 * chunk_s + 1e-6
    if len(chunks) > 1:
        assert min(lengths_s) >= 0.25 * chunk_s - 1e-6


@pytest.mark.parametrize(
    ("duration_s", "ends_s"), [(25.0, [10, 20, 25]), (22.0, [10, 22]), (3.0, [3]), (20.0, [10, 20])]
)
def test_a_short_last_chunk_joins_the_one_before(duration_s: float, ends_s: list[float]) -> None:
    chunks = plan_chunks(make_video(duration_s), chunk_s=10, margin_s=1)

    assert [chunk.end_s for chunk in chunks] == ends_s


def test_ids_are_stable_and_change_with_the_windows() -> None:
    video = make_video(60.0)
    first = plan_chunks(video, chunk_s=20, margin_s=2)

    assert first == plan_chunks(video, chunk_s=20, margin_s=2)
    assert first[1].chunk_id == "v0-00001-20000-40000-2000"
    other = {chunk.chunk_id for chunk in plan_chunks(video, chunk_s=20, margin_s=1)}
    assert not other & {chunk.chunk_id for chunk in first}
