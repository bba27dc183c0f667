"""The masks that are kept of a video: those of its tubelets, on a grid that bounds their size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from tubelet.model.masks import shrink_mask
from tubelet.records import Chunk, Observation
from tubelet.workers.chunk_result import ChunkResult

GRID_CELLS = 512
"""The longest side of a kept mask's grid; `motion` looks at pictures of this size anyway."""


def gather_masks(
    results: Iterable[ChunkResult], object_of: Mapping[str, str]
) -> Iterator[tuple[str, list[Observation]]]:
    """The observations with masks of each object as (object id, stretch), chunk after chunk in time order.

    `object_of` names the object of a tracklet; tracklets that it does not name are left out.
    """
    for result in results:
        stretches = [
            (object_of[tracklet.tracklet_id], _cut_to(result.chunk, tracklet.observations))
            for tracklet in result.tracklets
            if tracklet.tracklet_id in object_of
        ]
        stretches = [(object_id, stretch) for object_id, stretch in stretches if stretch]
        yield from sorted(stretches, key=lambda part: (part[0], part[1][0].time_s))


def _cut_to(chunk: Chunk, observations: Iterable[Observation]) -> list[Observation]:
    """Those in the chunk's own window that have a mask, on a grid of bounded size."""
    return [
        replace(observation, mask=shrink_mask(observation.mask, GRID_CELLS))
        for observation in observations
        if observation.mask is not None and chunk.start_s <= observation.time_s < chunk.end_s
    ]
