"""Made observations, chunks and chunk results for tests of joining."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from tubelet.model.masks import encode_mask
from tubelet.records import Box, CameraStep, Chunk, Observation, Tracklet, Video
from tubelet.workers.chunk_result import ChunkResult

FPS = 5
SIZE = 40
HEIGHT, WIDTH = 100, 400
VIDEO = Video("v", "v.mp4", "i", 30.0, 25.0, 25.0, 750, WIDTH, HEIGHT, 0, "h264", False)


def observe(time_s: float, x: float, y: float, size: float = SIZE, *, mask: bool = True) -> Observation:
    """A square whose upper left corner is (x, y), cut off at the frame's border."""
    box = Box(max(x, 0.0), max(y, 0.0), min(x + size, float(WIDTH)), min(y + size, float(HEIGHT)))
    if not mask:
        return Observation(time_s, box, 0.9)
    cells = np.zeros((HEIGHT, WIDTH), np.uint8)
    cells[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = 1
    return Observation(time_s, box, 0.9, encode_mask(cells))


def go(
    start_s: float, end_s: float, at: tuple[float, float], speed: tuple[float, float] = (0.0, 0.0)
) -> list[Observation]:
    """Observations of start_s <= t < end_s on the grid of times; at `at` when start_s, pixels a second."""
    times = np.arange(round(start_s * FPS), round(end_s * FPS)) / FPS
    return [
        observe(float(t), at[0] + speed[0] * (t - start_s), at[1] + speed[1] * (t - start_s)) for t in times
    ]


def cut(duration_s: float, chunk_s: float, margin_s: float) -> list[Chunk]:
    """Chunks of equal length."""
    edges = [*np.arange(0, duration_s, chunk_s).tolist(), duration_s]
    return [
        Chunk(f"c{i}", "v", i, a, b, max(0.0, a - margin_s), min(duration_s, b + margin_s))
        for i, (a, b) in enumerate(pairwise(edges))
    ]


def make_result(
    chunk: Chunk,
    tracklets: Iterable[Sequence[Observation]],
    *,
    looks: Sequence[Sequence[float]] = (),
    cuts: Sequence[float] = (),
    camera: Sequence[CameraStep] = (),
) -> ChunkResult:
    """A chunk in which a tracker saw these, named c0-0, c0-1 and so on."""
    named = tuple(
        Tracklet(
            f"{chunk.chunk_id}-{place}",
            chunk.index,
            tuple(seen),
            tuple(looks[place]) if looks else (),
        )
        for place, seen in enumerate(tracklets)
    )
    return ChunkResult(chunk, "made@1", named, tuple(camera), (), 0, tuple(cuts))


def see(chunk: Chunk, objects: Iterable[Sequence[Observation]]) -> ChunkResult:
    """What a perfect tracker sees of these objects in a chunk."""
    tracklets = []
    for seen in objects:
        within = [item for item in seen if chunk.read_start_s <= item.time_s < chunk.read_end_s]
        if any(chunk.start_s <= item.time_s < chunk.end_s for item in within):
            tracklets.append(within)
    return make_result(chunk, tracklets)
