"""Paths without pictures: any number of them, to learn motion from, told of things that pictures show.

How an object moves has nothing to do with how it looks. So a path from a traced clip is combined with the
looks of another object that moves alike: a few thousand pictures then serve for a hundred thousand paths.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tubelet.errors import InputError
from tubelet.model.training.describe.imperfect import MIN_AREA_SHARE
from tubelet.model.training.describe.pool import PoolPlan, make_shards, read_truth, write_truth
from tubelet.model.training.describe.rendered import (
    MIN_MOVING_VIEWS,
    Kind,
    choose_best,
    draw_stretch,
    name_kind,
)
from tubelet.model.training.grammar.facts import MomentFacts, ThingFacts, mirror_moment, tell_moment
from tubelet.model.training.grammar.words import MOVERS, Mover
from tubelet.model.training.world.spec import ClipSpec, ObjectTruth, Relation
from tubelet.model.training.world.tracing import OUTLINE_SHARE, TracedClip

TraceClip = Callable[[int, ClipSpec], TracedClip]

JITTER = 0.02
"""Standard deviation of a seen place, as a share of the object's side: masks are never exact."""

OTHER_CATEGORY_SHARE = 0.5
"""How often a path is told of any category that moves alike, instead of its own."""

_SCHEMA = pa.schema(
    {
        "width": pa.int32(),
        "height": pa.int32(),
        "times_s": pa.list_(pa.float64()),
        "truths": pa.list_(pa.string()),
        "boxes": pa.list_(pa.list_(pa.float32())),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class ObjectPath:
    """One object's path: when and where it is large enough to be tracked. `boxes_N4` is in pixels."""

    truth: ObjectTruth
    frame_size: tuple[int, int]
    times_s: NDArray[np.float64]
    boxes_N4: NDArray[np.float32]

    @property
    def objects(self) -> tuple[ObjectTruth, ...]:
        """A clip of this object alone, for what is told of clips."""
        return (self.truth,)

    @property
    def relations(self) -> tuple[Relation, ...]:
        return ()


@dataclass(frozen=True, slots=True, eq=False)
class PathMoment:
    """A stretch of a path: what is true, and the box of each view, (row, column) with the network's scales.

    `centres_N2` and `sides_N2` are (row / width, column / height) of the frame, as the network has places.
    """

    facts: MomentFacts
    times_s: NDArray[np.float64]
    centres_N2: NDArray[np.float64]
    sides_N2: NDArray[np.float64]
    frame_size: tuple[int, int]


def make_paths(folder: Path, plan: PoolPlan, trace: TraceClip) -> None:
    """Trace what of the plan is not there yet. Raises InputError where another plan's paths are."""
    make_shards(folder, plan, lambda number: _make_row(plan, number, trace), _SCHEMA)


def _make_row(plan: PoolPlan, number: int, trace: TraceClip) -> Mapping[str, Any]:
    clip = trace(plan.first_seed + number, plan.specs[number % len(plan.specs)])
    return {
        "width": clip.frame_size[0],
        "height": clip.frame_size[1],
        "times_s": list(clip.times_s),
        "truths": [json.dumps(write_truth(truth)) for truth in clip.objects],
        "boxes": [clip.boxes[truth.number].astype(np.float32).ravel().tolist() for truth in clip.objects],
    }


@lru_cache(maxsize=4)
def open_paths(folder: Path) -> Mapping[Kind, tuple[ObjectPath, ...]]:
    """All paths that are long enough to show motion, by what they do; read once in each process.

    Raises InputError where there are none.
    """
    found: dict[Kind, list[ObjectPath]] = {}
    for shard in sorted(folder.glob("*.arrow")):
        for row in pa.ipc.open_file(pa.memory_map(str(shard))).read_all().to_pylist():
            for path in _read_paths(row):
                if len(path.times_s) >= MIN_MOVING_VIEWS:
                    found.setdefault(name_kind(path.truth), []).append(path)
    if not found:
        raise InputError(f"There are no paths in {folder}", expected="some", do="make them first")
    return {kind: tuple(paths) for kind, paths in found.items()}


def _read_paths(row: Mapping[str, Any]) -> list[ObjectPath]:
    size = (row["width"], row["height"])
    times_s = np.array(row["times_s"])
    paths = []
    for truth, flat in zip(row["truths"], row["boxes"], strict=True):
        boxes_T4 = np.array(flat, np.float32).reshape(-1, 4)
        paths.append(cut_path(read_truth(json.loads(truth)), size, times_s, boxes_T4))
    return paths


def cut_path(
    truth: ObjectTruth,
    frame_size: tuple[int, int],
    times_s: NDArray[np.float64],
    boxes_T4: NDArray[np.float32],
) -> ObjectPath:
    """The path of traced boxes, without the times at which the object is too small to be tracked."""
    areas_T = OUTLINE_SHARE * (boxes_T4[:, 2:] - boxes_T4[:, :2]).prod(axis=1)
    is_seen = np.nan_to_num(areas_T) >= MIN_AREA_SHARE * frame_size[0] * frame_size[1]
    return ObjectPath(truth, frame_size, times_s[is_seen], boxes_T4[is_seen])


def draw_path(paths: Sequence[ObjectPath], generator: np.random.Generator) -> PathMoment | None:
    """A stretch of one of the paths, its places a little off; None where nothing certain can be said."""
    path = paths[int(generator.integers(len(paths)))]
    start_s, end_s = draw_stretch(path.truth, len(path.times_s), generator)
    facts = tell_moment(path, path.truth, start_s, end_s)
    within = np.flatnonzero((path.times_s >= start_s) & (path.times_s <= end_s))
    if facts is None or len(within) < MIN_MOVING_VIEWS:
        return None
    within = within[choose_best(path.times_s[within], generator.random(len(within)))]
    return place_views(path, facts, within, generator)


def place_views(
    path: ObjectPath,
    facts: MomentFacts,
    within: NDArray[np.intp],
    generator: np.random.Generator | None = None,
) -> PathMoment:
    """The views `within` a path as the network is told of them; with a generator, a little off."""
    width, height = path.frame_size
    boxes_N4 = path.boxes_N4[within].astype(np.float64)
    corners_N22 = boxes_N4.reshape(-1, 2, 2)[:, :, ::-1] / (width - 1, height - 1)
    centres_N2, sides_N2 = corners_N22.mean(axis=1), corners_N22[:, 1] - corners_N22[:, 0]
    if generator is not None:
        centres_N2 = centres_N2 + generator.normal(0, JITTER, centres_N2.shape) * sides_N2
    return PathMoment(facts, path.times_s[within], centres_N2, sides_N2, path.frame_size)


def move_path(moment: PathMoment, turn_22: NDArray[np.float64], shift_2: NDArray[np.float64]) -> PathMoment:
    """The path turned, scaled and shifted in the frame (see `draw_framing`); a mirrored one tells so."""
    sides_2 = np.array(moment.frame_size, np.float64) - 1
    centres_N2 = ((moment.centres_N2 - 0.5) * sides_2) @ turn_22.T / sides_2 + 0.5 + shift_2
    is_mirrored = np.linalg.det(turn_22) < 0
    scale = float(np.sqrt(abs(np.linalg.det(turn_22))))
    facts = mirror_moment(moment.facts) if is_mirrored else moment.facts
    return replace(moment, facts=facts, centres_N2=centres_N2, sides_N2=moment.sides_N2 * scale)


@dataclass(frozen=True, slots=True)
class Wardrobe:
    """Objects with pictures, by how they move and what they are: (clip, number) and the thing each is."""

    things: Mapping[Mover, Mapping[str, tuple[tuple[tuple[int, int], ThingFacts], ...]]]

    def dress(
        self, facts: MomentFacts, generator: np.random.Generator
    ) -> tuple[MomentFacts, tuple[int, int]]:
        """The same motion told of a thing with pictures, and that thing's clip and number."""
        mover = MOVERS[facts.thing.category]
        categories = self.things[mover if mover in self.things else min(self.things)]
        category = facts.thing.category
        if category not in categories or generator.random() < OTHER_CATEGORY_SHARE:
            category = sorted(categories)[int(generator.integers(len(categories)))]  # type: ignore[assignment]
        owners = categories[category]
        owner, thing = owners[int(generator.integers(len(owners)))]
        return replace(facts, thing=thing, relations=()), owner


def choose_views(num_views: int, wanted: int, generator: np.random.Generator) -> list[int]:
    """Which of an object's views stand in for the views of a path: in order, some again where too few."""
    chosen = generator.choice(num_views, wanted, replace=num_views < wanted)
    return sorted(int(place) for place in chosen)
