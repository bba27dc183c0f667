"""A pool of rendered clips on disk: what is true of each, and the views that indexing would keep.

Pictures are made once, as the pipeline makes them, and asked about many times. A row is a clip, a file some
rows (a *shard*); a shard is written whole or not at all, so that making a pool can go on after a kill.
"""

from __future__ import annotations

import bisect
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tubelet.errors import InputError
from tubelet.model.tracking.base import TrackedFrame
from tubelet.model.training.describe.imperfect import track_truth
from tubelet.model.training.world.spec import (
    ClipSpec,
    ObjectTruth,
    Phase,
    Relation,
    RenderedClip,
)
from tubelet.records import Box, Rle, View

KeepViews = Callable[[Iterable[TrackedFrame]], Mapping[int, Sequence[View]]]
"""Which pictures the pipeline would keep of tracked objects, by number. Its maker lives with the pipeline."""

RenderClip = Callable[[int, ClipSpec], RenderedClip]

_VIEW = pa.struct(
    {
        "time_s": pa.float64(),
        "box": pa.list_(pa.float64(), 4),
        "crop": pa.list_(pa.float64(), 4),
        "image": pa.binary(),
        "mask_height": pa.int32(),
        "mask_width": pa.int32(),
        "mask": pa.binary(),
        "quality": pa.float32(),
        "scene": pa.binary(),
    }
)
_SCHEMA = pa.schema(
    {
        "truth": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "numbers": pa.list_(pa.int32()),
        "views": pa.list_(pa.list_(_VIEW)),
    }
)


@dataclass(frozen=True, slots=True)
class PooledClip:
    """A clip without its frames. `views` are by the object's number, in time order."""

    objects: tuple[ObjectTruth, ...]
    relations: tuple[Relation, ...]
    frame_size: tuple[int, int]
    views: Mapping[int, tuple[View, ...]]

    def find(self, number: int) -> ObjectTruth:
        return next(truth for truth in self.objects if truth.number == number)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What a pool holds: clips of the seeds from `first_seed` on, by the `specs` in turn."""

    num_clips: int
    specs: tuple[ClipSpec, ...]
    first_seed: int = 0
    clips_per_shard: int = 20

    @property
    def num_shards(self) -> int:
        return -(-self.num_clips // self.clips_per_shard)


def make_pool(folder: Path, plan: PoolPlan, render: RenderClip, keep_views: KeepViews) -> None:
    """Render what of the plan is not there yet. Raises InputError where another plan's pool is."""
    make_shards(folder, plan, lambda number: _make_row(plan, number, render, keep_views), _SCHEMA)


def make_shards(
    folder: Path, plan: PoolPlan, make_row: Callable[[int], Mapping[str, Any]], schema: pa.Schema
) -> None:
    """Make the rows of a plan that are not there yet, shard by shard, in batches of one row.

    Raises InputError where another plan's rows are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = json.dumps(dataclasses.asdict(plan), sort_keys=True)
    plan_file = folder / "plan.json"
    if plan_file.is_file() and plan_file.read_text(encoding="utf-8") != told:
        raise InputError(
            f"The pool in {folder} was made by another plan",
            expected=told,
            do="remove that folder, or name another",
        )
    plan_file.write_text(told, encoding="utf-8")
    for shard in range(plan.num_shards):
        path = folder / f"{shard:05d}.arrow"
        if path.is_file():
            continue
        start = shard * plan.clips_per_shard
        numbers = range(start, min(start + plan.clips_per_shard, plan.num_clips))
        rows = [make_row(number) for number in numbers]
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for row in rows:  # a batch for each row, so that one is read without the others
                writer.write_batch(pa.RecordBatch.from_pylist([row], schema=schema))
        os.replace(unfinished, path)


class Pool:
    """The clips of a pool's shards, by number."""

    def __init__(self, folder: Path, *, num_shards: int | None = None) -> None:
        """`num_shards` takes only the first ones. Raises InputError where there are fewer."""
        paths = sorted(folder.glob("*.arrow"))[:num_shards]
        if not paths or (num_shards is not None and len(paths) < num_shards):
            raise InputError(
                f"The pool in {folder} has {len(paths)} shards",
                expected=f"{num_shards or 'some'}",
                do="make it first",
            )
        self._readers = [pa.ipc.open_file(pa.memory_map(str(path))) for path in paths]
        self._ends = np.cumsum([reader.num_record_batches for reader in self._readers]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, number: int) -> PooledClip:
        if not 0 <= number < len(self):
            raise IndexError(number)
        shard = bisect.bisect_right(self._ends, number)
        first = self._ends[shard - 1] if shard else 0
        row = self._readers[shard].get_batch(number - first).to_pylist()[0]
        truth = json.loads(row["truth"])
        return PooledClip(
            objects=tuple(read_truth(values) for values in truth["objects"]),
            relations=tuple(Relation(**values) for values in truth["relations"]),
            frame_size=(row["width"], row["height"]),
            views={
                kept: tuple(_read_view(values) for values in views)
                for kept, views in zip(row["numbers"], row["views"], strict=True)
            },
        )


def _make_row(plan: PoolPlan, number: int, render: RenderClip, keep_views: KeepViews) -> dict[str, Any]:
    seed = plan.first_seed + number
    clip = render(seed, plan.specs[number % len(plan.specs)])
    generator = np.random.default_rng([seed, 0x506F6F6C])
    views = {kept: found for kept, found in keep_views(track_truth(clip, generator)).items() if found}
    height, width = clip.labels_THW.shape[1:]
    truth = {
        "objects": [write_truth(truth) for truth in clip.objects],
        "relations": [dataclasses.asdict(relation) for relation in clip.relations],
    }
    return {
        "truth": json.dumps(truth),
        "width": width,
        "height": height,
        "numbers": list(views),
        "views": [[_tell_view(view) for view in found] for found in views.values()],
    }


def write_truth(truth: ObjectTruth) -> dict[str, Any]:
    """An object's truth as JSON knows it."""
    told = dataclasses.asdict(dataclasses.replace(truth, attributes={}))
    return {**told, "attributes": dict(truth.attributes)}


def read_truth(values: Mapping[str, Any]) -> ObjectTruth:
    """What `write_truth` wrote."""
    phases = tuple(Phase(**phase) for phase in values["actions"])
    return ObjectTruth(**{**values, "colours": tuple(values["colours"]), "actions": phases})


def _tell_view(view: View) -> dict[str, Any]:
    return {
        "time_s": view.time_s,
        "box": list(view.box),
        "crop": list(view.crop),
        "image": view.image,
        "mask_height": view.mask.height,
        "mask_width": view.mask.width,
        "mask": view.mask.counts,
        "quality": view.quality,
        "scene": view.scene,
    }


def _read_view(values: Mapping[str, Any]) -> View:
    return View(
        time_s=values["time_s"],
        box=Box(*values["box"]),
        crop=Box(*values["crop"]),
        image=values["image"],
        mask=Rle(values["mask_height"], values["mask_width"], values["mask"]),
        quality=values["quality"],
        scene=values["scene"],
    )
